"""Make what synthface ships: python scripts/make_synthface.py (configs/make_synthface.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("make_synthface")
