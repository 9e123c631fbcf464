"""The processes of a run: one alone, or those that torchrun started."""

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

#: How long a rank waits for the others. In an evaluation, their shares can take hours longer or shorter. If a rank
#: dies, torchrun ends the others at once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process among all ranks."""

    rank: int  # from 0 to world - 1
    world: int  # number of ranks
    device: torch.device  # that this rank computes on

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and logs."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Mean over the ranks, on all of them."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values = values / self.world
        return values

    def agree(self, decide: Callable[[], T]) -> T:
        """What the first rank decides, on all of them."""
        if self.world == 1:
            return decide()
        decision = [decide() if self.first else None]
        dist.broadcast_object_list(decision, device=self.device)
        return cast(T, decision[0])

    def wait(self) -> None:
        """Wait until all ranks get here; the files they wrote before are then complete."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """The ranks that torchrun's environment describes, or this process alone.

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
