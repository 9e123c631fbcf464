"""Fills in what a file may lack of a generator (filters, noise, average latent), with a warning."""

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..config import GeneratorConfig
from ..mapping import Mapping as MappingNetwork
from ..ops import resample_kernel
from .errors import UnreadableError
from .expected import expected_shapes

W_AVG = "mapping.w_avg"
USUAL_TAPS = (1.0, 3.0, 3.0, 1.0)
_LATENTS = 4096  # draws for an average latent
_MAX_DRAWN = 1 << 26  # pixels of the largest noise map that is drawn
_MAX_LABELS = 1 << 22  # numbers in labels at a time


def is_filter(name: str) -> bool:
    """Whether this is the name of a resampling filter."""
    return name.endswith(".resample_filter")


def is_noise(name: str) -> bool:
    """Whether this is the name of a noise map."""
    return name.endswith(".noise_const")


def with_constants(config: GeneratorConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with filters or noise maps added where there are none at all. A single missing one stays missing."""
    filled, shapes = dict(tensors), expected_shapes(config)

    def fill(kind: Callable[[str], bool], make: Callable[[tuple[int, ...]], Tensor]) -> bool:
        lacking = [name for name in shapes if kind(name)]
        if any(kind(name) for name in tensors) or not lacking:
            return False
        filled.update({name: make(shapes[name]) for name in lacking})
        return True

    fill(is_filter, lambda _: resample_kernel(config.resample_filter))
    draw = torch.Generator().manual_seed(0)
    if config.resolution[0] * config.resolution[1] > _MAX_DRAWN and not any(map(is_noise, tensors)):
        raise UnreadableError(
            "holds no noise maps and makes images too large to draw them", "give a file with its noise"
        )
    if fill(is_noise, lambda shape: torch.randn(shape, generator=draw)):
        _say("holds no noise maps: they are drawn from a fixed seed")
    return filled


def with_average(config: GeneratorConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the mean latent of random z, as training estimates it, and of random classes where there are any."""
    mapping = MappingNetwork(config)
    own = {name.removeprefix("mapping."): tensor for name, tensor in state.items() if name.startswith("mapping.")}
    mapping.load_state_dict(own | {"w_avg": torch.zeros(config.w_dim)})
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(_LATENTS, config.z_dim, generator=draw)
    classes = torch.randint(max(1, config.c_dim), (_LATENTS,), generator=draw)
    total = torch.zeros(config.w_dim)
    size = max(1, _MAX_LABELS // max(1024, config.c_dim))
    with torch.no_grad():
        for part, chosen in zip(z.split(size), classes.split(size), strict=True):
            label = torch.zeros(len(part), config.c_dim)
            if config.c_dim:
                label[torch.arange(len(part)), chosen] = 1
            total += mapping(part, label)[:, 0].sum(dim=0)
    average = total / _LATENTS
    _say(f"holds no average latent: the mean of {_LATENTS} random ones takes its place")
    return {W_AVG: average, **state}


def flat_average(average: Tensor, w_dim: int | None) -> Tensor:
    """An average latent stored as [D], [1, D] or [L, D] as [D]; other shapes stay unchanged."""
    fits = average.ndim > 1 and average.numel() > 0 and average.is_floating_point() and average.shape[-1] == w_dim
    return average.reshape(-1, average.shape[-1]).float().mean(dim=0) if fits else average


def _say(what: str) -> None:
    warnings.warn(f"The file {what}.", stacklevel=2)
