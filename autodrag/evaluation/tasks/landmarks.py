"""Face-landmark manipulation (section 4.3.1): drag the landmarks of one face to those of another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.evaluation.metrics import mean_difference, mean_distance
from autodrag.evaluation.tasks.base import Item, Latents, Prediction, Score, Task
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels
from autodrag.vision.detectors import LandmarkDetector

#: Number of points -> indices of the landmarks. `dlib5-nose`: corners of the eyes and base of the nose, as in dlib's
#: five-point model; the paper does not say which ones it uses.
PRESETS: dict[str, dict[int, list[int]]] = {"dlib5-nose": {1: [33], 5: [36, 39, 42, 45, 33], 68: list(range(68))}}

Identity = Callable[[Float[Tensor, "N 3 H W"]], Float[Tensor, "N D"]]


@dataclass(frozen=True)
class LandmarksConfig:
    """`configs/task/landmarks.yaml` and `short.yaml`."""

    name: Literal["landmarks", "short"]
    count: int  # pairs of faces
    psi: float | None  # truncation of both images; None: the dataset's
    preset: str  # one of `PRESETS`
    points: tuple[int, ...]  # numbers of points, one setting each
    way: float  # targets are this share of the way to the second face's landmarks; below 1 no face is the goal
    max_steps: int  # limit for the optimisers


class Landmarks(Task):
    """Two random faces; MD between the landmarks found on the edited face and those of the second."""

    columns: ClassVar = {"md": "MD", "outside": "outside", "identity": "identity"}
    frechet = True

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        config: LandmarksConfig,
        psi: float,
        detector: LandmarkDetector,
        identity: Identity | None = None,
    ) -> None:
        """psi: the dataset's. identity: reads what a drag must keep from images; None: no such column."""
        super().__init__(generator, seed)
        if config.preset not in PRESETS:
            raise InputError(f"There is no preset {config.preset!r}; choose {' or '.join(PRESETS)}.")
        chosen = PRESETS[config.preset]
        if not config.points or not set(config.points) <= set(chosen):
            raise InputError(f"points={list(config.points)} are not all in the preset; choose from {list(chosen)}.")
        self._settings = {str(number): chosen[number] for number in config.points}
        if not 0 <= config.way <= 1:
            raise InputError(f"way={config.way:g} is out of range; give a number from 0 to 1.")
        self._psi = psi if config.psi is None else config.psi
        self._way = config.way
        self._detector, self._identity = detector, identity

    @property
    def settings(self) -> dict[str, list[int]]:
        return self._settings

    @property
    def tools(self) -> dict[str, str]:
        return {"detector": self._detector.fingerprint}

    def try_item(self, index: int, attempt: int) -> Item | None:
        found = self._find(self.images(self._faces([Item(index, attempt, (), ())])[0]))
        if any(points is None for points in found):
            return None
        handles, targets = (points for points in found if points is not None)
        height, width = self.generator.resolution
        if bool(((handles < 0) | (handles > handles.new_tensor([width - 1, height - 1]))).any()):
            return None  # a handle outside the image cannot be dragged
        return Item(index, attempt, _tuples(handles), _tuples(torch.lerp(handles, targets, self._way)))

    def latents(self, items: Sequence[Item]) -> Latents:
        both = self._faces(items)
        return Latents(both[:, 0], both[:, 1] if self._way == 1 else None)

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        images, sources = self.images(prediction.ws), self.images(self.latents(items).source)
        found = self._find(images)
        outside = self.outside(setting, items, images, sources)
        identity: list[float | None] = [None] * len(items)
        if self._identity is not None:
            identity = mean_difference(self._identity(images), self._identity(sources)).tolist()
        scores = []
        for index, item in enumerate(items):
            handles, targets = item.pair(self.settings[setting])
            points = found[index]
            reached = None if points is None else points[self.settings[setting]]
            scores.append(
                {
                    "md": None if reached is None else mean_distance(reached[None], targets[None]).item(),
                    "md_before": mean_distance(handles[None], targets[None]).item(),
                    "failed": reached is None,
                    "outside": outside[index],
                    "identity": identity[index],
                }
            )
        return scores

    def _faces(self, items: Sequence[Item]) -> Float[Tensor, "N 2 L D"]:
        """The latents of both faces."""
        z = torch.stack([self.draws("landmarks", i.index, i.attempt, 2, self.generator.z_dim) for i in items])
        return self.generator.map(z.flatten(0, 1), psi=self._psi).unflatten(0, (len(items), 2))

    def _find(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor | None]:
        return list(self._detector(to_pixels(images)))


def _tuples(points: Float[Tensor, "P 2"]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in points.tolist())
