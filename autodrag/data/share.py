"""Distributed generation of samples by torchrun processes, each with its own GPU. Rank 0 writes the samples."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import cast

from torch import distributed as dist

from autodrag.data.trajectories import MatchedMotion

TOGETHER = 16  # samples that each process sends at a time
PATIENCE = timedelta(hours=2)  # timeout for the slowest process to make them

Make = Callable[[list[int]], Iterator[MatchedMotion]]


class Sharing:
    """A `make` for `shards.fill` on rank 0; all other ranks call `help`.

    make: makes samples on one process. Rank r of N makes every N-th sample from the r-th, so the samples are the same
    for any N.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        group = dist.new_group(backend="gloo", timeout=PATIENCE)  # samples are in CPU memory
        self._group = cast(dist.ProcessGroup, group)  # every process is a member
        self._used = False

    def __call__(self, indices: list[int]) -> Iterator[MatchedMotion]:
        """On rank 0: yield the samples, in order."""
        self._used = True
        yield from self._exchange(self._broadcast(indices))

    def help(self) -> None:
        """On other ranks: make this rank's share of the samples."""
        for _ in self._exchange(self._broadcast([])):
            raise AssertionError("only the first process receives samples")

    def close(self) -> None:
        """On rank 0: release the other ranks if no sample was needed."""
        if not self._used:
            self._broadcast([])

    def _broadcast(self, indices: list[int]) -> list[int]:
        """Broadcast the indices of rank 0."""
        box = [indices]
        dist.broadcast_object_list(box, 0, self._group)
        return box[0]

    def _exchange(self, indices: list[int]) -> Iterator[MatchedMotion]:
        mine = self._make(indices[self._rank :: self._world])
        for _ in range(0, len(indices), self._world * TOGETHER):
            part = list(islice(mine, TOGETHER))
            parts: list[list[MatchedMotion]] | None = [[]] * self._world if self._rank == 0 else None
            dist.gather_object(part, parts, 0, self._group)
            for place in range(TOGETHER if parts else 0):
                yield from (each[place] for each in parts or () if place < len(each))
