"""Make what synthface ships: python scripts/make_synthface.py (configs/make_synthface.yaml)."""

from autodrag.config import run
from autodrag.domains.synthface.make import MakeSynthfaceConfig, make

if __name__ == "__main__":
    run("make_synthface", MakeSynthfaceConfig, make)
