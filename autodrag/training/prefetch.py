"""Batches prepared while the GPU works on the one before."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Batch = TypeVar("Batch")


def in_order(make: Callable[[Part], Batch], parts: Iterable[Part], ahead: bool) -> Iterator[Batch]:
    """`make(part)` for each part, in order.

    ahead: make each batch in a thread while the one before is in use, instead of when it is needed. `make` must be a
    pure function of the part. Its exceptions are raised where its batch would be returned.
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
