"""There and back (FreeDrag's CCSD): drag the handles to the targets, then the targets to the handles, and compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from autodrag.evaluation.drag_batch import edit
from autodrag.evaluation.metrics import squared_error
from autodrag.evaluation.tasks.base import Item, Prediction, Score
from autodrag.evaluation.tasks.motion import HEIGHT, MotionTask
from autodrag.generator import FrozenGenerator
from autodrag.images import to_size
from autodrag.methods import DragMethod
from autodrag.vision.flow import Flow
from autodrag.vision.networks import Lpips


@dataclass(frozen=True)
class RoundtripConfig:
    """`configs/task/roundtrip.yaml`."""

    name: Literal["roundtrip"]
    count: int  # edits
    psi: float | None  # truncation; None: the dataset's
    lam: float  # see `MotionTask`
    points: int  # pairs of an edit
    motion_px: float  # see `MotionTask`
    flow: Literal["auto", "raft", "dis"]
    max_steps: int  # limit for the optimisers


class Roundtrip(MotionTask):
    """The difference between the first image and the one after both drags, in [-1, 1] at 256 px."""

    columns: ClassVar = {"lpips": "LPIPS x 10", "mse": "MSE x 100", "there": "MSE x 100 of the first drag"}

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        config: RoundtripConfig,
        psi: float,
        content: tuple[float, float, float, float] | None,
        lpips: Lpips | None,
    ) -> None:
        """psi: the dataset's."""
        psi = psi if config.psi is None else config.psi
        flow = Flow(config.flow, generator.device)
        super().__init__(generator, seed, psi, config.lam, config.points, config.motion_px, flow, content)
        self._lpips = lpips

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """Both drags. `there` is the change by the first one: a method that changes nothing would win otherwise."""
        pairs = [item.pair(self.settings[setting]) for item in items]
        handles, targets = [h for h, _ in pairs], [t for _, t in pairs]
        there = edit(method, self.latents(items).source, handles, targets)
        back = edit(method, there.ws, targets, handles)
        moved, source = (to_size(self.images(ws), HEIGHT) for ws in (there.ws, self.latents(items).source))
        changed = 100 * squared_error(moved, source)
        steps = zip((there.steps + back.steps).tolist(), changed.tolist(), strict=True)
        return Prediction(back.ws, [{"steps": step, "there": change} for step, change in steps])

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        start, end = (to_size(self.images(ws), HEIGHT) for ws in (self.latents(items).source, prediction.ws))
        mse = (100 * squared_error(end, start)).tolist()
        lpips: list[float | None] = [None] * len(items)
        if self._lpips is not None:
            lpips = (10 * self._lpips(end, start)).tolist()
        return [{"lpips": p, "mse": m} for p, m in zip(lpips, mse, strict=True)]
