"""Train a stage: python scripts/train.py stage=1 dataset=synthface (configs/train.yaml); several GPUs by torchrun."""

from autodrag import config
from autodrag.training.run import TrainConfig, run

if __name__ == "__main__":
    config.run("train", TrainConfig, run)
