"""The editor in a browser: python scripts/app.py dataset=synthface (configs/app.yaml)."""

from autodrag.threads import share_cores

share_cores()

from autodrag.app.hub import AppConfig  # noqa: E402 (torch comes with it)
from autodrag.app.server import serve  # noqa: E402
from autodrag.config import run  # noqa: E402

if __name__ == "__main__":
    run("app", AppConfig, serve)
