"""The mapping network: z and a class label to intermediate latents."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .config import GeneratorConfig
from .layers import Dense


def unit_second_moment(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Divide every row by the root of its mean square."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """z [B, z_dim] and c [B, c_dim] to ws [B, num_ws, w_dim], equal rows until they are truncated."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.num_ws, self.c_dim, self.num_layers = config.num_ws, config.c_dim, config.mapping_layers
        hidden = config.layer_features or config.w_dim
        label = 0
        if config.c_dim:
            label = config.embed_features or config.w_dim
            self.embed = Dense(config.c_dim, label)
        widths = [config.z_dim + label, *[hidden] * (config.mapping_layers - 1), config.w_dim]
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            self.add_module(f"fc{i}", Dense(inputs, outputs, config.mapping_lr_multiplier, lrelu=True))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Float[Tensor, "B Z"],
        c: Float[Tensor, "B C"] | None = None,
        psi: float = 1.0,
        cutoff: int | None = None,
    ) -> Float[Tensor, "B L D"]:
        """`psi` pulls the first `cutoff` rows (None: all) towards the average latent; c None: a label of zeros."""
        x = unit_second_moment(z.float())
        if self.c_dim:
            c = z.new_zeros(len(z), self.c_dim) if c is None else c
            x = torch.cat([x, unit_second_moment(self.embed(c))], dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        ws = x[:, None].expand(-1, self.num_ws, -1)
        if psi == 1:
            return ws
        truncated = torch.lerp(self.w_avg, ws[:, :cutoff], psi)
        return truncated if cutoff is None else torch.cat([truncated, ws[:, cutoff:]], dim=1)
