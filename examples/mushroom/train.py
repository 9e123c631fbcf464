"""Trains a 64 px StyleGAN2 on the mushroom: rows 0-5 of its latents carry the geometry, the others the colours.

    python examples/mushroom/train.py        # about half an hour of one CPU core

The generator learns by regression from z to the render of z's parameters. Half of a batch takes geometry and colours
from two latents, as style mixing does.
"""

import argparse
import time
from pathlib import Path

import torch
from renderer import BACKGROUND, COLOURS, GEOMETRY, SIZE, grid, places, render
from torch import Tensor
from torch.nn import functional as F

from autodrag.latents import EDITED_ROWS
from autodrag.seeding import rng, seeded
from autodrag.stylegan2 import Generator, GeneratorConfig, write_safetensors

CONFIG = GeneratorConfig(
    z_dim=32,
    c_dim=0,
    w_dim=64,
    resolution=(64, 64),
    channels={4: 96, 8: 96, 16: 96, 32: 64, 64: 32},
    mapping_layers=3,
    layer_features=128,
    mapping_lr_multiplier=1.0,
)
WEIGHT = 5.0  # additional weight of the mushroom's errors over those of the landscape
SPREAD = 0.65  # standard deviation of a parameter before tanh
LR = 3e-3
AVERAGE = 0.998  # decay of the averaged weights


def parameters(z: Tensor) -> tuple[Tensor, Tensor]:
    """(geometry, colours) of latents z [B, 32]; the mapping network normalises z, so they ignore its length."""
    unit = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
    both = torch.tanh(SPREAD * unit[:, : GEOMETRY + COLOURS])
    return both[:, :GEOMETRY], both[:, GEOMETRY:]


def loss_of(network: Generator, z: Tensor, low: bool) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error in [0, 1]). z: [2, B, 32], latents of the geometry and of the colours."""
    geometry = parameters(z[0])[0]
    target = render(geometry, parameters(z[1])[1])
    pixels = torch.stack([axis.flatten() for axis in grid(SIZE)], dim=-1) * (SIZE / 2) + (SIZE - 1) / 2
    weight = 1 + WEIGHT * (places(geometry, pixels.expand(len(geometry), -1, -1)).part != BACKGROUND)
    weight = weight.view(-1, 1, SIZE, SIZE).sqrt()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        ws = network.mapping(z.flatten(0, 1)).unflatten(0, (2, -1))
        rows = torch.cat([ws[0, :, :EDITED_ROWS], ws[1, :, EDITED_ROWS:]], dim=1)
        image = network.synthesis(rows, noise="none")[0].float()
    difference = (image - target) * weight
    loss = difference.square().mean() + sum(d.square().mean() for d in (difference.diff(dim=2), difference.diff(dim=3)))
    loss = loss + sum(F.avg_pool2d(difference, k).square().mean() for k in (2, 4, 8))  # coarse errors learn faster
    return loss, (image - target).detach().abs().mean() / 2


def train(out: Path, images: int, batch: int, seed: int, low: bool) -> None:
    """Train on `images` renders and write the averaged weights to `out`. low: whether to compute in bfloat16."""
    with seeded(seed, "mushroom/weights"):
        network = Generator(CONFIG)
    average = Generator(CONFIG)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), lr=LR, betas=(0.9, 0.99))
    steps, start = images // batch, time.monotonic()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps, pct_start=0.02)
    for step in range(steps):
        draws = rng(seed, "mushroom", step)
        z = torch.randn(2, batch, CONFIG.z_dim, generator=draws)
        z[1, : batch // 2] = z[0, : batch // 2]
        loss, error = loss_of(network, z, low)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            keep = min(AVERAGE, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            rate = (step + 1) * batch / (time.monotonic() - start)
            print(f"{(step + 1) * batch} images, {rate:.0f} a second, error {error:.4f}", flush=True)
    with torch.no_grad():
        z = torch.randn(10_000, CONFIG.z_dim, generator=rng(seed, "mushroom/average"))
        average.mapping.w_avg.copy_(average.mapping(z)[:, 0].mean(dim=0))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(out, CONFIG, average.state_dict())
    print(f"{out} written")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/mushroom/mushroom.safetensors"))
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float32", action="store_true", help="for a CPU without bfloat16 instructions")
    options = parser.parse_args()
    train(options.out, options.images, options.batch, options.seed, not options.float32)
