"""Make training data: python scripts/trajectories.py dataset=synthface count=20000 (configs/trajectories.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("trajectories")
