"""Batches made while the GPU still works on the one before."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Batch = TypeVar("Batch")


def in_order(make: Callable[[Part], Batch], parts: Iterable[Part], ahead: bool) -> Iterator[Batch]:
    """`make` of each part, in order.

    ahead: made in a thread, one part earlier than it is asked for; else when it is asked for. `make` must be a pure
    function of the part. What it raises comes where its batch would have.
    """
    if not ahead:
        yield from map(make, parts)
        return
    with ThreadPoolExecutor(1, "batches") as executor:
        before: Future[Batch] | None = None
        for part in parts:
            following = executor.submit(make, part)
            if before is not None:
                yield before.result()
            before = following
        if before is not None:
            yield before.result()
