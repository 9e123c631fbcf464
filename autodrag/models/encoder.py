"""The image encoder: predicts the latents of an image in one pass, and estimates how latent offsets change pixels.

Latents are the average latent, plus one offset shared by the edited rows and one shared by the kept rows, plus small
offsets per row. Rows close to each other and to the average are editable (Tov et al. 2021, e4e, section 3). Offsets are
predicted in whitened coordinates of W, so rows vary only along directions in which mapped latents do.
"""

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.stored import StoredModel
from autodrag.models.whitening import Whitening
from autodrag.typed import build, check_bounds, check_multiple

OFFSET = 0.2  # scale of the per-row offsets: standard deviations of W for an output of 1
GROUPS = 8  # of the group normalisation


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the encoder."""

    size: int  # longer side of the input, in pixels
    width: int  # channels at half resolution, a multiple of 8; up to six times as many at the coarsest
    hidden: int  # width of the image embedding
    directions: int  # R, directions of W+ that change images most

    def __post_init__(self) -> None:
        some = (1, math.inf)
        check_bounds("encoder.network", self, size=some, hidden=some, directions=some)
        check_multiple("encoder.network", self, "width", GROUPS)


class Encoder(StoredModel):
    """Convolutions, an image embedding, and two linear heads."""

    kind = "encoder"

    image_directions: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        num_ws: int,
        whitening: Whitening,
        image_directions: Float[Tensor, "R L D"] | None = None,
    ) -> None:
        """whitening: of the generator's W. image_directions: from `main_directions`; None: zeros until loaded."""
        super().__init__()
        self.config, self.num_ws, self.whitening = config, num_ws, whitening
        w_dim, size = whitening.basis.shape
        if image_directions is None:
            image_directions = torch.zeros(config.directions, num_ws, w_dim)
        self.register_buffer("image_directions", image_directions.clone())
        widths = [config.width * times for times in (1, 2, 4, 6)]
        layers: list[nn.Module] = [*_layer(3, widths[0], 2)]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [*_layer(inputs, outputs, 2), *_layer(outputs, outputs, 1)]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.embed = nn.Sequential(nn.Linear(16 * widths[-1], config.hidden), nn.GELU())
        self.shared_head = nn.Linear(config.hidden, 2 * size)
        self.offset_head = nn.Linear(config.hidden, num_ws * size)
        for layer in (self.shared_head, self.offset_head):  # initial output: the average latent
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    @property
    def w_dim(self) -> int:
        """D."""
        return len(self.whitening.mean)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L D"]:
        """pictures: in [-1, 1], of any size; larger ones are downsampled to the input size."""
        hidden = self.embed(self.convolutions(shrunk(pictures, self.config.size)))
        size = self.whitening.size
        head, tail = self.shared_head(hidden).float().view(-1, 2, 1, size).unbind(dim=1)  # [B, 1, Y] each
        rows = head.expand(-1, self.num_ws, -1)
        shared = join(split(rows)[0], tail.expand(-1, max(0, self.num_ws - EDITED_ROWS), -1))
        offsets = self.offset_head(hidden).float().view(-1, self.num_ws, size)
        return self.whitening.latents(shared + OFFSET * offsets)

    def change(self, moves: Float[Tensor, "B L D"]) -> Float[Tensor, " B"]:
        """Estimated root mean square change of pixel values caused by offsets of latents."""
        return (torch.einsum("rld,bld->br", self.image_directions, moves).square().sum(dim=1) + 1e-8).sqrt()

    def stored_config(self) -> dict[str, Any]:
        """Config and shape."""
        shape = {"num_ws": self.num_ws, "w_dim": self.w_dim, "coordinates": self.whitening.size}
        return {"encoder": asdict(self.config), **shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        """See `StoredModel`; whitening and directions are buffers, loaded with the weights."""
        whitening = Whitening(int(config["w_dim"]), int(config["coordinates"]))
        return cls(build(EncoderConfig, config["encoder"]), int(config["num_ws"]), whitening)


def main_directions(gradients: Float[Tensor, "N L D"], count: int) -> Float[Tensor, "R L D"]:
    """The `count` orthogonal directions of W+ that change images most, by SVD; padded with zeros if there are fewer.

    gradients: from `training.latent_statistics.image_gradients`. The sum over directions of (direction * d).sum()^2
    estimates the mean square change of pixel values caused by an offset d.
    """
    _, sizes, along = torch.linalg.svd(gradients.flatten(1), full_matrices=False)
    kept = (sizes[:count, None] * along[:count]) / len(gradients) ** 0.5
    return F.pad(kept, (0, 0, 0, count - len(kept))).view(count, *gradients.shape[1:])


def shrunk(images: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 h w"]:
    """Area-downsample images to a longer side of `size`; smaller images are returned unchanged."""
    height, width = images.shape[-2:]
    share = size / max(height, width)
    if share >= 1:
        return images
    return F.interpolate(images, (max(1, round(height * share)), max(1, round(width * share))), mode="area")


def _layer(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.GELU()
