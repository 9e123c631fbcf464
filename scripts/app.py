"""The editor in a browser: python scripts/app.py dataset=synthface (configs/app.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("app")
