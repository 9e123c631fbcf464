"""Prefetching: prepare the next batch while the GPU works on the current one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Batch = TypeVar("Batch")


def in_order(make: Callable[[Part], Batch], parts: Iterable[Part], ahead: bool) -> Iterator[Batch]:
    """Yield `make(part)` for each part, in order.

    ahead: make the next batch in a thread while the current one is in use. `make` must be a pure function of the part;
    its exceptions are raised in place of its batch.
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
