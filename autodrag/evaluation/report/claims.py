"""The claims of the paper, compared with the results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autodrag.evaluation.report import paper
from autodrag.evaluation.report.results import Result, of_task, settings_of

NOTHING, NOT_RUN = "–", "not run here"
#: Verdict on two results that were stored at different times, whose items are no longer here to compare.
NOT_COMPARED = "not compared item by item: evaluate both again into one results="
ABLATIONS = {"autodrag-without-regularizer": "Regularizer", "autodrag-without-predictor": "Predictor"}
#: Why a claim does not hold here, where known. Shown only where it does not hold.
REASONS = {
    "reconstruction": "Likely: a pair moves each of the rows 0-5 towards another latent, ours is trained on motions "
    "towards one latent for all of them, and DragGAN fits each pair by itself.",
    "Regularizer": "The model hardly uses R (its gate stays near 0): after drags from face to face latents are no "
    "outliers, so there is nothing to restore.",
}
UNKNOWN = "Not known."
FASTER = 50  # times
BEST_STEPS = 5


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and what was measured here."""

    text: str
    theirs: str  # the paper's numbers
    ours: str  # the numbers measured here
    verdict: str  # holds | does not hold, and how certain that is; not run here; not compared
    compared: str = NOTHING  # the two sides of the comparison
    key: str = ""  # in REASONS

    @property
    def reason(self) -> str:
        """Why the claim does not hold; otherwise empty."""
        return REASONS.get(self.key, UNKNOWN) if self.verdict.startswith("does not") else ""


def claims(results: list[Result], dataset: str) -> list[Claim]:
    """All claims, whether measured on the dataset or not."""
    landmarks, paired = (of_task(results, task, dataset) for task in ("landmarks", "paired"))
    found = [_distance(landmarks, setting, number) for number, setting in enumerate(("1", "5", "68"))]
    found += [_reconstruction(paired)]
    found += [_ablation(landmarks, label) for label in ABLATIONS]
    return [*found, _steps(paired), _faster(landmarks)]


def _distance(found: Mapping[str, Result], setting: str, number: int) -> Claim:
    theirs = [paper.TABLE1[label][number] for label in ("autodrag", "draggan")]
    ours, verdict = _compared(found, "autodrag", "draggan", [setting], "md", smaller=True)
    return Claim(
        f"Ours has an MD not above DragGAN's at {setting} point{'s' * (setting != '1')}",
        f"{theirs[0]} against {theirs[1]}",
        ours,
        verdict,
        _sides(found, "autodrag", "draggan", setting),
        "distance",
    )


def _reconstruction(found: Mapping[str, Result]) -> Claim:
    theirs = paper.TABLE2["dog"]
    setting = next((s for result in found.values() for s in result.summary["settings"]), "32")
    ours, verdict = _compared(found, "autodrag", "draggan", [setting], "mse", smaller=True)
    numbers = f"{theirs['autodrag'][0]} against {theirs['draggan'][0]} (Dog)"
    sides = _sides(found, "autodrag", "draggan", setting)
    text = "Ours has an MSE × 100 of reconstruction not above DragGAN's"
    return Claim(text, numbers, ours, verdict, sides, "reconstruction")


def _ablation(found: Mapping[str, Result], label: str) -> Claim:
    """Compared with the full model of the same budget where that has been run."""
    full = "autodrag-n5" if "autodrag-n5" in found else "autodrag"
    settings = settings_of(found[name] for name in (label, full) if name in found)
    ours, verdict = _compared(found, label, full, settings, "md", smaller=False)
    theirs = " / ".join(f"{value}" for value in paper.TABLE1[label][:3])
    whole = " / ".join(f"{value}" for value in paper.TABLE1["autodrag"][:3])
    text = f"Without the Latent {ABLATIONS[label]} MD is worse at 1, 5 and 68 points"
    sides = _sides(found, label, full, settings[0]) if settings else NOTHING
    return Claim(text, f"{theirs} against {whole}", ours, verdict, sides, ABLATIONS[label])


def _steps(found: Mapping[str, Result]) -> Claim:
    """Whether the model of n = 5 has the lowest MSE of those that were run."""
    text, theirs = f"n = {BEST_STEPS} is best", "0.37; next 0.38 (n = 10)"
    runs = {n: found[f"autodrag-n{n}"] for n in paper.TABLE3 if f"autodrag-n{n}" in found}
    if BEST_STEPS not in runs or len(runs) < 2:
        return Claim(text, theirs, NOTHING, NOT_RUN)
    (setting,) = runs[BEST_STEPS].summary["settings"]
    means = {n: _mean(result, setting, "mse") for n, result in runs.items()}
    best = min((n for n in means if n != BEST_STEPS), key=lambda n: means[n])
    ours, verdict = _compared(found, f"autodrag-n{BEST_STEPS}", f"autodrag-n{best}", [setting], "mse", smaller=True)
    ours = f"{ours} (n = {best}, the best other of {', '.join(map(str, runs))})"
    sides = _sides(found, f"autodrag-n{BEST_STEPS}", f"autodrag-n{best}", setting)
    return Claim(text, theirs, ours, verdict, sides, "steps")


def _faster(found: Mapping[str, Result]) -> Claim:
    text, theirs = f"Ours is {FASTER} times faster than DragGAN", "0.04 s against 1.9 s"
    both = [found[label] for label in ("autodrag", "draggan") if label in found]
    times = [time for result in both if (time := result.seconds(settings_of(both)[0])) is not None]
    if len(times) < 2:
        return Claim(text, theirs, NOTHING, NOT_RUN)
    mine, other = (time["method"] for time in times)
    ratio = other["mean"] / mine["mean"]
    low, high = other["low"] / mine["high"], other["high"] / mine["low"]
    ours = f"{mine['mean']:.3g} s against {other['mean']:.3g} s: {ratio:.0f} times ({low:.0f}–{high:.0f})"
    devices = {label: found[label].summary["device"] for label in ("autodrag", "draggan")}
    one = "; ".join(sorted(set(devices.values())))
    sides = f"{mine['n']} edits of ours, {other['n']} of DragGAN{_allowed(found['draggan'])}, one at a time; {one}"
    return Claim(text, theirs, ours, _verdict(ratio >= FASTER, low <= FASTER <= high), sides, "faster")


def _sides(found: Mapping[str, Result], first: str, second: str, setting: str) -> str:
    """The two sides and their numbers of pairs; the difference is taken over the pairs that both have."""
    if not all(_has(found, label, [setting]) for label in (first, second)):
        return NOTHING
    return " with ".join(
        f"{paper.METHODS.get(label, label)} ({found[label].items_of(setting)} pairs{_allowed(found[label])})"
        for label in (first, second)
    )


def _has(found: Mapping[str, Result], label: str, settings: list[str]) -> bool:
    """Whether a method was run with all of these settings."""
    return label in found and set(settings) <= found[label].summary["settings"].keys()


def _allowed(result: Result) -> str:
    return "" if result.max_steps is None else f", at most {result.max_steps} steps"


def _compared(
    found: Mapping[str, Result], first: str, second: str, settings: list[str], column: str, smaller: bool
) -> tuple[str, str]:
    """(numbers, verdict) on "first is at most second" (smaller) or "first is above second", in every setting."""
    if not settings or not all(_has(found, label, settings) for label in (first, second)):
        return NOTHING, NOT_RUN
    differences = [found[first].minus(second, setting) for setting in settings]
    known = [difference for difference in differences if difference is not None]
    means = [" / ".join(f"{_mean(found[label], s, column):.3g}" for s in settings) for label in (first, second)]
    if len(known) < len(settings):
        return f"{means[0]} against {means[1]}", NOT_COMPARED
    shown = " / ".join(f"{d['mean']:+.2g} ({d['low']:+.2g} to {d['high']:+.2g})" for d in known)
    holding = [d["mean"] <= 0 if smaller else d["mean"] > 0 for d in known]
    unsure = [d["low"] <= 0 <= d["high"] for d in known]
    if all(holding):
        verdict = _verdict(True, any(unsure))
    else:  # one setting that certainly fails is enough
        verdict = _verdict(False, all(u for u, holds in zip(unsure, holding, strict=True) if not holds))
    return f"{means[0]} against {means[1]}; difference {shown}", verdict


def _verdict(holds: bool, unsure: bool) -> str:
    return ("holds" if holds else "does not hold") + (", within the interval" if unsure else "")


def _mean(result: Result, setting: str, column: str) -> float:
    found: Mapping[str, Any] | None = result.estimate(setting, column)
    return float("inf") if found is None else float(found["mean"])
