"""Make tables and figures from evaluations: python scripts/tables.py dataset=synthface (configs/tables.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("tables")
