"""A table as text."""

from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "×": r"$\times$", "–": "--"}


@dataclass(frozen=True)
class Table:
    """name: of its files. notes: sentences on how to read it (N, seeds, device, ...)."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def markdown(self) -> str:
        lines = "\n".join(f"- {note}" for note in self.notes)
        return f"### {self.title}\n\n{markdown_table(self.columns, self.rows)}\n{lines}\n"

    def latex(self) -> str:
        body = [" & ".join(map(_escape, row)) + r" \\" for row in self.rows]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_escape(self.title)}. {_escape(' '.join(self.notes))}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                r"\hline",
                " & ".join(map(_escape, self.columns)) + r" \\",
                r"\hline",
                *body,
                r"\hline",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a Markdown table."""
    return "".join(f"{_line(row)}\n" for row in (columns, ["---"] * len(columns), *rows))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
