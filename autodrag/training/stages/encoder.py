"""Stage `encoder`: learn to predict latents of images from the generator's own images.

Most of the loss needs no synthesis: it estimates how the error of the latents changes the image (`Encoder.change`). A
share of the batches also has an image loss: some images are synthesised from the predicted latents and compared in
pixels, generator features and, if its weights are installed, by LPIPS.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
from autodrag.training.photo_augmentation import CHANCES, PhotoAugmentation, photographed
from autodrag.training.picture_cache import PicturesConfig
from autodrag.training.stages.base import Budget, Report, Schedule, Stage
from autodrag.typed import check_bounds
from autodrag.vision.image_loss import load_distance

SHOWN = 6  # images in a report


@dataclass(frozen=True)
class EncoderTraining:
    """`encoder` in `configs/train.yaml`. Ours."""

    network: EncoderConfig  # size of the network
    pictures: PicturesConfig  # training images, generated once before the training
    folder: str  # cache of these images
    augmentation: PhotoAugmentation  # makes them resemble photographs
    jacobian_latents: int  # number of latents at which the image's Jacobian is measured
    budget: Budget
    schedule: Schedule
    latent_weight: float  # weight of the MSE of the latents in whitened coordinates
    delta_weight: float  # weight of the distance between neighbouring rows (e4e's delta regularisation)
    image_loss_share: float  # share of the batches with an image loss
    image_loss_pictures: int  # images per such batch, and of each rank, that are synthesised and compared
    image_loss_weight: float
    image_loss_block: int  # generator block, counted from 1, whose features are compared
    validation: int  # images held out for validation
    half: bool  # store the weights in float16

    def __post_init__(self) -> None:
        check_bounds("encoder", self, jacobian_latents=(1, math.inf))


@dataclass(frozen=True)
class EncoderBatch:
    """Images with their latents."""

    pictures: Float[Tensor, "B 3 h w"]  # augmented, in [-1, 1]
    ws: Float[Tensor, "B L D"]
    clean: Float[Tensor, "M 3 h w"]  # without augmentation, for the image loss; M is 0 in most batches


class EncoderStage(Stage):
    """pictures, ws: see `load_pictures`. Raises InputError if config.validation leaves no images for training."""

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
        super().__init__(encoder, config.schedule, {"generator": generator.name}, config.half)
        if not 0 < config.validation < len(pictures):
            raise InputError(
                f"encoder.validation={config.validation} leaves no pictures for training or none for validation: there "
                f"are {len(pictures)}."
            )
        self.config, self._generator, self._seed = config, generator, seed
        self._shown = pictures[: -config.validation], ws[: -config.validation]
        self._validation = pictures[-config.validation :], ws[-config.validation :]
        self._distance = load_distance(generator.device)

    def batch(self, positions: Sequence[int]) -> EncoderBatch:
        """Random augmented images, at positions of one step. All ranks agree on whether it has an image loss."""
        budget, device = self.config.budget, self.model.image_directions.device
        start = budget.start(positions[0])
        own = torch.tensor([position - start for position in positions])
        stream = rng(self._seed, "encoder", start)
        pictures, ws = self._shown
        chosen = torch.randint(len(pictures), (budget.batch,), generator=stream)[own]
        compared = float(torch.rand((), generator=stream)) < self.config.image_loss_share
        images = from_uint8(pictures[chosen])
        chance = torch.rand(budget.batch, CHANCES, generator=stream)[own]
        seen = photographed(images, self.config.augmentation, chance)
        clean = images[: self.config.image_loss_pictures if compared else 0]
        return EncoderBatch(seen.to(device), ws[chosen].to(device), clean.to(device))

    def forward(self, batch: EncoderBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Logs: `change`, the estimated root mean square change of pixels caused by the error of the latents;
        `latents`, the MSE of the latents; `image`, the image loss of batches that have one.
        """
        config, coordinates = self.config, self.model.whitening.coordinates
        found = self.model(batch.pictures)
        change = self.model.change(found - batch.ws).mean()
        latents = (coordinates(found) - coordinates(batch.ws)).square().mean()
        loss = change + config.latent_weight * latents + config.delta_weight * spread_of(coordinates(found))
        logs = {"change": change.detach(), "latents": latents.detach()}
        if len(batch.clean):
            image = self._image_loss(found[: len(batch.clean)], batch)
            loss, logs["image"] = loss + config.image_loss_weight * image, image.detach()
        return loss, logs

    def report(self) -> Report:
        """`change`: of validation images, relative to that of the average latent. `error`: mean absolute pixel error
        of reconstructions (0-255), at the size of the training images. `encoded`: some of them, below the originals.
        """
        device = self.model.image_directions.device
        pictures, ws = self._validation
        images, ws = from_uint8(pictures).to(device), ws.to(device)
        found = torch.cat([self.model(part) for part in images.split(64)])
        share = self.model.change(found - ws).mean() / self.model.change(self.model.whitening.mean - ws).mean()
        made = shrunk(self._generator.synthesize(found[:SHOWN]), max(images.shape[-2:])).float()
        error = (made - images[:SHOWN]).abs().mean() * 127.5
        sheet = torch.cat([torch.cat(list(row), dim=2) for row in (images[:SHOWN], made)], dim=1)
        shown = to_uint8(sheet).cpu()
        return Report({"change": share.item(), "error": error.item()}, {"encoded": shown})

    def _image_loss(self, found: Float[Tensor, "M L D"], batch: EncoderBatch) -> Float[Tensor, ""]:
        """`load_distance` of the images, plus the MSE of generator features relative to their mean square."""
        block = self.config.image_loss_block
        images, features = self._generator.synthesize(found, return_features=block)
        with torch.no_grad():
            wanted = self._generator.features(batch.ws[: len(found)], block=block).float()
        pixels = self._distance(shrunk(images.float(), max(batch.clean.shape[-2:])), batch.clean)
        return pixels + F.mse_loss(features.float(), wanted) / wanted.square().mean()


def spread_of(y: Float[Tensor, "B L Y"]) -> Float[Tensor, ""]:
    """Mean squared difference of neighbouring rows, except between the last edited and the first kept row."""
    steps = y.diff(dim=1)
    inside = torch.cat([steps[:, : EDITED_ROWS - 1], steps[:, EDITED_ROWS:]], dim=1)
    return inside.square().mean()
