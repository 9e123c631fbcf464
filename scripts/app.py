"""The editor in a browser: python scripts/app.py dataset=synthface (configs/app.yaml)."""

from autodrag.app.hub import AppConfig
from autodrag.app.server import serve
from autodrag.config import run

if __name__ == "__main__":
    run("app", AppConfig, serve)
