"""The StyleGAN2 generator, with the parameter and buffer names of NVIDIA's state dicts."""

from jaxtyping import Float
from torch import Tensor, nn

from third_party.stylegan2.config import GeneratorConfig
from third_party.stylegan2.mapping import Mapping
from third_party.stylegan2.synthesis import Synthesis


class Generator(nn.Module):
    """`mapping` makes ws from z, `synthesis` images from ws. A new one is initialised as StyleGAN2 trains from scratch."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    def forward(
        self, z: Float[Tensor, "B Z"], c: Float[Tensor, "B C"] | None = None, psi: float = 1.0, noise: str = "const"
    ) -> Float[Tensor, "B C H W"]:
        """Images straight from z."""
        image, _ = self.synthesis(self.mapping(z, c, psi), noise)
        assert image is not None  # nothing stops it early
        return image
