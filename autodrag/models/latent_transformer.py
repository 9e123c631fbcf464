"""The latent transformer of UserControllableLT (Endo 2022): predicts a move of the edited rows from point motion."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.geometry import sample_at
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.attention import TransformerDecoder, TransformerEncoder, initialise
from autodrag.models.autodrag import DomainShape
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.stored import read_model, write_model
from autodrag.typed import build

UNIT_HEIGHT = 256  # pixels: motion is measured at this image height, for every generator
FEATURE_BLOCK = 5  # of 64 px


@dataclass(frozen=True)
class LatentTransformerConfig:
    """Size of the network."""

    width: int  # channels of the tokens; published: 512
    heads: int  # of the attention; published: 8
    layers: int  # of the encoder, and of the decoder; published: 6


@dataclass(frozen=True)
class MotionScale:
    """Scales that motion is divided by."""

    flow: float  # root mean square of the optical flow, in pixels of a 256 px image
    expansion: float  # root mean square of its log expansion


class LatentTransformer(nn.Module):
    """Encoder over motion tokens, decoder over the edited rows; latents and features are standardised (our choice)."""

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
        """The move that is added to `ws` for alpha = 1; zero in the kept rows.

        points: image pixels. motion: (dx, dy, log expansion) of the points, divided by `scale`. mask: False at padding.
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

    def save(self, path: Path | str, about: Mapping[str, str] | None = None, half: bool = False) -> None:
        """Write weights, statistics and config to one safetensors file. about: text for its metadata.

        half: store weights (not statistics) in float16; `load` converts them back to float32.
        """
        config = {"network": asdict(self.config), "shape": asdict(self.shape), "scale": asdict(self.scale)}
        write_model(path, "latent_transformer", self, config, about, half)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "LatentTransformer":
        """The model of a file that `save` wrote. Raises InputError if the file is missing or of another kind."""
        stored = read_model(path, "latent_transformer", str(device))
        shape = build(DomainShape, stored.config["shape"])
        model = cls(
            build(LatentTransformerConfig, stored.config["network"]),
            shape,
            build(MotionScale, stored.config["scale"]),
            Statistics.identity(shape.w_dim, shape.feature_shape[0]),
        )
        model.load_state_dict({name: tensor.float() for name, tensor in stored.tensors.items()})
        return model.to(device).eval()
