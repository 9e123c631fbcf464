"""Benchmarks, printed as tables and written as JSON: `python scripts/bench.py`."""
