"""Training of the reader (`autodrag.domains.synthface.reader`)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.reader import Reader, ReaderNetwork, small
from autodrag.domains.synthface.renderer import render
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.seeding import rng, seeded

RENDER_SIZE = 128  # pixels, twice the input of the network
HELD_OUT = 0.05  # fraction of the faces used for validation


@dataclass(frozen=True)
class ReaderTraining:
    """Settings of the training of the reader."""

    faces: int  # number of images, half rendered and half generated
    epochs: int
    batch: int
    lr: float  # initial; cosine decay to 0
    seed: int


def make_reader(generator: FrozenGenerator, path: Path, config: ReaderTraining) -> dict[str, float]:
    """Train and write the reader; returns the mean absolute validation error of the parameters in [-1, 1]."""
    images, wanted = labelled(generator, config.faces, config.seed)
    kept = max(1, round(HELD_OUT * len(images)))
    with seeded(config.seed, "synthface/reader weights"):
        network = ReaderNetwork()
    _fit(network, images[kept:], wanted[kept:], config)
    reader = Reader(network, torch.device("cpu"))
    read = torch.cat([reader.geometry(images[:kept]), reader.appearance(images[:kept])], dim=1)
    error = (read - wanted[:kept]).abs().mean().item()
    guess = (wanted[:kept] - wanted[kept:].mean(dim=0)).abs().mean().item()
    network.save(path, {"dataset": "synthface", "error": f"{error:.4f}", "error of the mean": f"{guess:.4f}"})
    return {"error": error, "error of the mean": guess}


@torch.no_grad()
def labelled(
    generator: FrozenGenerator, count: int, seed: int, batch: int = 8
) -> tuple[Float[Tensor, "N 3 size size"], Float[Tensor, "N P"]]:
    """Small images with their parameters. Geometry and appearance come from different latents, as in an edit."""
    images, wanted = [], []
    for start in tqdm(range(0, count, batch), desc="faces", leave=False):
        z = torch.randn(2, batch, Z_DIM, generator=rng(seed, "synthface/reader", start))
        (geometry, _), (_, appearance) = parameters(z[0]), parameters(z[1])
        if start // batch % 2 == 0:
            first, second = (generator.map(part) for part in z)
            images.append(small(generator.synthesize(join(split(first)[0], split(second)[1])).cpu()))
        else:
            images.append(small(render(geometry, appearance, RENDER_SIZE).image))
        wanted.append(torch.cat([geometry, appearance], dim=1))
    return torch.cat(images)[:count], torch.cat(wanted)[:count]


def _fit(network: ReaderNetwork, images: Tensor, wanted: Tensor, config: ReaderTraining) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr)
    steps = config.epochs * math.ceil(len(images) / config.batch)
    for step, chosen in enumerate(tqdm(_batches(len(images), config), desc="reader", total=steps, leave=False)):
        optimizer.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * step / steps)) / 2
        _, read = network(images[chosen])
        loss = F.smooth_l1_loss(read, wanted[chosen], beta=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _batches(count: int, config: ReaderTraining) -> Iterator[Tensor]:
    for epoch in range(config.epochs):
        order = torch.randperm(count, generator=rng(config.seed, "synthface/reader order", epoch))
        yield from order.split(config.batch)
