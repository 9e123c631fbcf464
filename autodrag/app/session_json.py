"""The state of a session as JSON for the page, without images."""

import math
from dataclasses import asdict
from typing import Any

from autodrag.app.protocol import points
from autodrag.editor.drag import Drag
from autodrag.editor.model_cache import METHODS
from autodrag.editor.session import Editor
from autodrag.editor.state import PointList
from autodrag.editor.tuning import Tuning
from autodrag.editor.user_photo import alignable

DRAWS = {
    "synthface": "painted faces, seen from the front",
    "ffhq": "photographs of faces, cut out around eyes and mouth",
    "afhqcat": "faces of cats",
    "lsun_cat": "cats",
    "lsun_car": "cars",
    "lhq": "landscapes",
    "shhq": "whole people, standing",
    "lion": "faces of lions",
    "dog": "faces of dogs",
    "elephant": "elephants",
}
COPIED = 32 * 2**20  # bytes of a session up to which a page keeps its own copy


def describe(editor: Editor, motion: int) -> dict[str, Any]:
    """The session as JSON. motion: number that identifies the motion."""
    state, scene = editor.state, editor.scene
    tuning = Tuning.of(editor.loaded())
    return {
        "dataset": scene.dataset,
        "size": list(scene.generator.resolution[::-1]),
        "method": editor.method,
        "steps": editor.steps,
        "tuning": None if tuning is None else asdict(tuning),
        "methods": _methods(editor),
        "seed": _exact(state.origin.seed),
        "psi": state.origin.psi,
        "style": _exact(state.origin.style),
        "classes": scene.generator.c_dim,
        "c": state.origin.c,
        "photo": scene.photo is not None,
        "detail": scene.detailed if scene.inverted is not None else None,
        "draws": _draws(scene.dataset),
        "alignable": alignable(scene.dataset),
        "handles": points(state.arrows.handles),
        "targets": points(state.arrows.targets),
        "pins": points(state.arrows.pins),
        "points": points(state.frame.points),
        "plan": None if state.plan is None else {name: points(value) for name, value in asdict(state.plan).items()},
        "masked": state.mask is not None,
        "grow": state.grow,
        "moments": [moment.number for moment in editor.history.moments],
        "moment": editor.history.index,
        "motion": motion,
        "frames": len(state.motion),
        "base": state.base,
        "version": editor.version,
        "heavy": _size(editor) > COPIED,
        "undo": editor.can_undo,
        "redo": editor.can_redo,
    }


def _exact(seed: int | None) -> str | None:
    """A seed as text: a session of `Editor` may have one that a page's numbers would round."""
    return None if seed is None else str(seed)


def _size(editor: Editor) -> int:
    """Bytes of the session's file, without the small parts."""
    scene, motion = editor.scene, editor.state.motion
    photo = 0 if scene.photo is None else len(scene.photo.png)
    masks = {id(frame.mask): frame.mask.numel() for frame in motion if frame.mask is not None}
    parts = (*scene.tuned.values(), *(frame.ws for frame in motion))
    return photo + sum(masks.values()) + sum(part.nbytes for part in parts)


def _methods(editor: Editor) -> list[dict[str, Any]]:
    """The drag methods on offer, with what each lacks on this generator."""
    return [
        {
            "name": offer.name,
            "label": offer.label,
            "missing": offer.missing,
            "live": METHODS[offer.name].live,
            "most": METHODS[offer.name].most,
        }
        for offer in editor.models.methods(editor.scene.dataset)
    ]


def _draws(dataset: str) -> str:
    """What this generator can draw, for users who upload an image."""
    return f"This generator draws {DRAWS.get(dataset, 'what it was trained on')}, and nothing else."


def outcome(edit: Drag) -> dict[str, Any]:
    """The outcome of a drag in the displayed image.

    seconds: of the method's work. asked: pixels from handles to targets; distance: what remains of it; both are means
    over the handles. drift: largest displacement of a pin in pixels; None without pins. short: whether the drag stopped
    at the limits of the generator's latents; None if the method cannot tell.
    """
    arrows = edit.arrows
    points = edit.frames[-1].points if edit.frames else arrows.handles + arrows.pins
    count = len(arrows.handles)
    return {
        "seconds": round(edit.seconds, 3),
        "asked": _mean(_distances(arrows.handles, arrows.targets)),
        "distance": _mean(_distances(points[:count], arrows.targets)),
        "drift": max(_distances(points[count:], arrows.pins)) if arrows.pins else None,
        "short": edit.short,
    }


def _distances(a: PointList, b: PointList) -> list[float]:
    """In pixels, rounded to hundredths."""
    return [round(math.dist(p, q), 2) for p, q in zip(a, b, strict=True)]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 2)
