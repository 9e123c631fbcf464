"""Mean Distance Decay (section 4.3.4, Eq. 15): the distance of the handles from their targets over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.evaluation.drag_batch import edit
from autodrag.evaluation.metrics import distance_decay
from autodrag.evaluation.tasks.base import Item, Prediction, Score
from autodrag.evaluation.tasks.motion import MotionTask
from autodrag.methods import DragMethod
from autodrag.tracking import BLOCK, Tracker, search_radius


@dataclass(frozen=True)
class MddConfig:
    """`configs/task/mdd.yaml`."""

    name: Literal["mdd"]
    count: int  # edits
    psi: float | None  # truncation; None: the dataset's
    lam: float  # see `MotionTask`
    points: int  # pairs of an edit; the paper: 1
    motion_px: float  # see `MotionTask`
    flow: Literal["auto", "raft", "dis"]
    max_steps: int  # limit for the optimisers


class Mdd(MotionTask):
    """Handles are tracked the same way for all methods, outside the timing."""

    columns: ClassVar = {"mdd": "MDD"}
    alone = True
    _warm: DragMethod | None = None

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """Each edit alone, with its trace [[seconds, MDD], ...] from start to end.

        A method's first edit is made twice, as a warm-up.
        """
        latents = self.latents(items).source
        if self._warm is not method:
            handles, targets = items[0].pair(self.settings[setting])
            edit(method, latents[:1], [handles], [targets])
            self._warm = method
        ends, notes = [], []
        for ws, item in zip(latents.split(1), items, strict=True):
            handles, targets = (points.to(ws.device)[None] for points in item.pair(self.settings[setting]))
            tracker = Tracker(self.generator, self._details(ws), handles)
            radius = search_radius(handles, targets, self.generator.resolution)
            places, last, trace = handles, ws, [[0.0, 1.0]]
            for step in method.drag(ws, handles[0], targets[0]):
                places, last = self._found(tracker, step.ws, places, radius), step.ws
                trace.append([step.seconds, distance_decay(places, handles, targets).item()])
            ends.append(last)
            notes.append({"steps": len(trace) - 1, "trace": trace})
        return Prediction(torch.cat(ends), notes)

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        """The last value of each trace."""
        last = []
        for note in prediction.notes:
            trace = note.get("trace")
            last.append(trace[-1][1] if isinstance(trace, list) else None)
        return [{"mdd": value} for value in last]

    @torch.no_grad()
    def _details(self, ws: Float[Tensor, "1 L D"]) -> Float[Tensor, "1 C h w"]:
        return self.generator.features(ws, block=BLOCK).float()

    @torch.no_grad()
    def _found(
        self, tracker: Tracker, ws: Float[Tensor, "1 L D"], places: Tensor, radius: Tensor
    ) -> Float[Tensor, "1 P 2"]:
        return tracker.find(ws, places, radius)
