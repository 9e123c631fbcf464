"""Make tables and figures from evaluations: python scripts/tables.py dataset=synthface (configs/tables.yaml)."""

from autodrag.config import run
from autodrag.evaluation.report import ReportConfig, make_report

if __name__ == "__main__":
    run("tables", ReportConfig, make_report)
