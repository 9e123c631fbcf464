"""Timings: python scripts/bench.py generator [key=value ...] (configs/bench/). A table, and a JSON file."""

import sys
from importlib import import_module

from autodrag import config
from autodrag.threads import share_cores

#: name: the module under autodrag.bench and its config class; each module has a `run`.
BENCHES = {
    "data": "DataBench",
    "drag": "DragBench",
    "editor": "EditorBench",
    "generator": "GeneratorBench",
    "invert": "InvertBench",
    "suite": "SuiteBench",
    "train": "TrainBench",
}

if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in BENCHES:
        sys.exit(print(f"What to time is {name!r}: give one of {', '.join(BENCHES)}.", file=sys.stderr) or 2)
    if name == "editor":
        share_cores()  # as scripts/app.py
    module = import_module(f"autodrag.bench.{name}")
    config.run(f"bench/{name}", getattr(module, BENCHES[name]), module.run)
