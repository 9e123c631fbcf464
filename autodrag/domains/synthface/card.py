"""The model card of synthface, generated from its measurements."""

import json
from typing import Any

# Description, key of the number, format, target.
BARS: tuple[tuple[str, str, str, str], ...] = (
    ("images that the first numbers are means of", "images", "{:.0f}", "2000"),
    ("generator against renderer, mean absolute error in [0, 1]", "mae", "{:.4f}", "<= 0.03 (floor 0.04)"),
    ("its sharpness relative to the renderer's", "sharpness", "{:.3f}", "within 15 % (floor 25 %)"),
    ("landmarks moved by another's rows 6.., px at 256", "moved_by_rows_6", "{:.2f}", "<= 1"),
    ("landmarks missed by another's rows 0-5, px at 256", "missed_by_rows_0_5", "{:.2f}", "<= 2"),
    ("landmark predictor on generated images, px at 256", "landmark_error", "{:.2f}", "<= 1.5"),
    ("faces that the detector does not find", "not_found", "{:.2%}", "<= 1 %"),
    ("interpolated latents against renders of the faces between, mean absolute error", "walk_mae", "{:.4f}", ""),
    ("longest step of a walk relative to its mean step", "walk_longest_step", "{:.2f}", ""),
    ("matches (ORB, GMS, guards) of neighbouring frames of a trajectory", "steps_matches", "{:.0f}", ""),
    ("their error against the true correspondence, median, px at 256", "steps_error", "{:.2f}", "<= 1.5"),
    ("matches of its first and last frame", "ends_matches", "{:.0f}", ""),
    ("their error against the true correspondence, median, px at 256", "ends_error", "{:.2f}", "<= 1.5"),
    ("seconds to load the generator", "load_seconds", "{:.2f}", "<= 1"),
    ("seconds an image", "image_seconds", "{:.3f}", "<= 0.08"),
)

HEAD = """# synthface

A procedural face (`autodrag/domains/synthface`), a StyleGAN2 that reproduces it at 256 px with geometry in rows 0-5 of
its latents and appearance in the others, and a dlib predictor of its 68 landmarks. No photograph went into it.

Licence: Apache-2.0, as the code. Made by `python scripts/make_synthface.py` (configs/make_synthface.yaml): about three
hours on two CPU cores with AMX (the history below), not run here on a GPU.

| measured on seeds not used in training | value | wanted |
|---|---|---|
"""


def model_card(record: dict[str, Any]) -> str:
    """The model card in Markdown. record: content of `report.json`."""
    numbers = record["numbers"]
    rows = [f"| {name} | {form.format(numbers[key])} | {bar} |" for name, key, form, bar in BARS]
    files = [f"- `{name}` sha256 `{digest}`" for name, digest in record["files"].items()]
    stages = [f"- {json.dumps(stage)}" for stage in record["generator"]["stages"]]
    history = ["", "## History", "", record["history"].strip()]
    return HEAD + "\n".join(
        [*rows, "", "## Files", "", *files, *history, "", "## Stages of the generator's training", "", *stages, ""]
    )
