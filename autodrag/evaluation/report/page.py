"""`docs/results.md` and the README's block: text made of kept summaries, and put between marks."""

from collections.abc import Sequence
from pathlib import Path

from autodrag.errors import InputError
from autodrag.evaluation.report import paper
from autodrag.evaluation.report.claims import Claim, claims
from autodrag.evaluation.report.results import Result, of_task
from autodrag.evaluation.report.table import markdown_table
from autodrag.evaluation.report.tables import TABLES

BUNDLED = "synthface"
#: Methods of the README, in its order: those that were trained in full.
HEADLINE = ("no-edit", "latent-transformer", "freedrag", "draggan", "autodrag", "autodrag-rounds", "oracle")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
PICTURES = {
    "fig1": "Fig. 1: time against quality",
    "fig9": "Fig. 9: mean distance decay",
    "fig5": "Fig. 5: latents, outliers made of them by Eq. 1, and what the Latent Regularizer restores",
    "fig6": "Fig. 6: the steps of a drag",
    "fig8": "Fig. 8: faces, method by method",
    "drags": "Twenty drags of five landmarks, in the order of the evaluation: source with its points, and the edit",
    "fig10": "Fig. 10: reconstruction, method by method",
}
SUFFIXES = (".png", ".jpg")

_HEAD = """# Results

Made by `python scripts/tables.py` from the summaries under `{data}`, never by hand. Intervals are 95 % bootstrap
intervals over items. A difference is taken item by item; it is negative where the first is better, and where its
interval holds 0 the verdict says so.
"""


def page(results: list[Result], folder: Path, data: Path) -> str:
    """The whole page; `folder` holds the figures, beside which the page lies one level up."""
    datasets = sorted({r.summary["dataset"] for r in results} | {BUNDLED}, key=lambda name: (name != BUNDLED, name))
    parts = [_HEAD.format(data=data.as_posix())]
    for dataset in datasets:
        parts += [f"## {dataset}\n", "### The paper's claims\n", _claims(claims(results, dataset))]
        tables = [make(results, dataset) for make in TABLES.values()]
        parts += [table.markdown() for table in tables if table is not None]
        parts += _pictures(folder, dataset)
    return "\n".join(parts)


def headline(results: list[Result], link: str) -> str:
    """A short table on the bundled dataset for the README; `link`: where the whole page is."""
    every = of_task(results, "landmarks", BUNDLED)
    found = {label: every[label] for label in HEADLINE if label in every}
    if not found:
        return f"Nothing has been measured with trained weights yet; [{link}]({link}) lists what will be.\n"
    settings = list(next(iter(found.values())).summary["settings"])
    columns = ["Method", "pairs", *(f"MD, {s} point{'s' * (s != '1')}" for s in settings), "seconds an edit"]
    rows = []
    for label in found:
        seconds = found[label].summary["seconds"]
        pairs = str(found[label].summary["settings"][settings[0]]["items"])
        estimates = [found[label].estimate(s, "md") for s in settings]
        means = ["–" if e is None else f"{e['mean']:.2f} ± {(e['high'] - e['low']) / 2:.2f}" for e in estimates]
        rows.append(
            [paper.METHODS[label], pairs, *means, "–" if seconds is None else f"{seconds['method']['mean']:.3g}"],
        )
    held = claims(results, BUNDLED)
    counts = [sum(claim.verdict.startswith(state) for claim in held) for state in ("holds", "does not", "not run")]
    first = next(iter(found.values())).summary
    return (
        f"Landmarks of a face of `{BUNDLED}` dragged to another's, distances in pixels at {first['resolution'][0]} px "
        f"(± half a 95 % interval), {first['device']}:\n\n"
        + markdown_table(columns, rows)
        + f"\nOf {len(held)} claims of the paper {counts[0]} hold here, {counts[1]} do not, {counts[2]} were not run: "
        f"[{link}]({link}).\n"
    )


def insert(text: str, block: str, path: Path) -> str:
    """`text` with `block` between the marks. Raises InputError where the marks of the file `path` are not there."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise InputError(f"{path} has no {BEGIN} and {END}: put them where the results belong, or set readme=null.")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def _claims(found: Sequence[Claim]) -> str:
    rows = [[claim.text, claim.theirs, claim.ours, claim.verdict] for claim in found]
    return markdown_table(["Claim", "Paper", "Here", "Verdict"], rows)


def _pictures(folder: Path, dataset: str) -> list[str]:
    paths = ((title, folder / f"{part}-{dataset}{suffix}") for part, title in PICTURES.items() for suffix in SUFFIXES)
    return [f"**{title}**\n\n![{title}]({folder.name}/{path.name})\n" for title, path in paths if path.is_file()]
