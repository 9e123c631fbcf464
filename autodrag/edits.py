"""Lists of edits to drag: JSON, or CSV with a line for each pair of points."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodrag.errors import InputError
from autodrag.typed import build

POINTS = ("handle_x", "handle_y", "target_x", "target_y")


@dataclass(frozen=True)
class Edit:
    """A drag of one image. name: of the files it is written to. seed: of the image, unless `latent` names a file."""

    name: str
    seed: int
    latent: str | None
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]


def read_edits(path: Path) -> list[Edit]:
    """The edits of a file.

    JSON: a list of {"handles": [[x, y], ...], "targets": [...]}, with "seed" (0), "latent" and "name" if wanted. CSV:
    columns handle_x, handle_y, target_x, target_y, and name, seed, latent if wanted; lines of one name are one edit.
    Raises InputError, with the number of the entry, for anything else.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The edits {path} cannot be read ({error}); give a .json or .csv file.") from None
    entries = _from_csv(text, path) if path.suffix == ".csv" else _from_json(text, path)
    edits = []
    for number, entry in enumerate(entries, 1):
        filled = {"name": f"edit-{number:04d}", "seed": 0, "latent": None, **entry}
        try:
            edits.append(build(Edit, filled))
        except InputError as error:
            raise InputError(f"Edit {number} of {path}: {error}") from None
        if Path(edits[-1].name).name != edits[-1].name:
            raise InputError(f"Edit {number} of {path} is called {edits[-1].name!r}; a name must be no path.")
    if not edits:
        raise InputError(f"{path} lists no edits.")
    if len({edit.name for edit in edits}) < len(edits):
        raise InputError(f"Two edits of {path} have the same name, so one would overwrite the other; rename one.")
    return edits


def _from_json(text: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}).") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} must hold a list of edits, each with handles and targets.")
    return entries


def _from_csv(text: str, path: Path) -> list[Mapping[str, Any]]:
    rows = csv.DictReader(text.splitlines())
    if missing := [name for name in POINTS if name not in (rows.fieldnames or ())]:
        raise InputError(f"{path} has no column {missing[0]}; it needs {', '.join(POINTS)}.")
    entries: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        name = row.get("name") or f"edit-{number:04d}"
        try:
            hx, hy, tx, ty = (float(row[column]) for column in POINTS)
            seed = int(row.get("seed") or 0)
        except (TypeError, ValueError):
            raise InputError(f"Line {number + 1} of {path} holds something that is no number.") from None
        entry = entries.setdefault(name, {"name": name, "handles": [], "targets": []})
        entry |= {"seed": seed, "latent": row.get("latent") or None}
        entry["handles"].append([hx, hy])
        entry["targets"].append([tx, ty])
    return list(entries.values())
