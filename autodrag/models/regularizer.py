"""The Latent Regularizer R (section 3.1): restores the edited rows of a latent, given its kept rows."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.attention import TransformerDecoder, TransformerEncoder, initialise, mlp
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.stored import StoredModel
from autodrag.typed import build, check_bounds, check_multiple


@dataclass(frozen=True)
class RegularizerConfig:
    """Size of R."""

    width: int  # channels E of the tokens
    heads: int  # of the attention
    encoder_layers: int
    decoder_layers: int
    mlp_ratio: float = 4.0  # hidden width of the MLPs / width
    residual: bool = False  # add the output to the edited rows (ours) instead of replacing them (Eq. 5)

    def __post_init__(self) -> None:
        check_bounds("model.regularizer", self, heads=(1, math.inf))
        check_multiple("model.regularizer", self, "width", self.heads)


class Regularizer(StoredModel):
    """Queries come from the kept rows, the memory from the edited ones; only the edited rows change."""

    kind = "regularizer"

    def __init__(self, config: RegularizerConfig, num_ws: int, w_dim: int, statistics: Statistics) -> None:
        super().__init__()
        if num_ws <= EDITED_ROWS:
            raise InputError(
                f"The generator takes {num_ws} latent rows, but the regularizer needs rows beyond the {EDITED_ROWS} "
                "edited ones: use model.skip=none or a generator of at least 32 px."
            )
        width = config.width
        self.config = config
        self.standardise = Standardise(statistics.w_mean, statistics.w_std)
        self.embed_edited = mlp(w_dim, width, width)
        self.edited_position = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.encoder = TransformerEncoder(width, config.heads, config.encoder_layers, config.mlp_ratio)
        self.embed_kept = mlp(w_dim, width, width)
        self.reduce = nn.Linear(num_ws - EDITED_ROWS, EDITED_ROWS)
        self.query_position = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.decoder = TransformerDecoder(width, config.heads, config.decoder_layers, config.mlp_ratio)
        self.head = nn.Linear(width, w_dim)
        self.apply(initialise)
        nn.init.normal_(self.edited_position, std=0.02)
        nn.init.normal_(self.query_position, std=0.02)
        if config.residual:
            nn.init.zeros_(self.head.weight)

    def forward(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Restored latents; like `ws`, not standardised. Rows 6.. are those of `ws`."""
        edited, kept = split(self.standardise(ws))  # [B, K, D], [B, L - K, D]
        # Eq. 3, 4: keys and values from MLP(w1'), through the encoder
        memory = self.encoder(self.embed_edited(edited) + self.edited_position)  # [B, K, E]
        # Eq. 2: queries from MLP(w2'), L - K tokens reduced to K, plus position
        embedded = self.embed_kept(kept)  # [B, L - K, E]
        queries = self.reduce(embedded.transpose(1, 2)).transpose(1, 2) + self.query_position  # [B, K, E]
        decoded = self.decoder(queries, self.decoder.project_memory(memory))  # [B, K, E]
        # Eq. 5: w_hat = [softmax(q k^T) v, w2']
        raw_edited, raw_kept = split(ws)  # [B, K, D], [B, L - K, D]
        rows = self.head(decoded).to(ws.dtype) * self.standardise.std  # [B, K, D]
        start = raw_edited if self.config.residual else self.standardise.mean  # [B, K, D] or [D]
        return join(start + rows, raw_kept)  # [B, L, D]

    def stored_config(self) -> dict[str, Any]:
        """Config and shape."""
        shape = {"num_ws": self.reduce.in_features + EDITED_ROWS, "w_dim": self.head.out_features}
        return {"regularizer": asdict(self.config), **shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Regularizer":
        """See `StoredModel`; the statistics are buffers, loaded with the weights."""
        num_ws, w_dim = int(config["num_ws"]), int(config["w_dim"])
        return cls(build(RegularizerConfig, config["regularizer"]), num_ws, w_dim, Statistics.identity(w_dim, 1))
