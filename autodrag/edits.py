"""Lists of edits to drag: JSON, or CSV with a line for each pair of points."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from autodrag.errors import InputError
from autodrag.typed import build

POINTS = ("handle_x", "handle_y", "target_x", "target_y")
COLUMNS = ("name", "seed", "latent", *POINTS)
WORKBOOK = b"PK\x03\x04"  # first bytes of a ZIP archive, which .xlsx and .ods are
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}  # of Windows
LONGEST_NAME = 200  # bytes of an edit's name; file systems allow 255 with what is added to it


@dataclass(frozen=True)
class Edit:
    """A drag of one image. name: of its files. seed: of the image, unless `latent` is a file."""

    name: str
    seed: int
    latent: str | None
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]


def read_edits(path: Path) -> list[Edit]:
    """The edits of a file.

    JSON: a list of {"handles": [[x, y], ...], "targets": [...]}, optionally with "seed" (0), "latent" and "name". CSV:
    columns handle_x, handle_y, target_x, target_y, optionally name, seed, latent; lines of one name are one edit.
    Fields are separated by commas, semicolons or tabs, with a decimal comma or point; text is UTF-8 or UTF-16, as
    spreadsheets write it. Raises InputError, with the number of the entry, for anything else.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The edits {path} cannot be read ({error}); give a .json or .csv file in UTF-8.") from None
    if data.startswith(WORKBOOK) or "\0" in text:
        raise InputError(
            f"{path} is not a text file but a workbook, or UTF-16 without a byte order mark; save it as CSV in UTF-8."
        )
    entries = _from_csv(text, path) if path.suffix.lower() == ".csv" else _from_json(text, path)
    edits = []
    for number, entry in enumerate(entries, 1):
        filled = {"name": f"edit-{number:04d}", "seed": 0, "latent": None, **entry}
        try:
            edits.append(build(Edit, filled, what="Key"))
            _check_name(edits[-1].name)
        except InputError as error:
            raise InputError(f"Edit {number} of {path}: {error}") from None
    if not edits:
        raise InputError(f"{path} lists no edits.")
    first: dict[str, int] = {}
    for number, edit in enumerate(edits, 1):
        before = first.setdefault(edit.name.casefold(), number)  # some file systems ignore case
        if before != number:
            raise InputError(
                f"Edits {before} and {number} of {path} have the same name {edit.name!r}, so one would overwrite the "
                "other: rename one."
            )
    return edits


def _check_name(name: str) -> None:
    """Raises InputError where files cannot be named so."""
    if name == ".." or any(kind(name).name != name for kind in (PurePosixPath, PureWindowsPath)):
        raise InputError(f"It is named {name!r}; a name must not be a path.")
    if name.partition(".")[0].strip().casefold() in DEVICES:
        raise InputError(f"It is named {name!r}, which Windows reserves for a device; give it another name.")
    if not name.strip() or not name.isprintable() or len(name.encode("utf-8")) > LONGEST_NAME:
        raise InputError(
            f"It is named {name[:LONGEST_NAME]!r}; a name has 1 to {LONGEST_NAME} bytes and no control characters."
        )


def _from_json(text: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} must hold a list of edits, each with handles and targets.")
    return entries


def _from_csv(text: str, path: Path) -> list[Mapping[str, Any]]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head, _, body = text.lstrip("\n").partition("\n")
    if head.lower().startswith("sep="):  # written by Excel
        head, _, body = body.partition("\n")
    divider = max(",;\t", key=head.count)
    columns = [column.strip().lower() for column in next(csv.reader([head], delimiter=divider), [])]
    if missing := [name for name in POINTS if name not in columns]:
        raise InputError(f"{path} has no column {missing[0]}; it needs {', '.join(POINTS)}.")
    if unknown := [name for name in columns if name and name not in COLUMNS]:
        raise InputError(f"{path} has an unknown column {unknown[0]!r}; the columns are {', '.join(COLUMNS)}.")
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise InputError(f"{path} has two columns {twice[0]!r}: leave one of them out.")
    entries: dict[str, dict[str, Any]] = {}
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(body), delimiter=divider), 1):
            if any(field.strip() for field in fields[len(columns) :]):
                raise InputError(
                    f"Line {number + 1} of {path} has more values than there are columns; with decimal commas, "
                    "separate values by semicolons."
                )
            if any(field.strip() for field in fields):
                row = dict(zip(columns, map(str.strip, fields), strict=False))
                _add(entries, row, number, path, "," if divider != "," else ".")
    except csv.Error as error:
        raise InputError(f"{path} is not valid CSV ({error}).") from None
    return list(entries.values())


def _add(entries: dict[str, dict[str, Any]], row: Mapping[str, str], number: int, path: Path, point: str) -> None:
    """Add a line's pair of points to the edit of its name. point: the decimal sign besides "."."""
    name = row.get("name") or f"edit-{number:04d}"
    try:
        hx, hy, tx, ty = (float(row[column].replace(point, ".")) for column in POINTS)
        seed = int(row.get("seed") or 0)
    except (KeyError, ValueError):
        raise InputError(f"Line {number + 1} of {path} has a value that is not a number.") from None
    source = {"seed": seed, "latent": row.get("latent") or None}
    entry = entries.setdefault(name, {"name": name, **source, "handles": [], "targets": []})
    for key, value in source.items():
        if entry[key] != value:
            raise InputError(
                f"Line {number + 1} of {path} gives {name!r} another {key} than the lines before it, but lines of one "
                "name are one edit: rename it."
            )
    entry["handles"].append([hx, hy])
    entry["targets"].append([tx, ty])
