"""A small generator that has begun to learn, its latents and images, and how near two tensors are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from third_party.stylegan2 import Generator, GeneratorConfig

CONFIG = GeneratorConfig(
    z_dim=6, c_dim=0, w_dim=8, resolution=(32, 32), channels={4: 12, 8: 10, 16: 8, 32: 6}, mapping_layers=2
)


@pytest.fixture
def network_config() -> GeneratorConfig:
    """Four blocks, without labels."""
    return CONFIG


@pytest.fixture(scope="session")
def lively() -> Callable[..., Generator]:
    """lively(config, seed): a generator whose biases and noise strengths are not the zeros of a new one."""

    def make(config: GeneratorConfig = CONFIG, seed: int = 0) -> Generator:
        torch.manual_seed(seed)
        generator = Generator(config)
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return generator

    return make


@pytest.fixture(scope="session")
def some_ws() -> Callable[..., Tensor]:
    """some_ws(config, batch): the same random latents at every call."""

    def draw(config: GeneratorConfig = CONFIG, batch: int = 3) -> Tensor:
        return torch.randn(batch, config.num_ws, config.w_dim, generator=torch.Generator().manual_seed(1))

    return draw


@pytest.fixture(scope="session")
def image_of() -> Callable[..., Tensor]:
    """image_of(generator, ws, noise): its image alone."""

    def render(generator: Generator, ws: Tensor, noise: str = "const") -> Tensor:
        image, _ = generator.synthesis(ws, noise)
        assert image is not None
        return image

    return render


@pytest.fixture(scope="session")
def close() -> Callable[..., bool]:
    """close(a, b, tolerance): whether they differ nowhere by more than that share of b's largest value."""

    def compare(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
        return bool((a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max())

    return compare
