"""Where points of an image go when its latent moves: the drag's question the other way round, for training alone.

Ours, not the paper's. Many latents are as near to w_n as a prediction is, and differ in where they put the handles.
L_drag of Eq. 13 tells them apart by the generator's features, at ten times the cost of a step; this network does so
from latents alone, and says something far from the target too, where features say nothing: the distal teacher of Jordan
and Rumelhart (Cognitive Science 16, 1992).

A point is first given a code that says what it is (the tip of this nose), then places are found for the code in both
images. Without that detour, from both latents and the point at once, the network errs a third more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.geometry import to_unit
from autodrag.losses import landing_loss
from autodrag.models.statistics import Standardise
from autodrag.models.stored import read_model, write_model
from autodrag.models.tokens import fourier

BANDS = 4  # shortest wave: an eighth of the image side. Neighbouring points move alike
CODE = 16  # numbers that say what a point is
MOST = 16  # points of a sample whose landing is looked at, at most: more of them cost more than they tell
SCALE = 1 / 16  # places are told by a sixteenth of the image: displacements are small beside its side


@dataclass(frozen=True)
class PointMotionConfig:
    """width: of the layers that read the latents; points are read, and answers written, by a quarter of that."""

    width: int


class _Product(nn.Module):
    """An MLP of a latent and what is asked about it, which meet in a product: one latent, many questions."""

    def __init__(self, w_dim: int, asked: int, told: int, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        self.latent = nn.Sequential(nn.Linear(w_dim, width), nn.GELU(), nn.Linear(width, width))
        self.question = nn.Sequential(nn.Linear(asked, narrow), nn.GELU(), nn.Linear(narrow, width))
        self.think = nn.Sequential(nn.GELU(), nn.Linear(width, narrow), nn.GELU())
        self.answer = nn.Linear(narrow, told)

    def forward(self, w: Float[Tensor, "B D"], asked: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T"]:
        thought = self.think(self.latent(w)[:, None] * self.question(asked))
        with torch.autocast("cpu" if w.is_meta else w.device.type, enabled=False):  # places do not survive bfloat16
            answer: Tensor = self.answer(thought.float())
        return answer


class PointMotion(nn.Module):
    """Edited rows before and after, and points of the image before, in; how far each of them moves out."""

    def __init__(
        self,
        config: PointMotionConfig,
        w_dim: int,
        mean: Float[Tensor, " D"] | None = None,
        std: Float[Tensor, " D"] | None = None,
    ) -> None:
        """mean, std: of W per dimension; None: identity, to be loaded."""
        super().__init__()
        self.config = config
        self.standardise = Standardise(
            torch.zeros(w_dim) if mean is None else mean, torch.ones(w_dim) if std is None else std
        )
        self.identify = _Product(w_dim, 2 * (2 * BANDS + 1), CODE, config.width)
        self.locate = _Product(w_dim, CODE, 2, config.width)

    def forward(
        self,
        before: Float[Tensor, "B K D"],
        after: Float[Tensor, "B K D"],
        points: Float[Tensor, "B P 2"],
        image_hw: tuple[int, int],
    ) -> Float[Tensor, "B P 2"]:
        """points: pixels of the image of `before`. Displacements in units in which the image spans -1..1."""
        with torch.autocast("cpu" if before.is_meta else before.device.type, enabled=False):
            first, last = (self.standardise(rows.float().mean(dim=1)) for rows in (before, after))
            places = fourier(to_unit(points.float(), image_hw), BANDS)
        codes = self.identify(first, places)
        moves: Tensor = self.locate(last, codes) - self.locate(first, codes)
        return moves * SCALE

    def missed(
        self,
        before: Float[Tensor, "B K D"],
        after: Float[Tensor, "B K D"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"],
        image_hw: tuple[int, int],
    ) -> Float[Tensor, " B"]:
        """`landing_loss` of the first points: how far from the targets a move to `after` puts them."""
        handles, targets, mask = handles[:, :MOST], targets[:, :MOST], mask[:, :MOST]
        return landing_loss(self(before, after, handles, image_hw), handles, targets, mask, image_hw)

    def save(self, path: Path | str, about: Mapping[str, str] | None = None) -> None:
        """One safetensors file, for the stages `aim` and 2. Raises InputError where it cannot be written."""
        config = {"motion": asdict(self.config), "w_dim": len(self.standardise.mean)}
        write_model(path, "motion", self, config, about)

    @classmethod
    def load(cls, path: Path | str) -> "PointMotion":
        """What `save` wrote. Raises InputError where the file is missing or something else."""
        stored = read_model(path, "motion")
        motion = cls(PointMotionConfig(**stored.config["motion"]), stored.config["w_dim"])
        motion.load_state_dict(stored.tensors)
        return motion
