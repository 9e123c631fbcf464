"""The folder of an evaluation: config, predictions and scores.

```
folder/
  config.yaml       the resolved config
  env.json          versions, machine, commit and command of the last call that made predictions
  predictions/      latents of the edits, one file for each chunk of items: the cache for scoring
  scores/           values of the items and features of their images, one file for each chunk
  per_item.jsonl    all values, one line for each item and setting
  timing.json       seconds of single edits
  made_with.json    hashes of manifest, weights and manifold; MDD: the device
  summary.json      means, intervals, counts: the input of the tables
```
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autodrag.errors import InputError
from autodrag.evaluation.tasks import Item, Prediction
from autodrag.files import read_tensors, write_tensors, write_whole
from autodrag.latents import join, split


@dataclass(frozen=True)
class Chunk:
    """Consecutive items of a setting that are edited together."""

    setting: str
    items: Sequence[Item]

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.setting}-{self.items[0].index:06d}-{self.items[-1].index:06d}"


def chunks(settings: Sequence[str], items: Sequence[Item], size: int) -> Iterator[Chunk]:
    """All items of all settings, in a fixed order."""
    for setting in settings:
        for start in range(0, len(items), size):
            yield Chunk(setting, items[start : start + size])


class EvaluationFolder:
    """Files are complete or absent, so an interrupted evaluation resumes with what is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has_prediction(self, chunk: Chunk) -> bool:
        return self._prediction(chunk).is_file()

    def write_prediction(self, chunk: Chunk, prediction: Prediction) -> None:
        """Store the edited rows and the notes; the other rows are those of the source."""
        heads = split(prediction.ws)[0].cpu().float().contiguous()
        write_tensors(self._made(self._prediction(chunk)), {"heads": heads}, {"notes": json.dumps(prediction.notes)})

    def read_prediction(self, chunk: Chunk, source: Tensor) -> Prediction:
        """With the kept rows of `source` [B, L, D]. Raises InputError where the file is damaged."""
        tensors, metadata = read_tensors(self._prediction(chunk))
        if len(tensors["heads"]) != len(chunk.items):
            raise InputError(f"{self._prediction(chunk)} holds other items; delete {self.path} or choose another out=.")
        ws = join(tensors["heads"].to(source), split(source)[1])
        return Prediction(ws, json.loads(metadata["notes"]))

    def has_scores(self, chunk: Chunk, networks: Mapping[str, str]) -> bool:
        """Whether there are scores made with exactly these networks (name -> hash)."""
        path = self._scores(chunk)
        return path.is_file() and json.loads(read_tensors(path)[1].get("instruments", "null")) == dict(networks)

    def write_scores(
        self,
        chunk: Chunk,
        rows: Sequence[Mapping[str, Any]],
        features: Mapping[str, Tensor],
        networks: Mapping[str, str],
    ) -> None:
        """features: of the chunk's images, by the name of the Frechet distance and of the images."""
        empty = {"none": torch.zeros(1)}
        made = {"rows": json.dumps(list(rows)), "instruments": json.dumps(dict(networks))}
        write_tensors(self._made(self._scores(chunk)), features or empty, made)

    def read_scores(self, chunk: Chunk) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        """What `write_scores` wrote."""
        tensors, metadata = read_tensors(self._scores(chunk))
        return json.loads(metadata["rows"]), {name: value for name, value in tensors.items() if name != "none"}

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        write_whole(self.path / name, text.encode())

    def read_json(self, name: str) -> Any:
        """The content of a file; None where there is none."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _prediction(self, chunk: Chunk) -> Path:
        return self.path / "predictions" / f"{chunk.name}.safetensors"

    def _scores(self, chunk: Chunk) -> Path:
        return self.path / "scores" / f"{chunk.name}.safetensors"

    def _made(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
