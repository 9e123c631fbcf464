"""Models for benchmarks: generators by name or with published widths, AutoDrag bundled or with random weights."""

from functools import partial
from pathlib import Path

import torch

from autodrag.bench.generator import official
from autodrag.data.workers import LoadGenerator
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.models import AutoDrag, ModelConfig
from autodrag.training.latent_statistics import domain_shape, measure
from autodrag.weights import weights_path

OFFICIAL = "official-"  # prefix, followed by the height


def generator_loader(name: str, dtype: str, device: torch.device) -> LoadGenerator:
    """A loader of a dataset's or file's generator, or of random weights in the published widths (official-512).

    Loading raises InputError for a height that is none.
    """
    if name.startswith(OFFICIAL):
        height = name.removeprefix(OFFICIAL)
        return partial(official, int(height) if height.isdigit() else 0, dtype, True, device)
    return partial(load_generator, name, device, getattr(torch, dtype))


def autodrag_weights(
    generator: FrozenGenerator, model: ModelConfig, given: str | None, folder: Path
) -> tuple[Path, bool]:
    """A weights file for the generator (given, bundled, or random in `folder`), and whether it is trained.

    A random model costs the same as a trained one.
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
