"""The verdicts on the paper's claims, from made-up results."""

from pathlib import Path
from typing import Any

import pytest

from autodrag.evaluation.report.claims import NOT_RUN, claims
from autodrag.evaluation.report.results import Result


def around(mean: float, half: float = 0.05) -> dict[str, Any]:
    return {"n": 100, "mean": mean, "low": mean - half, "high": mean + half}


def result(task: str, label: str, value: float, others: dict[str, float], seconds: float = 1.0) -> Result:
    """Its number is `value` in every setting; others: label -> theirs."""
    settings, column = (("1", "5", "68"), "md") if task == "landmarks" else (("32",), "mse")
    summary = {
        "task": {"name": task, "max_steps": 300},
        "dataset": "synthface",
        "method": {"name": label, "label": label, "options": {"max_steps": None}},
        "manifest": "m",
        "device": "CPU, 1 threads",
        "settings": {setting: {"items": 100, column: around(value)} for setting in settings},
        "minus": {other: {s: around(value - theirs) for s in settings} for other, theirs in others.items()},
        "seconds": {"method": around(seconds, 0.1 * seconds)},
    }
    return Result(Path(label), summary)


def verdicts(*results: Result) -> dict[str, str]:
    return {claim.text: claim.verdict for claim in claims(list(results), "synthface")}


def several(task: str, values: dict[str, float], seconds: dict[str, float] | None = None) -> list[Result]:
    return [result(task, label, value, values, (seconds or {}).get(label, 1.0)) for label, value in values.items()]


def test_without_results_nothing_has_been_run() -> None:
    assert len(verdicts()) == 8 and set(verdicts().values()) == {NOT_RUN}


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (1.0, "holds"),
        (1.98, "holds, within the interval"),
        (2.02, "does not hold, within the interval"),
        (3.0, "does not hold"),
    ],
)
def test_distances_are_compared_item_by_item(ours: float, verdict: str) -> None:
    found = verdicts(*several("landmarks", {"autodrag": ours, "draggan": 2.0}))
    for points in ("1 point", "5 points", "68 points"):
        assert found[f"Ours has an MD not above DragGAN's at {points}"] == verdict
    found = verdicts(*several("paired", {"autodrag": ours, "draggan": 2.0}))
    assert found["Ours has an MSE × 100 of reconstruction not above DragGAN's"] == verdict


def test_ablations_are_compared_with_the_model_of_their_budget() -> None:
    values = {"autodrag": 1.0, "autodrag-without-regularizer": 2.0, "autodrag-without-predictor": 0.5}
    text = "Without the Latent {} MD is worse at 1, 5 and 68 points"
    found = verdicts(*several("landmarks", values))
    assert found[text.format("Regularizer")] == "holds" and found[text.format("Predictor")] == "does not hold"
    found = verdicts(*several("landmarks", values | {"autodrag-n5": 3.0}))
    assert found[text.format("Regularizer")] == "does not hold"


def test_a_claim_fails_with_one_of_its_settings() -> None:
    first = result("landmarks", "autodrag-without-predictor", 2.0, {"autodrag": 1.0})
    first.summary["minus"]["autodrag"]["5"] = around(-1.0)
    found = verdicts(first, result("landmarks", "autodrag", 1.0, {}))
    assert found["Without the Latent Predictor MD is worse at 1, 5 and 68 points"] == "does not hold"


def test_the_best_number_of_steps_is_that_of_the_evaluated_ones() -> None:
    values = {"autodrag-n1": 3.0, "autodrag-n5": 1.0, "autodrag-n10": 2.0}
    assert verdicts(*several("paired", values))["n = 5 is best"] == "holds"
    values["autodrag-n10"] = 0.5
    assert verdicts(*several("paired", values))["n = 5 is best"] == "does not hold"
    del values["autodrag-n5"]
    assert verdicts(*several("paired", values))["n = 5 is best"] == NOT_RUN


@pytest.mark.parametrize(
    ("draggan", "verdict"), [(10.0, "holds"), (5.2, "holds, within the interval"), (3.0, "does not hold")]
)
def test_times_are_compared_with_the_papers_ratio(draggan: float, verdict: str) -> None:
    values = {"autodrag": 1.0, "draggan": 1.0}
    found = claims(several("landmarks", values, {"autodrag": 0.1, "draggan": draggan}), "synthface")
    (claim,) = (claim for claim in found if "faster" in claim.text)
    assert claim.verdict == verdict and f"{draggan / 0.1:.0f} times" in claim.ours


def test_a_claim_says_what_was_compared_and_why_it_does_not_hold() -> None:
    values = {"autodrag": 3.0, "draggan": 2.0, "autodrag-without-regularizer": 2.9}
    found = {claim.text: claim for claim in claims(several("landmarks", values), "synthface")}
    distance = found["Ours has an MD not above DragGAN's at 5 points"]
    assert distance.compared == "Ours (100 pairs) with DragGAN (100 pairs, at most 300 steps)"
    assert distance.verdict == "does not hold" and distance.reason == "Not known."
    regularizer = found["Without the Latent Regularizer MD is worse at 1, 5 and 68 points"]
    assert regularizer.compared == "Ours w/o Latent Regularizer (100 pairs) with Ours (100 pairs)"
    assert "hardly uses R" in regularizer.reason
    faster = found["Ours is 50 times faster than DragGAN"]
    assert faster.compared == "100 edits of ours, 100 of DragGAN, at most 300 steps, one at a time; CPU, 1 threads"
    not_run = found["Without the Latent Predictor MD is worse at 1, 5 and 68 points"]
    assert not_run.compared == "–" and not_run.reason == ""
    better = claims(several("landmarks", values | {"autodrag": 1.0}), "synthface")[1]
    assert better.verdict == "holds" and better.reason == ""
