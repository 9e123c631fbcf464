"""Evaluate a method on a task: python scripts/eval.py task=landmarks method=draggan (configs/eval.yaml)."""

from autodrag.config import run
from autodrag.evaluation.run import EvalConfig, evaluate

if __name__ == "__main__":
    run("eval", EvalConfig, evaluate)
