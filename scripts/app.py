"""The editor in a browser: python scripts/app.py dataset=synthface (configs/app.yaml)."""

from autodrag import config
from autodrag.app.server import AppConfig, serve

if __name__ == "__main__":
    config.run("app", AppConfig, serve)
