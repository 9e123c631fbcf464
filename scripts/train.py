"""Train a stage: python scripts/train.py stage=1 dataset=synthface (configs/train.yaml); several GPUs by torchrun."""

from autodrag.commands import run

if __name__ == "__main__":
    run("train")
