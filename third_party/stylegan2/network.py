"""The StyleGAN2 generator, with the parameter and buffer names of NVIDIA's state dicts."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .config import GeneratorConfig
from .layers import Dense, Numbers, StyledConv
from .mapping import Mapping
from .synthesis import Block, Synthesis


class Generator(nn.Module):
    """`mapping` makes ws from z, `synthesis` images from ws.

    A new generator has the initialisation of StyleGAN2's training. `freeze` makes one with fixed weights fast.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    def freeze(
        self, dtype: torch.dtype = torch.float32, channels_last: bool = True, together: bool = False
    ) -> "Generator":
        """Fix the weights: they get no gradients, and everything that depends on them alone is computed once.

        Blocks then compute in `dtype`; the mapping, the modulation and the sum of the blocks' colours stay in float32.
        together: compute the styles of all layers at once, which is faster on a GPU. To be called after the weights are
        loaded and moved to their device. Returns self.
        """
        self.requires_grad_(False)
        self._apply_numbers(Numbers(dtype, torch.channels_last if channels_last else torch.contiguous_format))
        if together:
            self.synthesis.modulate_together()
        return self

    def thaw(self) -> "Generator":
        """Undo `freeze`: trainable weights, float32. Returns self."""
        self.requires_grad_(True)
        self._apply_numbers(None)
        return self

    def _apply_numbers(self, numbers: Numbers | None) -> None:
        self.synthesis.numbers = numbers or Numbers()
        self.synthesis.modulations = None
        for module in self.modules():
            if isinstance(module, Dense | StyledConv | Block):
                module.freeze(numbers)

    def forward(
        self, z: Float[Tensor, "B Z"], c: Float[Tensor, "B C"] | None = None, psi: float = 1.0, noise: str = "const"
    ) -> Float[Tensor, "B C H W"]:
        """Images straight from z."""
        image, _ = self.synthesis(self.mapping(z, c, psi), noise)
        assert image is not None  # there is no `stop`
        return image
