"""Samples made by several processes that torchrun started, each with a GPU of its own; the first one writes them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice

from torch import distributed as dist

from autodrag.data.trajectories import MatchedMotion

TOGETHER = 16  # samples of each process that are sent at a time
PATIENCE = timedelta(hours=2)  # for the slowest process to make so many

Make = Callable[[list[int]], Iterator[MatchedMotion]]


class Sharing:
    """A `make` for `shards.fill` on the first process, of which all others `help`. make: what each of them does alone.

    Sample k of those asked for is made by process k modulo their number, so the samples are those that one would make.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        group = dist.new_group(backend="gloo", timeout=PATIENCE)  # samples lie in the memory of the CPU
        assert isinstance(group, dist.ProcessGroup)  # all processes are in it
        self._group = group
        self._asked = False

    def __call__(self, indices: list[int]) -> Iterator[MatchedMotion]:
        """On the first process: the samples, in their order."""
        self._asked = True
        yield from self._exchange(self._told(indices))

    def help(self) -> None:
        """On every other process: make a share of what the first one asks for, until it has all."""
        for _ in self._exchange(self._told([])):
            raise AssertionError("only the first process receives samples")

    def close(self) -> None:
        """On the first process: send the others home if it had nothing to ask for."""
        if not self._asked:
            self._told([])

    def _told(self, indices: list[int]) -> list[int]:
        """What the first process asks for, on all."""
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
