"""OpenMP settings, which take effect only if made before torch is imported."""

import os

SPINS = "10000"  # busy-wait iterations, about 0.1 ms


def share_cores() -> None:
    """Make waiting threads release their core early, unless GOMP_SPINCOUNT is set.

    A drag and its image are many small operations in several threads. By default, a waiting thread spins for
    milliseconds, and when other programs are running, the thread it waits for may need that core. No effect after torch
    is imported, or with another OpenMP than GNU's.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
