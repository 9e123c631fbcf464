"""Timings, printed as tables and kept as JSON: `python scripts/bench.py`."""
