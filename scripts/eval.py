"""Evaluate a method on a task: python scripts/eval.py task=landmarks method=draggan (configs/eval.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("eval")
