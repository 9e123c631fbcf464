"""Stage `encoder`: from a picture to its latents, learnt from the generator's own pictures.

The loss is mostly told from latents alone: what the picture shows of their error (`Encoder.change`). For a share of the
batches some pictures are made again and compared, in pixels and in the generator's features, and by LPIPS where its
weights are on this machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import from_uint8, to_uint8
from autodrag.latents import EDITED_ROWS
from autodrag.models.encoder import Encoder, EncoderConfig, shrunk
from autodrag.seeding import rng
from autodrag.training.photo_augmentation import PhotographedConfig, photographed
from autodrag.training.picture_cache import PicturesConfig
from autodrag.training.stages.base import Budget, Report, Schedule, Stage
from autodrag.vision.image_loss import load_distance

SHOWN = 6  # pictures of a report


@dataclass(frozen=True)
class EncoderTraining:
    """network: its size. pictures: what is learnt from, kept in `folder`. photographed: on the way.

    moves: latents at which what a picture shows is measured. near: weight of all errors of latents, in whitened
    coordinates, beside those that the picture shows. offsets: weight of what rows are given of their own, e4e's
    regularization.
    made: share of the batches of which `remade` pictures are made again; made_weight: of their unlikeness. validation:
    pictures that reports are made on. half: store the weights in float16.
    """

    network: EncoderConfig
    pictures: PicturesConfig
    folder: str
    photographed: PhotographedConfig
    moves: int
    budget: Budget
    schedule: Schedule
    near: float
    offsets: float
    made: float
    remade: int
    made_weight: float
    feature_block: int
    validation: int
    half: bool


@dataclass(frozen=True)
class EncoderBatch:
    """pictures: as a photograph would show them, in [-1, 1]. ws: their latents.

    clean: what `made` pictures are compared with; none in most batches.
    """

    pictures: Float[Tensor, "B 3 h w"]
    ws: Float[Tensor, "B L D"]
    clean: Float[Tensor, "M 3 h w"]


class EncoderStage(Stage):
    """pictures, ws: see `load_pictures`. Raises InputError where config.validation leaves no pictures to train on."""

    model: Encoder

    def __init__(
        self,
        encoder: Encoder,
        generator: FrozenGenerator,
        pictures: UInt8[Tensor, "N 3 h w"],
        ws: Float[Tensor, "N L D"],
        config: EncoderTraining,
        seed: int,
    ) -> None:
        super().__init__(encoder, config.schedule)
        if not 0 < config.validation < len(pictures):
            raise InputError(
                f"encoder.validation={config.validation} leaves nothing to train on or to validate on: there are "
                f"{len(pictures)} pictures."
            )
        self.config, self._generator, self._seed = config, generator, seed
        self._shown = pictures[: -config.validation], ws[: -config.validation]
        self._validation = pictures[-config.validation :], ws[-config.validation :]
        self._distance = load_distance(generator.device)

    def batch(self, positions: Sequence[int]) -> EncoderBatch:
        """Random pictures, photographed: a function of the seed and of the first position."""
        stream, device = rng(self._seed, "encoder", positions[0]), self.model.image_directions.device
        pictures, ws = self._shown
        chosen = torch.randint(len(pictures), (len(positions),), generator=stream)
        made = self.config.remade if float(torch.rand((), generator=stream)) < self.config.made else 0
        images = from_uint8(pictures[chosen])
        seen = photographed(images, self.config.photographed, stream)
        return EncoderBatch(seen.to(device), ws[chosen].to(device), images[:made].to(device))

    def forward(self, batch: EncoderBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Logged: `change`, the root mean square change of pixels that the error of the latents makes, `near`, and
        `unlike` where pictures were made."""
        config, coordinates = self.config, self.model.whitening.coordinates
        found = self.model(batch.pictures)
        change = self.model.change(found - batch.ws).mean()
        near = (coordinates(found) - coordinates(batch.ws)).square().mean()
        loss = change + config.near * near + config.offsets * spread_of(coordinates(found))
        logs = {"change": change.detach(), "near": near.detach()}
        if len(batch.clean):
            unlike = self._unlike(found[: len(batch.clean)], batch)
            loss, logs["unlike"] = loss + config.made_weight * unlike, unlike.detach()
        return loss, logs

    def report(self) -> Report:
        """`change`: of held-out pictures, as a share of the average latent's. `error`: mean absolute error of pictures
        made again, of 255, at the encoder's size. `encoded`: some of them, below the wanted ones."""
        device = self.model.image_directions.device
        pictures, ws = self._validation
        images, ws = from_uint8(pictures).to(device), ws.to(device)
        found = torch.cat([self.model(part) for part in images.split(64)])
        share = self.model.change(found - ws).mean() / self.model.change(self.model.whitening.mean - ws).mean()
        made = shrunk(self._generator.synthesize(found[:SHOWN]), self.config.network.size).float()
        error = (made - images[:SHOWN]).abs().mean() * 127.5
        sheet = torch.cat([torch.cat(list(row), dim=2) for row in (images[:SHOWN], made)], dim=1)
        shown = to_uint8(sheet).cpu()
        return Report({"change": share.item(), "error": error.item()}, {"encoded": shown})

    def save(self, path: Path) -> None:
        """The encoder as a file of its own."""
        self.model.save(path, {"generator": self._generator.name}, self.config.half)

    def _unlike(self, found: Float[Tensor, "M L D"], batch: EncoderBatch) -> Float[Tensor, ""]:
        """Pixels, and features as a share of their own size."""
        block = self.config.feature_block
        images, features = self._generator.synthesize(found, return_features=block)
        with torch.no_grad():
            wanted = self._generator.features(batch.ws[: len(found)], block=block).float()
        pixels = self._distance(shrunk(images.float(), self.config.network.size), batch.clean)
        return pixels + F.mse_loss(features.float(), wanted) / wanted.square().mean()


def spread_of(y: Float[Tensor, "B L Y"]) -> Float[Tensor, ""]:
    """Mean square distance of neighbouring rows' coordinates, but for the step from edited to kept rows."""
    steps = y.diff(dim=1)
    inside = torch.cat([steps[:, : EDITED_ROWS - 1], steps[:, EDITED_ROWS:]], dim=1)
    return inside.square().mean()
