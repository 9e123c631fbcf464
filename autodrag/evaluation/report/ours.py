"""Describes "Ours" in two sentences, from the recipe of the shipped weights."""

from autodrag.config import compose, typed
from autodrag.training.build import TrainConfig

RECIPE = "synthface"  # configs/experiment/RECIPE.yaml


def about_ours() -> str:
    """What differs from the paper, what training and evaluation have in common, and what landing is."""
    return describe(typed(TrainConfig, compose("train", [f"experiment={RECIPE}"])))


def describe(recipe: TrainConfig) -> str:
    """See `about_ours`, for any recipe."""
    stage, aim = recipe.stage2, recipe.model.predictor.aim
    added = ["the aim (a first guess of where a drag ends)"] if aim is not None else []
    added += (
        ["the landing loss (the distance of the handles from their targets)"]
        if stage.motion is not None and stage.gamma
        else []
    )
    theirs = "is the paper's predictor and regularizer by another recipe"
    if added:
        not_theirs = f"which {'are' if len(added) > 1 else 'is'} not the paper's"
        theirs = f"is the paper's predictor and regularizer with {' and '.join(added)}, {not_theirs}"
    batches = f"{stage.landmarks:.0%} of its training batches" + (
        f" ({recipe.aim.landmarks:.0%} of the aim's)" if aim is not None and recipe.aim.landmarks else ""
    )
    seen = f"{batches} are landmarks found by the detector that also measures MD"
    landing = (
        "Landing, the default of the editor and of drag.py, is ours alone: it solves for the latents by a network of "
        f"where points go, and {recipe.motion.landmarks:.0%} of that network's batches are such landmarks"
    )
    return f"Ours {theirs}. L_drag has weight {stage.beta:g} in its training, and {seen}. {landing}.\n"
