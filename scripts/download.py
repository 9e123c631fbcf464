"""Get a published generator: python scripts/download.py dataset=ffhq (configs/download.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("download")
