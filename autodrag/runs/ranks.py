"""The processes of a training: one alone, or those that torchrun started."""

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

#: How long a rank waits for the others: in an evaluation their shares may differ by hours. A rank that dies does not
#: keep them waiting, torchrun ends them.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process among all. device: what it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and talks."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Mean over the ranks, the same on each of them."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values = values / self.world
        return values

    def agree(self, decide: Callable[[], T]) -> T:
        """What the first rank decides, on each of them."""
        if self.world == 1:
            return decide()
        said = [decide() if self.first else None]
        dist.broadcast_object_list(said, device=self.device)
        return cast(T, said[0])

    def wait(self) -> None:
        """Until all ranks have come here, with what they have written before."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """The ranks that torchrun's environment describes, or this process alone.

    device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N". Under torchrun each process of a machine takes
    the GPU of its local number. Raises InputError for a device that is not there.
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
