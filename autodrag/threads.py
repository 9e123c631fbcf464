"""How PyTorch's threads wait for each other; torch reads it while it is imported, so this comes first."""

import os

SPINS = "10000"  # rounds of waiting, about 0.1 ms


def share_cores() -> None:
    """Have threads that wait give their core away soon, unless the environment says otherwise.

    A drag and its picture are many small operations in several threads. As it comes, a thread that waits for another
    keeps its core busy for milliseconds, and beside any other program the other one then waits for that core.
    Does nothing after torch is imported, and where OpenMP is not GNU's.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
