"""What is timed: generators by name or of published widths, and AutoDrag as it ships or with random weights."""

from functools import partial
from pathlib import Path

import torch

from autodrag.bench.generator import official
from autodrag.data.workers import LoadGenerator
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.models import AutoDrag, ModelConfig
from autodrag.training.latent_statistics import domain_shape, measure
from autodrag.weights import weights_path

OFFICIAL = "official-"  # then the height


def generator_loader(name: str, dtype: str, device: torch.device) -> LoadGenerator:
    """Loads a dataset's or a file's generator, or, as official-512 say, one of published widths and random weights."""
    if name.startswith(OFFICIAL):
        return partial(official, int(name.removeprefix(OFFICIAL)), dtype, True, device)
    return partial(load_generator, name, device, getattr(torch, dtype))


def autodrag_weights(
    generator: FrozenGenerator, model: ModelConfig, given: str | None, folder: Path
) -> tuple[Path, bool]:
    """A weights file for the generator, and whether it is a trained one: the given, what ships, or random, in `folder`.

    A random one costs what a trained one does.
    """
    if given is not None:
        return Path(given), True
    try:
        return weights_path(generator.name), True
    except InputError:
        statistics = measure(generator, model.feature_block, latents=1000, maps=4)
        random = AutoDrag(model, domain_shape(generator, model.feature_block), statistics)
        random.save(folder / "weights.safetensors")
        return folder / "weights.safetensors", False
