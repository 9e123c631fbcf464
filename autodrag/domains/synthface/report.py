"""Measurements for the model card, on seeds not used in training."""

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.data.matching import MatchingConfig, match, view
from autodrag.data.trajectories import turned
from autodrag.domains.synthface.correspondence import on_skin, true_targets
from autodrag.domains.synthface.parameters import GEOMETRY, Z_DIM, coordinates, parameters, squash
from autodrag.domains.synthface.renderer import render
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels
from autodrag.latents import join, split
from autodrag.loading import load_generator
from autodrag.seeding import rng
from autodrag.vision.detectors import LandmarkDetector

SEED = 2**20  # training uses small seeds


def sharpness(images: Float[Tensor, "B 3 H W"]) -> float:
    """Mean absolute difference between neighbouring pixels, for images scaled to [0, 1]."""
    return float(images.diff(dim=3).abs().mean() + images.diff(dim=2).abs().mean()) / 2


def _draw(count: int, *index: int) -> Float[Tensor, "B Z"]:
    return torch.randn(count, Z_DIM, generator=rng(SEED, "synthface/report", *index))


def fidelity(generator: FrozenGenerator, count: int, batch: int = 8) -> dict[str, float]:
    """Generated images compared with renders: mean absolute error in [0, 1] and relative sharpness."""
    errors, sharp, wanted = [], [], []
    for start in range(0, count, batch):
        z = _draw(min(batch, count - start), 0, start)
        target = render(*parameters(z)).image
        image = generator.synthesize(generator.map(z)).clamp(-1, 1)
        errors.append(float((image - target).abs().mean()) / 2)
        sharp.append(sharpness(image))
        wanted.append(sharpness(target))
    return {"mae": sum(errors) / len(errors), "sharpness": sum(sharp) / sum(wanted)}


def _distance(found: Float[Tensor, "68 2"] | None, truth: Float[Tensor, "68 2"] | None) -> list[float]:
    return [] if found is None or truth is None else [float((found - truth).norm(dim=-1).mean())]


def landmark_error(
    generator: FrozenGenerator, detector: LandmarkDetector, count: int, batch: int = 8
) -> dict[str, float]:
    """Error of the predictor on generated images, in pixels at 256, and fraction of faces not detected."""
    errors: list[float] = []
    for start in range(0, count, batch):
        z = _draw(min(batch, count - start), 1, start)
        truth = render(*parameters(z)).landmarks
        images = generator.synthesize(generator.map(z))
        for found, wanted in zip(detector(to_pixels(images)), truth, strict=True):
            errors += _distance(found, wanted)
    return {"landmark_error": sum(errors) / len(errors), "not_found": 1 - len(errors) / count}


def swaps(generator: FrozenGenerator, detector: LandmarkDetector, count: int, batch: int = 8) -> dict[str, float]:
    """Motion of landmarks when rows 6.. are swapped, and their error when rows 0-5 are swapped."""
    kept: list[float] = []
    carried: list[float] = []
    for start in range(0, count, batch):
        ws = generator.map(_draw(2 * batch, 2, start))
        (head_a, tail_a), (head_b, tail_b) = split(ws[:batch]), split(ws[batch:])
        mixed = (ws[:batch], join(head_a, tail_b), ws[batch:], join(head_b, tail_a))
        a, a_other, b, b_carried = (detector(to_pixels(generator.synthesize(w))) for w in mixed)
        for i in range(batch):
            kept += _distance(a_other[i], a[i])
            carried += _distance(b_carried[i], b[i])
    return {"moved_by_rows_6": sum(kept) / len(kept), "missed_by_rows_0_5": sum(carried) / len(carried)}


def walk(generator: FrozenGenerator, z: Float[Tensor, "2 Z"], steps: int) -> tuple[Tensor, Tensor]:
    """Images of `steps` interpolated latents, and renders of interpolated parameters."""
    along = torch.linspace(0, 1, steps)
    ws = generator.map(z)
    images = generator.synthesize(torch.lerp(ws[:1], ws[1:], along[:, None, None]))
    between = squash(torch.lerp(coordinates(z[:1]), coordinates(z[1:]), along[:, None]))
    return images.clamp(-1, 1), render(between[:, : len(GEOMETRY)], between[:, len(GEOMETRY) :]).image


def walking(
    generator: FrozenGenerator, detector: LandmarkDetector, walks: int = 16, steps: int = 9
) -> dict[str, float]:
    """Error of interpolated latents against interpolated parameters; longest landmark step relative to the mean."""
    errors, jumps = [], []
    missing = 0
    for index in range(walks):
        images, renders = walk(generator, _draw(2, 3, index), steps)
        errors.append(float((images - renders).abs().mean()) / 2)
        found = [f for f in detector(to_pixels(images)) if f is not None]
        missing += steps - len(found)
        lengths = [float((b - a).norm(dim=-1).mean()) for a, b in pairwise(found)]
        jumps.append(max(lengths) / (sum(lengths) / len(lengths)))
    means = {"walk_mae": sum(errors) / walks, "walk_longest_step": sum(jumps) / walks}
    return means | {"walk_not_found": missing / (walks * steps)}


@dataclass(frozen=True)
class Frames:
    """Trajectories whose frames are matched."""

    n: int  # this and the next two as in `TrajectoryConfig`
    angle: tuple[float, float]
    handle_px: float
    motion_px: float  # of the dataset
    pairs: int  # number of trajectories


def frame_matches(generator: FrozenGenerator, settings: MatchingConfig, frames: Frames) -> dict[str, float]:
    """Matches between first and last frames of trajectories, and between neighbouring frames.

    Their mean number, and their median error in pixels at 256 on bare skin, where the truth is known.
    """
    found: dict[str, list[tuple[int, Tensor]]] = {"ends": [], "steps": []}
    for index in range(frames.pairs):
        z, ws = _trajectory(generator, frames, index)
        images, features = generator.synthesize(ws, noise="none", return_features=6)
        views = [view(image, settings, None, f) for image, f in zip(images, features, strict=True)]
        start, end = coordinates(z)[:, : len(GEOMETRY)]
        geometry = squash(torch.lerp(start, end, torch.linspace(0, 1, frames.n + 1)[:, None]))
        for first, second in [(0, frames.n), *pairwise(range(frames.n + 1))]:
            ends = (first, second) == (0, frames.n)
            min_px = frames.handle_px if ends else frames.motion_px / (2 * frames.n)
            matches = match(views[first], views[second], min_px, settings, generator.resolution, generator.device)
            handles = torch.from_numpy(matches.handles)
            truth = true_targets(geometry[first], geometry[second], handles, generator.resolution[0])
            judged = on_skin(render(geometry[first : first + 1], parameters(z)[1][:1]).maps[0], handles)
            errors = (truth - torch.from_numpy(matches.targets)).norm(dim=1)[judged]
            found["ends" if ends else "steps"].append((len(handles), errors))
    numbers = {}
    for kind, pairs in found.items():
        numbers[f"{kind}_matches"] = sum(count for count, _ in pairs) / len(pairs)
        numbers[f"{kind}_error"] = float(torch.cat([errors for _, errors in pairs]).median())
    return numbers


def _trajectory(generator: FrozenGenerator, frames: Frames, index: int) -> tuple[Tensor, Tensor]:
    """z_0 and the z of w*, [2, Z], and w_0..w_n, [n + 1, L, D], in equal steps to w*."""
    z, other = _draw(2, 5, index).split(1)
    low, high = frames.angle
    degrees = low + (high - low) * torch.rand(1, generator=rng(SEED, "synthface/report", 6, index))
    both = torch.cat([z, turned(z, other, degrees)])
    ws = generator.map(both)
    (start, tail), (end, _) = split(ws[:1]), split(ws[1:])
    along = torch.linspace(0, 1, frames.n + 1)[:, None, None]
    return both, join(torch.lerp(start, end, along), tail.expand(frames.n + 1, -1, -1))


def speed(path: Path) -> dict[str, float]:
    """Seconds to load the generator and to synthesise an image (median of nine)."""
    begin = time.perf_counter()
    generator = load_generator(path)
    loaded = time.perf_counter() - begin
    ws = generator.map(_draw(1, 4))
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        generator.synthesize(ws)
        seconds.append(time.perf_counter() - begin)
    return {"load_seconds": loaded, "image_seconds": sorted(seconds[1:])[4]}
