"""Several processes share the samples that one of them writes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import distributed as dist

from autodrag.data.matching import Matches
from autodrag.data.share import TOGETHER, Sharing
from autodrag.data.trajectories import NO_MATCHES, MatchedMotion

COUNT = 2 * TOGETHER + 5


def make(rank: int, indices: list[int]) -> Iterator[MatchedMotion]:
    """Samples that record the process that made them."""
    for index in indices:
        point = np.full((1, 2), rank, np.float32)
        yield MatchedMotion(index, 0, Matches(point, point), NO_MATCHES, ())


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    sharing = Sharing(lambda indices: make(rank, indices))
    nothing = Sharing(lambda indices: make(rank, indices))
    if rank == 0:
        made = [(sample.index, int(sample.ends.handles[0, 0])) for sample in sharing(list(range(100, 100 + COUNT)))]
        sharing.close()
        nothing.close()  # a folder that is whole asks for none
        np.save(f"{folder}/made.npy", np.array(made))
    else:
        sharing.help()
        nothing.help()
    dist.destroy_process_group()


def test_samples_come_in_order_from_all_processes(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, __file__, "1", str(tmp_path)])
    process(0, str(tmp_path))
    assert other.wait(timeout=500) == 0
    made = np.load(tmp_path / "made.npy")
    assert made[:, 0].tolist() == list(range(100, 100 + COUNT))
    assert made[:, 1].tolist() == [k % 2 for k in range(COUNT)]


if __name__ == "__main__":
    process(int(sys.argv[1]), sys.argv[2])
