"""Random numbers as a pure function of (seed, stage, index), equal in resumed and distributed runs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def rng(seed: int, stage: str, *index: int) -> torch.Generator:
    """A CPU generator whose stream depends only on the arguments.

    seed: of the run. stage: purpose of the draws ("trajectory", "stage1", ...). index: any integers (sample, step,
    rank, ...). Different arguments give independent streams.
    """
    return torch.Generator().manual_seed(_state(seed, stage, *index))


@contextmanager
def seeded(seed: int, stage: str, *index: int) -> Iterator[None]:
    """Seed torch's global CPU generator, which initialises modules, within the context; restores its state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_state(seed, stage, *index))
        yield


def _state(seed: int, stage: str, *index: int) -> int:
    key = repr((seed, stage, index)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") & (2**63 - 1)
