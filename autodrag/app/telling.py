"""What a page is told of a session, apart from pictures of its motion."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.app.own import alignable
from autodrag.app.protocol import points
from autodrag.app.session import Editor
from autodrag.app.state import PointList
from autodrag.app.studio import METHODS


def describe(editor: Editor, motion: int) -> dict[str, Any]:
    """The session for JSON. motion: a number that tells one motion from another."""
    state, scene = editor.state, editor.scene
    return {
        "dataset": scene.dataset,
        "size": list(scene.generator.resolution[::-1]),
        "method": editor.method,
        "steps": editor.steps,
        "methods": [
            {
                "name": offer.name,
                "label": offer.label,
                "missing": offer.missing,
                "live": METHODS[offer.name].live,
                "most": METHODS[offer.name].most,
            }
            for offer in editor.studio.methods(scene.dataset)
        ],
        "seed": state.origin.seed,
        "psi": state.origin.psi,
        "style": state.origin.style,
        "classes": scene.generator.c_dim,
        "c": state.origin.c,
        "photo": scene.photo is not None,
        "alignable": alignable(scene.dataset),
        "handles": points(state.arrows.handles),
        "targets": points(state.arrows.targets),
        "pins": points(state.arrows.pins),
        "points": points(state.frame.points),
        "masked": state.mask is not None,
        "motion": motion,
        "frames": len(state.motion),
        "base": state.base,
        "undo": editor.can_undo,
        "redo": editor.can_redo,
    }


def mask_picture(mask: Float[Tensor, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """White where the picture may change."""
    grey = (mask * 255).round().to(torch.uint8)
    return np.ascontiguousarray(grey[:, :, None].expand(-1, -1, 3).numpy())


def mean_distance(reached: PointList, targets: PointList) -> float:
    """In pixels."""
    return round(float(np.linalg.norm(np.subtract(reached, targets), axis=1).mean()), 2)
