"""Worker processes that make samples in parallel, or find keypoints for the one process that uses the GPU."""

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
    """Yield the samples of `indices`, in order.

    load: loads the generator; must be picklable. workers: number of processes; 0: this process only. batched: for
    GPUs: this process loads the generator and processes samples in batches, and the workers only find keypoints.
    Otherwise, each worker loads the generator.
    """
    if batched:
        yield from _make_batched(load, recipe, workers, indices)
        return
    if workers == 0:
        yield from map(_maker(load, recipe), indices)
        return
    threads = max(1, available_cores() // workers)
    # Spawned, because forked processes cannot safely use CUDA or OpenMP.
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
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _set_up_worker)
    try:
        yield from Maker(generator, recipe, pool, detector).samples(indices)
    finally:
        pool.shutdown(cancel_futures=True)


def _maker(load: LoadGenerator, recipe: Recipe) -> Callable[[int], MatchedMotion]:
    """A function that makes the sample of an index, with the generator loaded."""
    generator = load()
    detector = load_detector(generator.name, MODEL_DIR) if recipe.trajectory.landmarks else None
    return partial(make_sample, generator, recipe, detector=detector)


class _Worker:
    """The state of a worker process."""

    make_here: Callable[[int], MatchedMotion]

    @classmethod
    def start(cls, load: LoadGenerator, recipe: Recipe, threads: int) -> None:
        _set_up_worker()
        torch.set_num_threads(threads)
        cls.make_here = staticmethod(_maker(load, recipe))

    @classmethod
    def make(cls, index: int) -> MatchedMotion:
        return cls.make_here(index)


def _set_up_worker() -> None:
    """Set up a worker process: one thread, ignore Ctrl-C, exit with the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    cv2.setNumThreads(1)  # the processes are the parallelism
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """Exit when the parent is killed, which then cannot shut down its pool: the worker would wait forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
