"""Fraction of pulls that break the face, on inverted and on generated images."""

from collections.abc import Sequence
from statistics import mean

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface.parameters import parameters
from autodrag.domains.synthface.reader import Reader, reader_path
from autodrag.domains.synthface.renderer import render
from autodrag.editor.inversion import Inversion, InvertConfig
from autodrag.evaluation.tasks.base import Item, Latents
from autodrag.evaluation.tasks.pulls import Pulls, PullsConfig
from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod
from autodrag.models import Encoder

PULLS = ("free-10", "free-20", "free-30", "free-40", "local")  # settings of `tasks.pull_items`


class InvertedPulls(Pulls):
    """The task `pulls` on inversions of renders of its faces."""

    def __init__(
        self, generator: FrozenGenerator, config: PullsConfig, reader: Reader, encoder: Encoder, invert: InvertConfig
    ) -> None:
        super().__init__(generator, 0, config, reader)
        self._encoder, self._invert = encoder, invert
        self._inverted: dict[int, Float[Tensor, "1 L D"]] = {}

    def latents(self, items: Sequence[Item]) -> Latents:
        """Latents by inversion, cached per face."""
        for item in items:
            if item.index not in self._inverted:
                geometry, appearance = parameters(self._z([item])[:, 0])
                work = Inversion(self.generator, render(geometry, appearance).image, self._invert, self._encoder)
                for _ in work.run():
                    pass
                self._inverted[item.index] = work.ws
        return Latents(torch.cat([self._inverted[item.index] for item in items]), None)


def broken_pulls(
    generator: FrozenGenerator, encoder: Encoder, method: DragMethod, invert: InvertConfig, faces: int
) -> dict[str, dict[str, float]]:
    """For "generated" and "inverted" faces, by setting: the fraction of pulls after which the renderer fits no face."""
    reader = Reader.load(reader_path(generator.name), generator.device)
    config = PullsConfig("pulls", faces, 1)
    tasks = {
        "generated": Pulls(generator, 0, config, reader),
        "inverted": InvertedPulls(generator, config, reader, encoder, invert),
    }
    return {
        source: {setting: mean(_broken(task, setting, method, index) for index in range(faces)) for setting in PULLS}
        for source, task in tasks.items()
    }


def _broken(task: Pulls, setting: str, method: DragMethod, index: int) -> float:
    items = [task.item(index)]
    broken = task.score(setting, items, task.predict(method, setting, items))[0]["broken"]
    assert broken is not None  # every edit is evaluated
    return broken
