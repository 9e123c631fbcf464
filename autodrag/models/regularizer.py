"""The Latent Regularizer R (section 3.1): restores the edited rows of a latent in the light of its kept rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.attention import Decoder, Encoder, initialise, mlp
from autodrag.models.statistics import Standardise, Statistics
from autodrag.models.stored import read_model, write_model
from autodrag.typed import build


@dataclass(frozen=True)
class RegularizerConfig:
    """Size of R.

    residual: the head's output is added to the edited rows instead of replacing them (ours; as printed, Eq. 5
    replaces).
    """

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mlp_ratio: float = 4.0
    residual: bool = False


class Regularizer(nn.Module):
    """Memory from the edited rows, queries from the kept ones; the kept rows pass through unchanged."""

    def __init__(self, config: RegularizerConfig, num_ws: int, w_dim: int, statistics: Statistics) -> None:
        super().__init__()
        if num_ws <= EDITED_ROWS:
            raise InputError(
                f"The generator takes {num_ws} latent rows, but the regularizer needs more than the {EDITED_ROWS} "
                "edited ones; use model.skip=none or a generator of at least 32 px."
            )
        width = config.width
        self.config = config
        self.standardise = Standardise(statistics.w_mean, statistics.w_std)
        self.read_edited = mlp(w_dim, width, width)
        self.edited_position = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.encoder = Encoder(width, config.heads, config.encoder_layers, config.mlp_ratio)
        self.read_kept = mlp(w_dim, width, width)
        self.reduce = nn.Linear(num_ws - EDITED_ROWS, EDITED_ROWS)
        self.query_position = nn.Parameter(torch.empty(EDITED_ROWS, width))
        self.decoder = Decoder(width, config.heads, config.decoder_layers, config.mlp_ratio)
        self.head = nn.Linear(width, w_dim)
        self.apply(initialise)
        nn.init.normal_(self.edited_position, std=0.02)
        nn.init.normal_(self.query_position, std=0.02)
        if config.residual:
            nn.init.zeros_(self.head.weight)

    def forward(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Latents in, latents out (both in the generator's own scale); rows 6.. are returned as they are."""
        edited, kept = split(self.standardise(ws))
        # Eq. 3, 4: keys and values from MLP(w1'), through the encoder
        memory = self.encoder(self.read_edited(edited) + self.edited_position)  # [B, K, E]
        # Eq. 2: queries from MLP(w2') with L-K tokens reduced to K, plus position
        queries = self.reduce(self.read_kept(kept).transpose(1, 2)).transpose(1, 2) + self.query_position  # [B, K, E]
        decoded = self.decoder(queries, self.decoder.remember(memory))
        # Eq. 5: w_hat = [softmax(q k^T) v, w2']
        raw_edited, raw_kept = split(ws)
        rows = self.head(decoded).to(ws.dtype) * self.standardise.std
        start = raw_edited if self.config.residual else self.standardise.mean
        return join(start + rows, raw_kept)

    def save(self, path: Path | str, about: Mapping[str, str] | None = None) -> None:
        """Write weights, statistics and configuration to one safetensors file; `about` is kept beside them as text."""
        shape = {"num_ws": self.reduce.in_features + EDITED_ROWS, "w_dim": self.head.out_features}
        write_model(path, "regularizer", self, {"regularizer": asdict(self.config), **shape}, about)

    @classmethod
    def load(cls, path: Path | str) -> "Regularizer":
        """The model of a file that `save` wrote. Raises InputError where the file is missing or something else."""
        stored = read_model(path, "regularizer")
        config = build(RegularizerConfig, stored.config["regularizer"])
        w_dim = int(stored.config["w_dim"])
        model = cls(config, int(stored.config["num_ws"]), w_dim, Statistics.identity(w_dim, 1))
        model.load_state_dict(stored.tensors)
        return model
