"""Many processes that make samples side by side, or find keypoints for the one process that has the GPU."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process

import cv2
import torch

from autodrag.config import MODEL_DIR
from autodrag.data.batched import Maker
from autodrag.data.trajectories import MatchedMotion, Recipe, make_sample
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import load_detector

LoadGenerator = Callable[[], FrozenGenerator]


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_samples(
    load: LoadGenerator, recipe: Recipe, workers: int, indices: Iterable[int], batched: bool = False
) -> Iterator[MatchedMotion]:
    """The samples of `indices`, in their order.

    workers: processes; 0 works in this one. load: must be picklable. batched: this process alone has the generator and
    works on many samples at once, as suits a GPU, and the others find keypoints; else each has a generator.
    """
    if batched:
        yield from _make_batched(load, recipe, workers, indices)
        return
    if workers == 0:
        yield from map(_maker(load, recipe), indices)
        return
    threads = max(1, available_cores() // workers)
    # A fresh interpreter each: a forked one could use neither CUDA nor OpenMP safely.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _Worker.start, (load, recipe, threads))
    try:
        yield from pool.map(_Worker.make, indices)
    finally:
        pool.shutdown(cancel_futures=True)


def _make_batched(load: LoadGenerator, recipe: Recipe, workers: int, indices: Iterable[int]) -> Iterator[MatchedMotion]:
    generator = load()
    detector = load_detector(generator.name, MODEL_DIR) if recipe.trajectory.landmarks else None
    pool: Executor = ThreadPoolExecutor(1)
    if workers > 0:
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _alone_with_one_thread)
    try:
        yield from Maker(generator, recipe, pool, detector).samples(indices)
    finally:
        pool.shutdown(cancel_futures=True)


def _maker(load: LoadGenerator, recipe: Recipe) -> Callable[[int], MatchedMotion]:
    """What makes the sample of an index, with all it needs loaded."""
    generator = load()
    detector = load_detector(generator.name, MODEL_DIR) if recipe.trajectory.landmarks else None
    return partial(make_sample, generator, recipe, detector=detector)


class _Worker:
    """The state of a worker process."""

    make_here: Callable[[int], MatchedMotion]

    @classmethod
    def start(cls, load: LoadGenerator, recipe: Recipe, threads: int) -> None:
        _alone_with_one_thread()
        torch.set_num_threads(threads)
        cls.make_here = staticmethod(_maker(load, recipe))

    @classmethod
    def make(cls, index: int) -> MatchedMotion:
        return cls.make_here(index)


def _alone_with_one_thread() -> None:
    """At the start of a process that its parent gives work to."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act upon
    cv2.setNumThreads(1)  # the processes are the parallelism
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A killed parent cannot shut its pool down, and an idle worker would wait for it for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
