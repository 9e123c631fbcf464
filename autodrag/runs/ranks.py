"""The processes (ranks) of a run: a single one, or those started by torchrun."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch import distributed as dist

from autodrag.devices import pick_device

T = TypeVar("T")

#: Timeout of a rank that waits for the others: in an evaluation, their shares may differ by hours. If a rank dies,
#: torchrun stops the others at once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process among all ranks."""

    rank: int  # from 0 to world - 1
    world: int  # number of ranks
    device: torch.device  # of this rank

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Mean over ranks, on all of them (all-reduce)."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values = values / self.world
        return values

    def agree(self, decide: Callable[[], T]) -> T:
        """The decision of rank 0, broadcast to all ranks."""
        if self.world == 1:
            return decide()
        decision = [decide() if self.first else None]
        dist.broadcast_object_list(decision, device=self.device)
        return cast(T, decision[0])

    def wait(self) -> None:
        """Barrier, after which files written by other ranks are complete."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the ranks described by torchrun's environment; a single rank without it.

    device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N". Under torchrun, each process uses the GPU of its
    local rank. Raises InputError for a device that does not exist.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = pick_device(device, local if world > 1 else None)
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(rank, world, chosen)
    finally:
        dist.destroy_process_group()
