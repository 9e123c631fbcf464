"""Make training data: python scripts/trajectories.py dataset=synthface count=20000 (configs/trajectories.yaml)."""

from autodrag import config
from autodrag.data.make import TrajectoriesConfig, run

if __name__ == "__main__":
    config.run("trajectories", TrajectoriesConfig, run)
