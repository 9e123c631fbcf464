"""Timings: python scripts/bench.py generator [key=value ...] (configs/bench/). A table, and a JSON file."""

from autodrag.commands import run

if __name__ == "__main__":
    run("bench")
