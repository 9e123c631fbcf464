"""The manifest of a task: its items, drawn once and shared by all methods."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from autodrag.errors import InputError
from autodrag.evaluation.tasks import Item, Task
from autodrag.files import make_folder, write_whole

FORMAT = 1


@dataclass(frozen=True)
class Header:
    """What the items depend on."""

    dataset: str
    generator: str  # fingerprint of its weights
    seed: int
    task: Mapping[str, Any]  # its config
    tools: Mapping[str, str]  # see `Task.tools`


@dataclass(frozen=True)
class Manifest:
    """Items in the order of their indices."""

    header: Header
    items: Sequence[Item]

    @property
    def fingerprint(self) -> str:
        """sha256 of its content, stored with the predictions."""
        return hashlib.sha256(_text(self).encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Raises InputError where the file is missing or not a manifest."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise KeyError("format")
        items = [
            Item(i["index"], i["attempt"], *(tuple((x, y) for x, y in i[part]) for part in ("handles", "targets")))
            for i in raw["items"]
        ]
        return Manifest(Header(**raw["header"]), items)
    except FileNotFoundError:
        raise InputError(f"There is no manifest at {path}; an evaluation makes it.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a manifest, or it is damaged; delete it, and it will be made again.") from None


def check_manifest(manifest: Manifest, wanted: Header, path: Path) -> None:
    """Raises InputError where the manifest was drawn for something else."""
    have, want = asdict(manifest.header), json.loads(json.dumps(asdict(wanted)))
    for key, value in want.items():
        if have[key] != value:
            shown = "" if key == "generator" else f" ({_difference(have[key], value)})"
            raise InputError(f"The manifest {path} is for another {key}{shown}; choose another manifest= or delete it.")


def _difference(have: Any, want: Any) -> str:
    """What differs; of mappings, the keys that do."""
    if isinstance(have, dict) and isinstance(want, dict):
        keys = [key for key in have | want if have.get(key) != want.get(key)]
        return ", ".join(f"{key} {_short(have.get(key))}, not {_short(want.get(key))}" for key in keys)
    return f"{_short(have)}, not {_short(want)}"


def make_manifest(path: Path, header: Header, task: Task, count: int, say: Callable[[str], None]) -> Manifest:
    """Draw the items and write them; to be called by one process."""
    make_folder(path.parent, "manifest")
    say(f"drawing {count} items of {path}")
    items = [task.item(index) for index in tqdm(range(count), unit="item", leave=False)]
    manifest = Manifest(header, items)
    write_whole(path, _text(manifest).encode())
    redrawn = sum(item.attempt for item in items)
    say(f"{path} holds {count} items; {redrawn} draws were rejected")
    return read_manifest(path)


def _text(manifest: Manifest) -> str:
    """JSON with one line for each item."""
    header = json.dumps(asdict(manifest.header))
    items = ",\n".join(json.dumps(asdict(item)) for item in manifest.items)
    return f'{{"format": {FORMAT}, "header": {header}, "items": [\n{items}\n]}}\n'


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
