"""Batched generation of samples on a GPU: one process synthesises and matches, others find keypoints on the CPU.

Up to rounding, samples equal those of `make_sample`. Each batch is a Python generator that yields while it waits for
the CPU, so that the GPU can work on other batches.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from autodrag import geometry
from autodrag.data.hamming import nearest_both_ways
from autodrag.data.matching import (
    Matches,
    MatchingConfig,
    View,
    describe,
    in_image_pixels,
    moved_alike,
    to_levels,
)
from autodrag.data.trajectories import (
    FEATURE_BLOCK,
    NO_MATCHES,
    MatchedMotion,
    Recipe,
    landmarks_of,
    latent_motion,
    nothing_found,
    outlines_of,
    some_of,
)
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import LandmarkDetector

BATCH = 16  # samples per batch
IN_FLIGHT = 3  # concurrent batches: while one waits for keypoints, the GPU works on another

Waits: TypeAlias = Generator[list["Future[Any]"], None, None]
Points: TypeAlias = Float32[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Maker:
    """Generates samples in batches."""

    generator: FrozenGenerator
    recipe: Recipe
    pool: Executor  # for ORB and GMS
    detector: LandmarkDetector | None = None  # for recipes with landmarks

    def samples(self, indices: Iterable[int]) -> Iterator[MatchedMotion]:
        """Yield the samples of ascending indices, in order."""
        order = deque(indices)
        waiting = deque((index, 0) for index in order)
        made: dict[int, MatchedMotion] = {}
        active: deque[tuple[Waits, list[Future[Any]]]] = deque()
        while order:
            while waiting and len(active) < IN_FLIGHT:
                draws = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                active.append((self._batch(draws, made, waiting), []))
            batch, futures = active.popleft()
            for future in futures:
                future.result()
            if (more := next(batch, None)) is not None:
                active.append((batch, more))
            while order and order[0] in made:
                yield made.pop(order.popleft())

    @torch.no_grad()
    def _batch(
        self, draws: list[tuple[int, int]], made: dict[int, MatchedMotion], again: deque[tuple[int, int]]
    ) -> Waits:
        """Generate the draws (index, attempt): samples go to `made`, retries of draws without a match to `again`."""
        cfg = self.recipe.trajectory
        ws = latent_motion(self.generator, cfg, self.recipe.seed, draws)
        images, features = self._look(ws[:, [0, -1]].flatten(0, 1))
        views: list[View] = []
        yield from self._views(images, features, views)
        pairs = list(zip(views[::2], views[1::2], strict=True))
        ends: list[Matches] = []
        yield from self._matches(pairs, cfg.handle_px, ends)
        found = [i for i, matches in enumerate(ends) if len(matches.handles)]
        for i, (index, attempt) in enumerate(draws):
            if i in found:
                continue
            if attempt + 1 < cfg.attempts:
                again.appendleft((index, attempt + 1))
            else:
                made[index] = nothing_found(self.recipe, index)
        steps = [(NO_MATCHES,) * (ws.shape[1] - 1)] * len(draws)
        if cfg.match_steps and found:
            yield from self._steps(ws, found, pairs, steps)
        height = self.generator.resolution[0]
        for i in found:
            index, attempt = draws[i]
            kept = some_of(ends[i], self.recipe, (index, 0), height)
            mine = tuple(some_of(step, self.recipe, (index, 1 + j), height) for j, step in enumerate(steps[i]))
            both = images[2 * i : 2 * i + 2]
            landmarks = NO_MATCHES if self.detector is None else landmarks_of(self.detector, both)
            outlines = outlines_of(self.generator, self.recipe, index, ws[i], both[0])
            made[index] = MatchedMotion(index, attempt, kept, landmarks, mine, outlines)

    def _steps(
        self,
        ws: Float[Tensor, "B waypoints L D"],
        found: list[int],
        ends: list[tuple[View, View]],
        steps: list[tuple[Matches, ...]],
    ) -> Waits:
        """Fill in the matches of (I_i, I_i+1) for the draws in `found`."""
        cfg, n = self.recipe.trajectory, ws.shape[1] - 1
        inner: list[View] = []
        if n > 1:
            yield from self._views(*self._look(ws[found, 1:-1].flatten(0, 1)), inner)
        pairs: list[tuple[View, View]] = []
        for place, i in enumerate(found):
            between = inner[place * (n - 1) : (place + 1) * (n - 1)]
            pairs += pairwise([ends[i][0], *between, ends[i][1]])
        step_px = cfg.motion_px / (2 * n) if cfg.step_px is None else cfg.step_px
        matches: list[Matches] = []
        yield from self._matches(pairs, step_px, matches)
        for place, i in enumerate(found):
            steps[i] = tuple(matches[place * n : (place + 1) * n])

    def _look(self, ws: Float[Tensor, "B L D"]) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B C h w"]]:
        """Images and features without noise, as in `make_sample`."""
        images, features = self.generator.synthesize(ws, noise="none", return_features=FEATURE_BLOCK)
        return images, features

    def _views(self, images: Float[Tensor, "B 3 H W"], features: Float[Tensor, "B C h w"], views: list[View]) -> Waits:
        """Append the views of the images."""
        cfg, content = self.recipe.trajectory.match, self.recipe.content
        futures = [self.pool.submit(describe, levels, cfg, content) for levels in to_levels(images).cpu().numpy()]
        yield futures
        views += [View(*future.result(), f) for future, f in zip(futures, features, strict=True)]

    def _matches(self, pairs: Sequence[tuple[View, View]], min_px: float, matches: list[Matches]) -> Waits:
        """Append the matches of each pair, as `match` finds them."""
        cfg, image_hw = self.recipe.trajectory.match, self.generator.resolution
        some = [i for i, (a, b) in enumerate(pairs) if len(a.points) and len(b.points)]
        moved: dict[int, tuple[Points, Points]] = {}
        if some:
            sets = zip(*((pairs[i][0].descriptors, pairs[i][1].descriptors) for i in some), strict=True)
            first, second = map(list, sets)
            near = nearest_both_ways(first, second, self.generator.device)
            futures = [
                self.pool.submit(guarded, pairs[i][0].points, pairs[i][1].points, pairs[i][0].hw, *n, min_px, cfg)
                for i, n in zip(some, near, strict=True)
            ]
            yield futures
            moved = {i: future.result() for i, future in zip(some, futures, strict=True)}
            moved = alike([pairs[i] for i in some], moved, cfg)
        empty = np.zeros((0, 2), np.float32)
        for i, (a, _) in enumerate(pairs):
            matches.append(in_image_pixels(*moved.get(i, (empty, empty)), a.hw, image_hw))


def guarded(
    a: Float32[np.ndarray, "N 2"],
    b: Float32[np.ndarray, "M 2"],
    hw: tuple[int, int],
    target: Int[np.ndarray, " N"],
    bits: Int[np.ndarray, " N"],
    back: Int[np.ndarray, " M"],
    min_px: float,
    cfg: MatchingConfig,
) -> tuple[Points, Points]:
    """`moved_alike` with picklable arguments. back: nearest neighbour of each keypoint of the second image."""
    return moved_alike(a, b, hw, target, bits, back.__getitem__, min_px, cfg)


def alike(
    pairs: Sequence[tuple[View, View]], moved: dict[int, tuple[Points, Points]], cfg: MatchingConfig
) -> dict[int, tuple[Points, Points]]:
    """The matches of each pair that pass the feature filter of `match`, for all pairs at once."""
    first, second = ([pair[side].features for pair in pairs] for side in (0, 1))
    a, b = (torch.stack([f for f in features if f is not None]) for features in (first, second))
    handles, targets = (
        pad_sequence([torch.from_numpy(points[side]) for points in moved.values()], batch_first=True).to(a.device)
        for side in (0, 1)
    )
    if handles.shape[1] == 0:
        return moved
    hw, feature_hw = pairs[0][0].hw, (a.shape[2], a.shape[3])
    handles, targets = (geometry.rescale(points, hw, feature_hw) for points in (handles, targets))
    start = geometry.sample(a, handles)
    along = (start - geometry.sample(b, targets)).norm(dim=2)
    staying = (start - geometry.sample(b, handles)).norm(dim=2)
    kept = (along <= cfg.feature_ratio * staying).cpu().numpy()
    return {i: (h[keep[: len(h)]], t[keep[: len(t)]]) for (i, (h, t)), keep in zip(moved.items(), kept, strict=True)}
