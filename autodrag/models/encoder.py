"""The encoder: a picture in, its latents out, in one pass of a small network; and what the picture shows of a move.

Rows are the average latent, plus a move that the edited rows share and one that the kept rows share, plus small offsets
of every row. Rows near each other and near the average are those that edits work on (Tov et al. 2021, e4e, section 3).
All are in whitened coordinates of W: a row cannot leave the directions in which mapped latents vary.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.stored import read_model, write_model
from autodrag.models.whitening import Whitening

OFFSET = 0.2  # deviations that one unit of a row's own output is worth
GROUPS = 8


@dataclass(frozen=True)
class EncoderConfig:
    """size: pixels of the longer side of the pictures that are read.

    width: channels at half of that, up to six times as many where the picture is coarser; a multiple of 8. hidden:
    numbers that a picture is told by. directions: of W+, those that the picture shows most, kept for `seen`.
    """

    size: int
    width: int
    hidden: int
    directions: int


class Encoder(nn.Module):
    """whitening: of the generator's W. seen: see `seen_of`; None: zeros, to be loaded."""

    seen: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        num_ws: int,
        whitening: Whitening,
        seen: Float[Tensor, "R L D"] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.num_ws, self.whitening = config, num_ws, whitening
        w_dim, size = whitening.basis.shape
        self.register_buffer("seen", torch.zeros(config.directions, num_ws, w_dim) if seen is None else seen.clone())
        widths = [config.width * times for times in (1, 2, 4, 6)]
        layers: list[nn.Module] = [*_layer(3, widths[0], 2)]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [*_layer(inputs, outputs, 2), *_layer(outputs, outputs, 1)]
        self.look = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.tell = nn.Sequential(nn.Linear(16 * widths[-1], config.hidden), nn.GELU())
        self.shared = nn.Linear(config.hidden, 2 * size)
        self.own = nn.Linear(config.hidden, num_ws * size)
        for layer in (self.shared, self.own):  # begins at the average latent
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    @property
    def w_dim(self) -> int:
        """D."""
        return len(self.whitening.mean)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L D"]:
        """pictures: in [-1, 1], of any size: they are shrunk."""
        told = self.tell(self.look(shrunk(pictures, self.config.size)))
        size = self.whitening.size
        head, tail = self.shared(told).float().view(-1, 2, 1, size).unbind(dim=1)  # [B, 1, Y] each
        rows = head.expand(-1, self.num_ws, -1)
        shared = join(split(rows)[0], tail.expand(-1, max(0, self.num_ws - EDITED_ROWS), -1))
        own = self.own(told).float().view(-1, self.num_ws, size)
        return self.whitening.latents(shared + OFFSET * own)

    def change(self, moves: Float[Tensor, "B L D"]) -> Float[Tensor, " B"]:
        """About the root mean square change of the picture's pixels that moves of latents make."""
        return (torch.einsum("rld,bld->br", self.seen, moves).square().sum(dim=1) + 1e-8).sqrt()

    def save(self, path: Path | str, about: Mapping[str, str] | None = None, half: bool = False) -> None:
        """One safetensors file. half: in float16. Raises InputError where it cannot be written."""
        config = {"encoder": asdict(self.config), "num_ws": self.num_ws, "w_dim": self.w_dim}
        config["coordinates"] = self.whitening.size
        write_model(path, "encoder", self, config, about, half)

    @classmethod
    def load(cls, path: Path | str) -> "Encoder":
        """What `save` wrote. Raises InputError where the file is missing or something else."""
        stored = read_model(path, "encoder")
        whitening = Whitening(stored.config["w_dim"], stored.config["coordinates"])
        encoder = cls(EncoderConfig(**stored.config["encoder"]), stored.config["num_ws"], whitening)
        encoder.load_state_dict(stored.tensors)
        return encoder.eval().requires_grad_(False)


def seen_of(moves: Float[Tensor, "N L D"], directions: int) -> Float[Tensor, "R L D"]:
    """The strongest directions of `training.measure.seen_moves`, orthogonal, so long that of a move d the sum of
    (seen * d).sum()^2 is about the mean square change of the picture. Zeros follow where there are fewer."""
    _, sizes, along = torch.linalg.svd(moves.flatten(1), full_matrices=False)
    kept = (sizes[:directions, None] * along[:directions]) / len(moves) ** 0.5
    return F.pad(kept, (0, 0, 0, directions - len(kept))).view(directions, *moves.shape[1:])


def shrunk(images: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 h w"]:
    """With that longer side, each pixel the mean of those it covers; smaller images stay as they are."""
    height, width = images.shape[-2:]
    share = size / max(height, width)
    if share >= 1:
        return images
    return F.interpolate(images, (max(1, round(height * share)), max(1, round(width * share))), mode="area")


def _layer(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.GELU()
