"""`docs/results.md` and the README's block, made from the stored summaries."""

from collections.abc import Sequence
from pathlib import Path

from autodrag.errors import InputError
from autodrag.evaluation.report import paper
from autodrag.evaluation.report.claims import NOT_COMPARED, NOT_RUN, NOTHING, Claim, claims
from autodrag.evaluation.report.ours import about_ours
from autodrag.evaluation.report.results import Result, devices_of, of_task, settings_of
from autodrag.evaluation.report.table import markdown_table
from autodrag.evaluation.report.tables import TABLES

BUNDLED = "synthface"
#: Methods of the README in its order: those trained with the full budget.
HEADLINE = (
    "no-edit",
    "latent-transformer",
    "freedrag",
    "draggan",
    paper.PAPER,
    "autodrag",
    "autodrag-rounds",
    "landing",
    "oracle",
)
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
PICTURES = {
    "fig1": "Fig. 1: time against quality",
    "fig9": "Fig. 9: mean distance decay",
    "fig5": "Fig. 5: latents, their outliers by Eq. 1, and the result of the Latent Regularizer",
    "fig6": "Fig. 6: sequences of Eq. 7, each first away from w* as printed, then towards it",
    "steps": "The steps of a drag",
    "fig8": "Fig. 8: faces, method by method",
    "drags": "Twenty drags of five landmarks, in the order of the evaluation: source with its points, and the edit",
    "pull_sheet": "Eighty pulls by landing, in the order of the evaluation; handles are red, targets blue",
    "fig10": "Fig. 10: reconstruction and seconds of an edit, method by method",
}
SUFFIXES = (".png", ".jpg")

_HEAD = """# Results

Made by `python scripts/tables.py` from the summaries under `{data}`, never by hand. Intervals are 95 % bootstrap
intervals over items. Differences are means over the items that both methods have; negative means that the
first is better, and the verdict says so if the interval contains 0.

{ours}"""


def page(results: list[Result], folder: Path, data: Path) -> str:
    """The whole page; `folder` holds the figures, beside which the page lies one level up."""
    datasets = sorted({r.summary["dataset"] for r in results} | {BUNDLED}, key=lambda name: (name != BUNDLED, name))
    parts = [_HEAD.format(data=data.as_posix(), ours=about_ours())]
    for dataset in datasets:
        parts += [f"## {dataset}\n", "### The paper's claims\n", _claims(claims(results, dataset))]
        tables = [make(results, dataset) for make in TABLES.values()]
        parts += [table.markdown() for table in tables if table is not None]
        parts += _pictures(folder, dataset)
    return "\n".join(parts)


def headline(results: list[Result], link: str) -> str:
    """A short table on the bundled dataset for the README. link: of the whole page."""
    every = of_task(results, "landmarks", BUNDLED)
    found = {label: every[label] for label in HEADLINE if label in every}
    if not found:
        return f"Nothing has been measured with trained weights yet; [{link}]({link}) lists what will be.\n"
    settings = settings_of(found.values())
    columns = ["Method", "pairs", *(f"MD, {s} point{'s' * (s != '1')}" for s in settings), "seconds an edit"]
    rows = []
    for label in HEADLINE:
        if label not in found:
            if label == paper.PAPER:
                rows.append([paper.METHODS[label], NOT_RUN, *[NOTHING] * (len(columns) - 2)])
            continue
        seconds = found[label].seconds(settings[0])
        pairs = str(found[label].items_of())
        estimates = [found[label].estimate(s, "md") for s in settings]
        means = [NOTHING if e is None else f"{e['mean']:.2f} ± {(e['high'] - e['low']) / 2:.2f}" for e in estimates]
        rows.append(
            [found[label].name, pairs, *means, NOTHING if seconds is None else f"{seconds['method']['mean']:.3g}"],
        )
    held = claims(results, BUNDLED)
    states = ("holds", "does not", "not run", NOT_COMPARED)
    counts = [sum(claim.verdict.startswith(state) for claim in held) for state in states]
    first = next(iter(found.values())).summary
    allowed = sorted({result.max_steps for result in found.values() if result.max_steps is not None})
    steps = f"; optimisers made at most {' or '.join(map(str, allowed))} steps" if allowed else ""
    return (
        f"Landmarks of a face of `{BUNDLED}` dragged to another's, distances in pixels at {first['resolution'][0]} px "
        f"(± half a 95 % interval; edits without a detected face left out), {devices_of(found.values())}{steps}:\n\n"
        + markdown_table(columns, rows)
        + f"\n{about_ours()}"
        + f"\nOf {len(held)} claims of the paper {counts[0]} hold here, {counts[1]} do not, {counts[2]} were not run"
        + (f", {counts[3]} compare results of different runs" if counts[3] else "")
        + f": [{link}]({link}).\n"
    )


def insert(text: str, block: str, path: Path) -> str:
    """`text` with `block` between the marks. Raises InputError where the file `path` lacks the marks."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise InputError(f"{path} has no {BEGIN} and {END}; put them where the results belong, or set readme=null.")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def _claims(found: Sequence[Claim]) -> str:
    rows = [[c.text, c.theirs, c.ours, c.compared, c.verdict, c.reason] for c in found]
    return markdown_table(["Claim", "Paper", "Here", "What was compared", "Verdict", "Why not"], rows)


def _pictures(folder: Path, dataset: str) -> list[str]:
    paths = ((title, folder / f"{part}-{dataset}{suffix}") for part, title in PICTURES.items() for suffix in SUFFIXES)
    return [f"**{title}**\n\n![{title}]({folder.name}/{path.name})\n" for title, path in paths if path.is_file()]
