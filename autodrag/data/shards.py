"""Samples on disk: safetensors shards, and a manifest with the recipe.

```
folder/
  manifest.json            recipe, totals, and each shard's samples and sha256
  shard-00000.safetensors  samples 0 .. size-1: their redraws, and the concatenated matches of all pairs
  lock                     while a run uses the folder
```
Workers make the samples; the main process writes them in order. A killed run loses at most one unfinished shard; the
next run makes shards that are missing or do not match their hash.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from autodrag.data.matching import Matches
from autodrag.data.outlines import NO_OUTLINES, Outlines
from autodrag.data.trajectories import NO_MATCHES, MatchedMotion, Recipe
from autodrag.errors import InputError
from autodrag.files import write_whole
from autodrag.typed import build

FORMAT = 2
STREAK = 8  # consecutive samples without a match of (I_0, I_n) after which a recipe is rejected


@dataclass(frozen=True)
class ShardEntry:
    """A shard in the manifest."""

    file: str  # file name
    start: int  # index of its first sample
    samples: int  # stored samples
    redraws: int  # draws that had no match of (I_0, I_n)
    empty_steps: int  # pairs (I_i, I_i+1) without a match
    matches: int  # of (I_0, I_n), over all samples
    sha256: str  # of the file
    skipped: int = 0  # samples not stored because none of their draws had a match of (I_0, I_n)


@dataclass(frozen=True)
class Totals:
    """Counts over all shards, as in `ShardEntry`."""

    samples: int
    skipped: int
    skipped_share: float  # fraction of all samples, including the skipped ones
    redraws: int
    empty_steps: int
    empty_step_share: float  # fraction of all steps
    matches_a_sample: float


@dataclass
class ShardIndex:
    """The manifest of a folder: the recipe of its samples and its finished shards."""

    recipe: Recipe
    shard_size: int
    shards: dict[int, ShardEntry] = field(default_factory=dict)  # by number

    @property
    def samples(self) -> int:
        return sum(s.samples for s in self.shards.values())

    def totals(self) -> Totals:
        """Sums over the shards."""
        shards = self.shards.values()
        samples, empty = self.samples, sum(s.empty_steps for s in shards)
        skipped = sum(s.skipped for s in shards)
        return Totals(
            samples=samples,
            skipped=skipped,
            skipped_share=skipped / max(samples + skipped, 1),
            redraws=sum(s.redraws for s in shards),
            empty_steps=empty,
            empty_step_share=empty / max(samples * self.recipe.trajectory.steps, 1),
            matches_a_sample=sum(s.matches for s in shards) / max(samples, 1),
        )

    def write(self, folder: Path) -> None:
        shards = [asdict(self.shards[number]) for number in sorted(self.shards)]
        content = {"format": FORMAT, "totals": asdict(self.totals()), "recipe": asdict(self.recipe)}
        content |= {"shard_size": self.shard_size, "shards": shards}
        write_whole(folder / "manifest.json", json.dumps(content, indent=1).encode(), sync=True)


def read_index(folder: Path) -> ShardIndex:
    """Read the manifest. Raises InputError if it is missing, damaged or of another format."""
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no trajectories: make them with python scripts/trajectories.py out={folder}."
        ) from None
    except ValueError:
        raise InputError(f"{path} is damaged: delete it and run scripts/trajectories.py again.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} does not have format {FORMAT}: make new trajectories in another folder.")
    entries = [build(ShardEntry, entry) for entry in content["shards"]]
    size = int(content["shard_size"])
    return ShardIndex(build(Recipe, content["recipe"]), size, {entry.start // size: entry for entry in entries})


def fill(
    folder: Path,
    recipe: Recipe,
    count: int,
    shard_size: int,
    make: Callable[[list[int]], Iterator[MatchedMotion]],
    say: Callable[[str], None],
) -> ShardIndex:
    """Complete `folder` to `count` samples of `recipe`: make shards that are missing, short or damaged.

    make: yields the samples of ascending indices, in order; those without a match of (I_0, I_n) are counted as skipped.
    say: logs a line. Raises InputError if the folder holds samples of another recipe, or if STREAK samples in a row, or
    all of them, have no match.
    """
    manifest = _open(folder, recipe, shard_size)
    wanted = {number: min(shard_size, count - number * shard_size) for number in range(-(-count // shard_size))}
    missing = [number for number, samples in wanted.items() if not _whole(folder, manifest, number, samples, say)]
    if len(missing) < len(wanted):
        say(f"{len(wanted) - len(missing)} of {len(wanted)} shards exist already.")
    made: list[MatchedMotion] = []
    streak = 0
    indices = [number * shard_size + i for number in missing for i in range(wanted[number])]
    for sample in make(indices) if indices else ():
        made.append(sample)
        streak = 0 if len(sample.ends.handles) else streak + 1
        number = sample.index // shard_size
        if streak == STREAK:
            raise InputError(_nothing_found(recipe, streak))
        if len(made) == wanted[number]:
            manifest.shards[number] = _write_shard(folder, number, made)
            manifest.write(folder)
            made = []
    if manifest.samples == 0:
        raise InputError(_nothing_found(recipe, manifest.totals().skipped))
    return manifest


def _nothing_found(recipe: Recipe, samples: int) -> str:
    cfg = recipe.trajectory
    return (
        f"{samples} sample(s) in a row had no match farther than {cfg.handle_px:g} px (at 512) in {cfg.attempts} draws "
        "each: lower trajectory.handle_px, or raise trajectory.lam as calibrate=true suggests."
    )


def _open(folder: Path, recipe: Recipe, shard_size: int) -> ShardIndex:
    if not (folder / "manifest.json").exists():
        return ShardIndex(recipe, shard_size)
    manifest = read_index(folder)
    there = asdict(manifest.recipe) | {"shard_size": manifest.shard_size}
    asked = asdict(recipe) | {"shard_size": shard_size}
    if differing := list(_differences(there, asked, "")):
        raise InputError(
            f"{folder} holds samples made with {'; '.join(differing)}: choose another folder, or delete this one."
        )
    return manifest


def _differences(there: dict[str, Any], asked: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in there.items():
        if isinstance(value, dict):
            yield from _differences(value, asked[key], f"{prefix}{key}.")
        elif value != asked[key]:
            yield f"{prefix}{key}={value} (now {asked[key]})"


def _whole(folder: Path, manifest: ShardIndex, number: int, samples: int, say: Callable[[str], None]) -> bool:
    """Whether a shard is intact and has at least `samples` samples."""
    entry = manifest.shards.get(number)
    if entry is None or entry.samples + entry.skipped < samples:
        return False
    if damage := damaged(folder, entry):
        say(f"{damage}; making it again.")
        return False
    return True


def damaged(folder: Path, entry: ShardEntry) -> str | None:
    """A message if a shard's file is missing or damaged, otherwise None."""
    path = folder / entry.file
    if not path.exists():
        return f"{path} is missing"
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
        return f"{path} is damaged (its hash differs from the manifest)"
    return None


def _write_shard(folder: Path, number: int, made: list[MatchedMotion]) -> ShardEntry:
    samples = [sample for sample in made if len(sample.ends.handles)]
    path = folder / f"shard-{number:05d}.safetensors"
    content = save(pack(samples))
    write_whole(path, content, sync=True)
    return ShardEntry(
        file=path.name,
        start=made[0].index,
        samples=len(samples),
        redraws=sum(s.attempt for s in made),
        empty_steps=sum(len(step.handles) == 0 for s in samples for step in s.steps),
        matches=sum(len(s.ends.handles) for s in samples),
        sha256=hashlib.sha256(content).hexdigest(),
        skipped=len(made) - len(samples),
    )


def pack(samples: list[MatchedMotion]) -> dict[str, np.ndarray]:
    """Tensors of a shard. Pairs per sample: (I_0, I_n), landmarks, steps; matches of pair p end before `ends[p]`.

    Outlines of sample s end before `outline_ends[s]`.
    """
    pairs = [NO_MATCHES, *(pair for s in samples for pair in (s.ends, s.landmarks, *s.steps))]
    outlines = [NO_OUTLINES, *(s.outlines for s in samples)]
    return {
        "outline_ends": np.cumsum([len(o.handles) for o in outlines[1:]], dtype=np.int64),
        "outline_handles": np.concatenate([o.handles for o in outlines]),
        "outline_targets": np.concatenate([o.targets for o in outlines]),
        "outline_normals": np.concatenate([o.normals for o in outlines]),
        "index": np.array([s.index for s in samples], dtype=np.int64),
        "attempt": np.array([s.attempt for s in samples], dtype=np.int64),
        "ends": np.cumsum([len(p.handles) for p in pairs[1:]], dtype=np.int64),
        "handles": np.concatenate([p.handles for p in pairs]),
        "targets": np.concatenate([p.targets for p in pairs]),
    }


def unpack(tensors: dict[str, np.ndarray]) -> list[MatchedMotion]:
    """The samples of a shard: the inverse of `pack`."""
    if len(tensors["index"]) == 0:
        return []
    cuts = tensors["ends"][:-1]
    split = zip(np.split(tensors["handles"], cuts), np.split(tensors["targets"], cuts), strict=True)
    pairs = [Matches(handles, targets) for handles, targets in split]
    size = len(pairs) // len(tensors["index"])
    groups = (pairs[i : i + size] for i in range(0, len(pairs), size))
    heads = zip(tensors["index"].tolist(), tensors["attempt"].tolist(), groups, _outlines(tensors), strict=True)
    return [
        MatchedMotion(index, attempt, group[0], group[1], tuple(group[2:]), outlines)
        for index, attempt, group, outlines in heads
    ]


def _outlines(tensors: dict[str, np.ndarray]) -> list[Outlines]:
    """The outlines of each sample; none in shards that were made before there were any."""
    if "outline_ends" not in tensors:
        return [NO_OUTLINES] * len(tensors["index"])
    cuts = tensors["outline_ends"][:-1]
    parts = [np.split(tensors[f"outline_{part}"], cuts) for part in ("handles", "targets", "normals")]
    return [Outlines(*each) for each in zip(*parts, strict=True)]


def read_shard(folder: Path, entry: ShardEntry) -> list[MatchedMotion]:
    """Read a shard. Raises InputError if it is missing or damaged."""
    try:
        if damage := damaged(folder, entry):
            raise InputError(f"{damage}: run scripts/trajectories.py again, which makes only that shard.")
        return unpack(load_file(folder / entry.file))
    except (SafetensorError, KeyError):
        raise InputError(f"{folder / entry.file} holds no trajectories of format {FORMAT}.") from None
