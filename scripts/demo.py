"""The main job on the bundled domain, in minutes: make demo, or python scripts/demo.py (configs/demo.yaml)."""

from autodrag import config
from autodrag.demo import DemoConfig, run

if __name__ == "__main__":
    config.run("demo", DemoConfig, run)
