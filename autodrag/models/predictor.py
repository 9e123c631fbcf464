"""The Latent Predictor P (section 3.2): from the source and the points, how each step moves the edited rows."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.geometry import to_unit
from autodrag.latents import EDITED_ROWS
from autodrag.models.aim import Aim, AimConfig
from autodrag.models.attention import Cache, Decoder, Encoder, Memory, initialise, mlp
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.tokens import FeatureTokens, FourierLinear, PointTokens


@dataclass(frozen=True)
class PredictorConfig:
    """Size of P and what its tokens carry.

    points: `full`, or `patch_only` as the paper is printed: point tokens know their patch and whether they are a handle
    or a
        target, but neither where they are nor how far apart.
    progress: the step embedding says how far along the drag it is (i / n and 1 / n) instead of the number i alone.
    grid: tokens of F_0 a side, at most.
    aim: a first guess that the steps head for and the transformer corrects; None: the paper's, without.
    """

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mlp_ratio: float = 4.0
    points: Literal["full", "patch_only"] = "full"
    progress: bool = True
    grid: int = 16
    aim: AimConfig | None = None


@dataclass(frozen=True)
class DragContext:
    """A drag as the predictor remembers it: source and points for the decoder, and the aim where there is one."""

    memory: Memory
    aim: Float[Tensor, "B K D"] | None


@dataclass(frozen=True)
class Past:
    """What the steps of a drag that are asked for one by one have in common: the positions of all, and their tokens.

    positions: of the rows of all n steps. caches: the tokens of the steps so far, for each layer of the decoder.
    """

    positions: Float[Tensor, "n K E"]
    caches: list[Cache]


class Predictor(nn.Module):
    """`remember` the source and the points once, then ask for one step or for all of them."""

    places: Tensor

    def __init__(
        self, config: PredictorConfig, w_dim: int, feature_shape: tuple[int, int, int], statistics: Statistics
    ) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.standardise = Standardise(statistics.w_mean, statistics.w_std)
        self.standardise_features = Standardise(statistics.feature_mean, statistics.feature_std, axis=1)
        self.look = FeatureTokens(feature_shape, width, config.grid)
        self.register_buffer("places", self.look.places(), persistent=False)
        self.look_at_points = PointTokens(feature_shape[0], width)
        self.place = FourierLinear(2, width)
        self.displacement = FourierLinear(2, width) if config.points == "full" else None
        self.kind = nn.Parameter(torch.empty(2, width))  # handle, target
        self.mix = mlp(width, width, width)
        self.encoder = Encoder(width, config.heads, config.encoder_layers, config.mlp_ratio)
        self.read = mlp(w_dim, width, width)
        self.row = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.step = FourierLinear(2, width)
        self.decoder = Decoder(width, config.heads, config.decoder_layers, config.mlp_ratio)
        self.head = nn.Linear(width, w_dim)
        self.hint = None if config.aim is None else mlp(w_dim, width, width)
        self.apply(initialise)
        nn.init.normal_(self.kind, std=0.02)
        nn.init.normal_(self.row, std=0.02)
        nn.init.zeros_(self.head.weight)  # an untrained predictor moves nothing, or goes straight for the aim
        # Trained by itself before (`training.aim`), and held fixed: not touched by the initialisation above.
        self.aim = None if config.aim is None else Aim(config.aim, w_dim, statistics.w_mean, statistics.w_std)

    def remember(
        self,
        rows: Float[Tensor, "B K D"],
        features: Float[Tensor, "B C h w"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None,
        image_hw: tuple[int, int],
    ) -> DragContext:
        """What all steps share: the source's edited rows and features F_0, and the pairs of points (image pixels).

        mask: True at real pairs, False at padding; None if all are real. The order of the pairs does not matter.
        """
        aim = None if self.aim is None else self.aim(rows, handles, targets, mask, image_hw)
        features = self.standardise_features(features)
        image = self.look(features) + self.place(self.places)  # [B, S, E]
        points = self._point_tokens(features, handles, targets, image_hw)  # [B, 2P, E]
        seen = None
        if mask is not None:
            whole = mask.new_ones(mask.shape[0], image.shape[1])
            seen = torch.cat([whole, mask, mask], dim=1)[:, None, None]  # [B, 1, 1, S + 2P]
        # Eq. 8, 9: MLP([MLP(F_seq), MLP(P_seq)]), through the encoder, to keys and values
        tokens = self.encoder(self.mix(torch.cat([image, points], dim=1)), seen)
        return DragContext(self.decoder.remember(tokens, seen), aim)

    def forward(
        self,
        rows: Float[Tensor, "B s K D"],
        context: DragContext,
        total: int,
        start: int = 0,
        past: Past | None = None,
    ) -> Float[Tensor, "B s K D"]:
        """The edited rows one step on from those of w_start, w_start+1, ....

        rows: the edited rows of those s latents. total: n, the number of steps of the whole drag. past: from `begin`,
        the same for all calls of a drag that come one after another. A step sees itself and the steps before it.
        """
        steps, k = rows.shape[1], rows.shape[2]
        position = self._positions(start, steps, total) if past is None else past.positions[start : start + steps]
        # Eq. 10: queries from MLP([w_0; ...; w_{n-1}]) plus position
        queries = self.read(self.standardise(rows)) + position  # [B, s, K, E]
        moved = rows
        if context.aim is not None and self.hint is not None:
            way = context.aim[:, None] - rows
            queries = queries + self.hint(way / self.standardise.std)
            left = total - start if steps == 1 else total - torch.arange(start, start + steps, device=rows.device)
            moved = rows + way / (left if isinstance(left, int) else left[:, None, None])
        mask = None if steps == 1 else block_causal(steps, k, start, rows.device)
        decoded = self.decoder(queries.flatten(1, 2), context.memory, mask, None if past is None else past.caches)
        # Eq. 11, as a residual on w_i
        delta = self.head(decoded).to(rows.dtype).unflatten(1, (steps, k))
        return torch.addcmul(moved, delta, self.standardise.std)

    def begin(self, total: int) -> Past:
        """For a drag whose `total` steps are asked for one by one."""
        return Past(self._positions(0, total, total), self.decoder.caches(total * EDITED_ROWS))

    def _point_tokens(
        self, features: Tensor, handles: Tensor, targets: Tensor, image_hw: tuple[int, int]
    ) -> Float[Tensor, "B N E"]:
        both, count = torch.cat([handles, targets], dim=1), handles.shape[1]
        tokens: Tensor = self.look_at_points(features, both, image_hw)
        tokens = tokens + self.kind.repeat_interleave(count, dim=0)
        if self.displacement is None:
            return tokens
        places = to_unit(both, image_hw)
        moved = places[:, count:] - places[:, :count]
        placed: Tensor = tokens + self.place(places) + self.displacement(moved).repeat(1, 2, 1)
        return placed

    def _positions(self, start: int, steps: int, total: int) -> Float[Tensor, "s K E"]:
        """Embeddings of steps start, start+1, ... and of the edited rows."""
        i = torch.arange(start, start + steps, device=self.row.device, dtype=torch.float32)
        if self.config.progress:
            place = torch.stack([i / total, torch.full_like(i, 1 / total)], dim=-1)
        else:
            place = torch.stack([i / 16, torch.zeros_like(i)], dim=-1)
        return self.step(place)[:, None] + self.row


def block_causal(steps: int, k: int, start: int, device: torch.device) -> Bool[Tensor, "queries keys"]:
    """True where a token of a step may look: at the k tokens of its own step and of all earlier ones."""
    keys = torch.arange(start + steps, device=device).repeat_interleave(k)
    return keys[start * k :, None] >= keys
