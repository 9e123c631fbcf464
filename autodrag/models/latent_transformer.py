"""The latent transformer of UserControllableLT (Endo 2022): predicts an offset of the edited rows from point motion."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.geometry import sample_at
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.attention import TransformerDecoder, TransformerEncoder, initialise
from autodrag.models.autodrag import DomainShape
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.stored import StoredModel
from autodrag.typed import build, check_bounds, check_multiple

UNIT_HEIGHT = 256  # px; motion is measured at this image height for every generator
FEATURE_BLOCK = 5  # 64 px


@dataclass(frozen=True)
class LatentTransformerConfig:
    """Size of the network."""

    width: int  # channels of the tokens; published: 512
    heads: int  # of the attention; published: 8
    layers: int  # of the encoder and of the decoder each; published: 6

    def __post_init__(self) -> None:
        check_bounds("latent_transformer.network", self, heads=(1, math.inf))
        check_multiple("latent_transformer.network", self, "width", math.lcm(2, self.heads))  # halves are joined


@dataclass(frozen=True)
class MotionScale:
    """Scales that motion is divided by."""

    flow: float  # root mean square optical flow, in pixels of a 256 px image
    expansion: float  # root mean square log expansion of the flow


class LatentTransformer(StoredModel):
    """Encoder over motion tokens, decoder over the edited rows; latents and features are standardised (our choice)."""

    kind = "latent_transformer"

    def __init__(
        self, config: LatentTransformerConfig, shape: DomainShape, scale: MotionScale, statistics: Statistics
    ) -> None:
        """shape, statistics: of the generator and its block FEATURE_BLOCK."""
        super().__init__()
        width = config.width
        self.config, self.shape, self.scale = config, shape, scale
        self.standardise = Standardise(statistics.w_mean, statistics.w_std)
        self.standardise_features = Standardise(statistics.feature_mean, statistics.feature_std)
        self.embed_motion = nn.Linear(3, width // 2)
        self.embed_features = nn.Linear(shape.feature_shape[0], width // 2)
        self.fuse = nn.Linear(width, width)
        self.encoder = TransformerEncoder(width, config.heads, config.layers, mlp_ratio=1.0)
        self.embed_latents = nn.Linear(shape.w_dim, width)
        self.row_embedding = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.decoder = TransformerDecoder(width, config.heads, config.layers, mlp_ratio=1.0)
        self.head = nn.Linear(width, shape.w_dim)
        self.apply(initialise)
        nn.init.normal_(self.row_embedding, std=0.02)

    def forward(
        self,
        ws: Float[Tensor, "B L D"],
        features: Float[Tensor, "B C h w"],
        points: Float[Tensor, "B P 2"],
        motion: Float[Tensor, "B P 3"],
        mask: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The offset to add to `ws` at alpha = 1; zero in the kept rows.

        features: of `ws`. points: image pixels. motion: (dx, dy, log expansion) of each point, divided by `scale`.
        mask: False at padding; None: no padding.
        """
        local = self.standardise_features(sample_at(features, points, self.shape.resolution))  # [B, P, C]
        tokens = torch.cat([F.relu(self.embed_motion(motion)), F.relu(self.embed_features(local))], dim=2)  # [B, P, E]
        padding = None if mask is None else mask[:, None, None]  # [B, 1, 1, P]
        memory = self.encoder(F.relu(self.fuse(tokens)), padding)  # [B, P, E]
        head, tail = split(ws)  # [B, K, D], [B, L - K, D]
        rows = F.relu(self.embed_latents(self.standardise(head))) + self.row_embedding  # [B, K, E]
        decoded = self.decoder(rows, self.decoder.project_memory(memory, padding))  # [B, K, E]
        change = self.head(decoded).to(ws.dtype) * self.standardise.std  # [B, K, D]
        return join(change, torch.zeros_like(tail))  # [B, L, D]

    def stored_config(self) -> dict[str, Any]:
        """Config, shape and scale."""
        return {"network": asdict(self.config), "shape": asdict(self.shape), "scale": asdict(self.scale)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LatentTransformer":
        """See `StoredModel`; the statistics are buffers, loaded with the weights."""
        network, shape = build(LatentTransformerConfig, config["network"]), build(DomainShape, config["shape"])
        identity = Statistics.identity(shape.w_dim, shape.feature_shape[0])
        return cls(network, shape, build(MotionScale, config["scale"]), identity)
