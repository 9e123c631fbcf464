"""The documents name files and functions that exist."""

import re
from pathlib import Path

import pytest

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/method.md",
    "docs/reproduce.md",
    "docs/experiments.md",
    "docs/speed.md",
    "docs/results.md",
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_in_documents_exist(repository: Path, name: str) -> None:
    text = (repository / name).read_text(encoding="utf-8")
    folders = [repository, repository / "autodrag", (repository / name).parent]
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|js|yaml|md))`", text):
        assert "NAME" in path or path.startswith("FOLDER/") or any((folder / path).exists() for folder in folders), path
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
        assert ((repository / name).parent / target).exists(), target


def test_equations_are_where_the_method_page_says(repository: Path) -> None:
    text = (repository / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| Eq\. ([\d, -]+) \|.*?\| `([\w/]+\.py)`, `(?:\w+\.)?(\w+)`", text, re.MULTILINE)
    assert len(rows) == 10
    for numbers, path, name in rows:
        code = (repository / path).read_text(encoding="utf-8")
        assert f"def {name}(" in code, (path, name)
        assert re.search(rf"Eqs?\. (?:[\d, -]+)?{numbers[0]}", code), (path, numbers)
