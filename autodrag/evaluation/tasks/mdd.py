"""Mean Distance Decay (section 4.3.4, Eq. 15): the distance of the handles from their targets over time.

Where the handles are is measured in the same way for all methods, outside the timing: on synthface by fitting the
renderer (`evaluation.truth`), elsewhere by tracking the generator's features, as DragGAN does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface import parameters
from autodrag.domains.synthface.reader import Reader
from autodrag.evaluation.drag_batch import warm_up
from autodrag.evaluation.metrics import distance_decay
from autodrag.evaluation.tasks.base import Item, Prediction, Score
from autodrag.evaluation.tasks.motion import MotionTask
from autodrag.evaluation.truth import JUDGE, fit_source, measure, on_background
from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod
from autodrag.tracking import BLOCK, Tracker, search_radius
from autodrag.vision.flow import Flow

FITS = 12  # pictures of an edit that the renderer is fitted to, at most: each takes a second


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
    """One edit at a time, with its trace of seconds and MDD."""

    columns: ClassVar = {"mdd": "MDD"}
    alone = True
    _warm: DragMethod | None = None

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        config: MddConfig,
        psi: float,
        flow: Flow,
        content: tuple[float, float, float, float] | None,
        reader: Reader | None,
    ) -> None:
        """psi: truncation. content: as in `Paired`. reader: of synthface's parameters; None: handles are tracked."""
        super().__init__(generator, seed, psi, config.lam, config.points, config.motion_px, flow, content)
        self._reader = reader

    @property
    def tools(self) -> dict[str, str]:
        return super().tools | {"handles": "tracker" if self._reader is None else JUDGE}

    def try_item(self, index: int, attempt: int) -> Item | None:
        """Where the renderer judges, handles lie on the person: the background has no truth."""
        item = super().try_item(index, attempt)
        if item is None or self._reader is None:
            return item
        handles, _ = item.pair(self.settings[str(self._points)])
        geometry, _ = self._known([item])
        return None if on_background(geometry[0], handles, self.generator.resolution[0]).any() else item

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """Each edit alone, with its trace [[seconds, MDD], ...] from start to end.

        A method is warmed up before its first edit.
        """
        latents = self.latents(items).source
        if self._warm is not method:
            handles, targets = items[0].pair(self.settings[setting])
            warm_up(self.generator, method, latents[:1], [handles], [targets])
            self._warm = method
        ends, notes = [], []
        for ws, item in zip(latents.split(1), items, strict=True):
            handles, targets = (points.to(ws.device)[None] for points in item.pair(self.settings[setting]))
            steps = [(step.seconds, step.ws) for step in method.drag(ws, handles[0], targets[0])]
            count = len(steps)
            if self._reader is None:
                places = self._tracked(ws, [w for _, w in steps], handles, targets)
            else:
                steps = [steps[i] for i in _spread(count)]
                places = self._fitted(self._reader, item, ws, [w for _, w in steps], handles, targets)
            trace = [[0.0, 1.0]]
            for (seconds, _), found in zip(steps, places, strict=True):
                trace.append([seconds, distance_decay(found, handles, targets).item()])
            ends.append(steps[-1][1] if steps else ws)
            notes.append({"steps": count, "trace": trace})
        return Prediction(torch.cat(ends), notes)

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        """The last value of each trace."""
        last = []
        for note in prediction.notes:
            trace = note.get("trace")
            last.append(trace[-1][1] if isinstance(trace, list) else None)
        return [{"mdd": value} for value in last]

    @torch.no_grad()
    def _tracked(
        self, source: Float[Tensor, "1 L D"], steps: Sequence[Tensor], handles: Tensor, targets: Tensor
    ) -> list[Float[Tensor, "1 P 2"]]:
        """The handles after each step, by the generator's features."""
        tracker = Tracker(self.generator, self.generator.features(source, block=BLOCK).float(), handles)
        radius = search_radius(handles, targets, self.generator.resolution)
        places = [handles]
        for ws in steps:
            places.append(tracker.find(ws, places[-1], radius))
        return places[1:]

    def _fitted(
        self, reader: Reader, item: Item, source: Tensor, steps: Sequence[Tensor], handles: Tensor, targets: Tensor
    ) -> list[Float[Tensor, "1 P 2"]]:
        """The handles after each step, by the renderer (on the CPU); of the step before where a picture is broken."""
        before = self.images(source)
        start = fit_source(reader, before, torch.cat(self._known([item]), dim=1))
        places = [handles]
        for ws in steps:
            found = measure(reader, self.images(ws), before, start, list(handles.cpu()), list(targets.cpu()))
            places.append(places[-1] if found.broken[0] else found.points[0][None].to(handles))
        return places[1:]

    def _known(self, items: Sequence[Item]) -> tuple[Float[Tensor, "B G"], Float[Tensor, "B A"]]:
        """Geometry and appearance that the source images show. The renderer knows no truncation: psi is 1 there."""
        return parameters(self._z(items)[:, 0])


def _spread(count: int) -> list[int]:
    """Indices of at most `FITS` of so many steps, denser at the start, with the last."""
    shares = torch.linspace(0, 1, FITS).square()
    return sorted({round(share * (count - 1)) for share in shares.tolist()}) if count else []
