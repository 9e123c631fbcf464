"""The main job on the bundled domain, in minutes: make demo, or python scripts/demo.py (configs/demo.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("demo")
