"""The Latent Predictor P (section 3.2): predicts the edited rows of each step from the source and the points."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.geometry import to_unit
from autodrag.latents import EDITED_ROWS
from autodrag.models.aim import Aim, AimConfig
from autodrag.models.attention import Cache, Memory, TransformerDecoder, TransformerEncoder, initialise, mlp
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.tokens import FeatureTokens, FourierLinear, PointTokens
from autodrag.typed import check_bounds, check_multiple


@dataclass(frozen=True)
class PredictorConfig:
    """Size and inputs of P."""

    width: int  # channels E of the tokens
    heads: int  # of the attention
    encoder_layers: int
    decoder_layers: int
    mlp_ratio: float = 4.0  # hidden width of the MLPs / width
    points: Literal["full", "patch_only"] = "full"  # patch, position and displacement | patch only, as published
    relative_steps: bool = True  # embed i / n and 1 / n for step i (ours) instead of i
    grid: int = 16  # maximum image tokens per side
    aim: AimConfig | None = None  # first guess of the end, refined by the steps (ours); None: as published

    def __post_init__(self) -> None:
        check_bounds("model.predictor", self, heads=(1, math.inf), grid=(1, math.inf))
        check_multiple("model.predictor", self, "width", self.heads)


@dataclass(frozen=True)
class DragContext:
    """State shared by all steps of a drag."""

    memory: Memory  # encoded source and points, for the decoder
    aim: Float[Tensor, "B K D"] | None  # first guess of the final edited rows, if the model has an aim


@dataclass(frozen=True)
class Past:
    """State of a drag that is decoded step by step."""

    positions: Float[Tensor, "n K E"]  # embeddings of all steps and rows
    caches: list[Cache]  # one per decoder layer


class Predictor(nn.Module):
    """Encoder-decoder: `encode` runs once per drag, then `forward` decodes one or all of its steps."""

    cell_centres: Tensor

    def __init__(
        self, config: PredictorConfig, w_dim: int, feature_shape: tuple[int, int, int], statistics: Statistics
    ) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.standardise = Standardise(statistics.w_mean, statistics.w_std)
        self.standardise_features = Standardise(statistics.feature_mean, statistics.feature_std, axis=1)
        self.image_tokens = FeatureTokens(feature_shape, width, config.grid)
        self.register_buffer("cell_centres", self.image_tokens.cell_centres(), persistent=False)
        self.point_tokens = PointTokens(feature_shape[0], width)
        self.position = FourierLinear(2, width)
        self.displacement = FourierLinear(2, width) if config.points == "full" else None
        self.point_type = nn.Parameter(torch.empty(2, width))  # handle, target
        self.fuse = mlp(width, width, width)
        self.encoder = TransformerEncoder(width, config.heads, config.encoder_layers, config.mlp_ratio)
        self.embed_latents = mlp(w_dim, width, width)
        self.row_embedding = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.step_embedding = FourierLinear(2, width)
        self.decoder = TransformerDecoder(width, config.heads, config.decoder_layers, config.mlp_ratio)
        self.head = nn.Linear(width, w_dim)
        self.embed_aim = None if config.aim is None else mlp(w_dim, width, width)
        self.apply(initialise)
        nn.init.normal_(self.point_type, std=0.02)
        nn.init.normal_(self.row_embedding, std=0.02)
        nn.init.zeros_(self.head.weight)  # an untrained predictor outputs its input, or goes straight to the aim
        # Created after `initialise` so that it keeps its own initialisation.
        self.aim = None if config.aim is None else Aim(config.aim, w_dim, statistics.w_mean, statistics.w_std)

    def encode_image(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B S E"]:
        """Tokens of F_0, shared by all drags of an image."""
        return self.image_tokens(self.standardise_features(features)) + self.position(self.cell_centres)

    def encode(
        self,
        rows: Float[Tensor, "B K D"],
        features: Float[Tensor, "B C h w"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None,
        image_hw: tuple[int, int],
        image: Float[Tensor, "B S E"] | None = None,
    ) -> DragContext:
        """Encode the source and the points.

        rows, features: edited rows and F_0 of the source. handles, targets: image pixels; the order of the pairs does
        not matter. mask: False at padding; None: no padding. image: output of `encode_image`, if already computed.
        """
        aim = None if self.aim is None else self.aim(rows, handles, targets, mask, image_hw)  # [B, K, D]
        image = self.encode_image(features) if image is None else image  # [B, S, E]
        points = self._embed_points(self.standardise_features(features), handles, targets, image_hw)  # [B, 2P, E]
        padding = None
        if mask is not None:
            every = mask.new_ones(mask.shape[0], image.shape[1])  # [B, S]
            padding = torch.cat([every, mask, mask], dim=1)[:, None, None]  # [B, 1, 1, S + 2P]
        # Eq. 8, 9: keys and values from MLP([MLP(F_seq), MLP(P_seq)]), through the encoder
        tokens = self.encoder(self.fuse(torch.cat([image, points], dim=1)), padding)  # [B, S + 2P, E]
        return DragContext(self.decoder.project_memory(tokens, padding), aim)

    def forward(
        self,
        rows: Float[Tensor, "B s K D"],
        context: DragContext,
        total: int,
        start: int = 0,
        past: Past | None = None,
    ) -> Float[Tensor, "B s K D"]:
        """Predict the edited rows of w_{start+1}, ..., w_{start+s} from those of w_start, ..., w_{start+s-1}.

        rows: of w_start, ... context: from `encode`. total: n, steps of the whole drag. past: from `begin`, for
        decoding step by step. A step attends to itself and to earlier steps.
        """
        steps, k = rows.shape[1], rows.shape[2]
        position = self._positions(start, steps, total) if past is None else past.positions[start : start + steps]
        # Eq. 10: queries from MLP([w_0; ...; w_{n-1}]) plus position
        queries = self.embed_latents(self.standardise(rows)) + position  # [B, s, K, E]
        moved = rows
        if context.aim is not None and self.embed_aim is not None:
            way = context.aim[:, None] - rows  # [B, s, K, D]
            queries = queries + self.embed_aim(way / self.standardise.std)  # [B, s, K, E]
            left = total - start if steps == 1 else total - torch.arange(start, start + steps, device=rows.device)
            moved = rows + way / (left if isinstance(left, int) else left[:, None, None])  # [B, s, K, D]
        mask = None if steps == 1 else block_causal(steps, k, start, rows.device)  # [s K, (start + s) K]
        caches = None if past is None else past.caches
        decoded = self.decoder(queries.flatten(1, 2), context.memory, mask, caches)  # [B, s K, E]
        # Eq. 11, as a residual on w_i
        delta = self.head(decoded).to(rows.dtype).unflatten(1, (steps, k))  # [B, s, K, D]
        return torch.addcmul(moved, delta, self.standardise.std)  # [B, s, K, D]

    def begin(self, total: int) -> Past:
        """Initial state for decoding a drag of `total` steps step by step."""
        return Past(self._positions(0, total, total), self.decoder.caches(total * EDITED_ROWS))

    def _embed_points(
        self, features: Tensor, handles: Tensor, targets: Tensor, image_hw: tuple[int, int]
    ) -> Float[Tensor, "B N E"]:
        both, count = torch.cat([handles, targets], dim=1), handles.shape[1]  # [B, 2P, 2]
        tokens = self.point_tokens(features, both, image_hw) + self.point_type.repeat_interleave(
            count, dim=0
        )  # [B, 2P, E]
        if self.displacement is None:
            return tokens
        places = to_unit(both, image_hw)  # [B, 2P, 2]
        moved = places[:, count:] - places[:, :count]  # [B, P, 2]
        return tokens + self.position(places) + self.displacement(moved).repeat(1, 2, 1)  # [B, 2P, E]

    def _positions(self, start: int, steps: int, total: int) -> Float[Tensor, "s K E"]:
        """Step embeddings plus row embeddings."""
        i = torch.arange(start, start + steps, device=self.row_embedding.device, dtype=torch.float32)
        if self.config.relative_steps:
            place = torch.stack([i / total, torch.full_like(i, 1 / total)], dim=-1)  # [s, 2]
        else:
            place = torch.stack([i / 16, torch.zeros_like(i)], dim=-1)  # [s, 2]
        return self.step_embedding(place)[:, None] + self.row_embedding  # [s, K, E]


def block_causal(steps: int, k: int, start: int, device: torch.device) -> Bool[Tensor, "queries keys"]:
    """True where a query may attend: the k tokens of its own step and of all earlier steps."""
    keys = torch.arange(start + steps, device=device).repeat_interleave(k)
    return keys[start * k :, None] >= keys
