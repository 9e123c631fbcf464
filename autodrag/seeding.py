"""Random numbers as a pure function of (seed, stage, index), so that a resumed or split run draws what a whole one would."""

import hashlib

import torch


def rng(seed: int, stage: str, *index: int) -> torch.Generator:
    """A CPU generator whose stream depends on its arguments alone.

    seed: the run's seed. stage: what the draws are for ("trajectory", "stage1", ...). index: any number of integers
    (sample, step, rank, ...). Different arguments give unrelated streams.
    """
    key = repr((seed, stage, index)).encode()
    state = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(state & (2**63 - 1))
