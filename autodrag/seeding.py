"""Random numbers as a pure function of (seed, stage, index), so that a resumed or split run equals a whole one."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def rng(seed: int, stage: str, *index: int) -> torch.Generator:
    """A CPU generator whose stream depends on its arguments alone.

    seed: of the run. stage: purpose of the draws ("trajectory", "stage1", ...). index: any integers (sample, step,
    rank, ...). Different arguments give unrelated streams.
    """
    return torch.Generator().manual_seed(_state(seed, stage, *index))


@contextmanager
def seeded(seed: int, stage: str, *index: int) -> Iterator[None]:
    """Inside, torch's own CPU stream (which initialises modules) depends on the arguments alone; later it goes on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_state(seed, stage, *index))
        yield


def _state(seed: int, stage: str, *index: int) -> int:
    key = repr((seed, stage, index)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") & (2**63 - 1)
