"""The folder of a run: config, environment, log, metrics and images.

```
folder/
  config.yaml    the resolved config
  env.json       versions, machine, commit, command
  log.txt        log messages
  stats.jsonl    logged numbers, one JSON object per line
  checkpoints/   training state
  events.out.*   the same numbers, and images, for TensorBoard
  weights.safetensors
```
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from autodrag.files import write_whole


class RunFolder:
    """Opened only by the first rank. step: step that the run resumes from; 0 for a new run.

    Raises InputError if its files cannot be written; those of an earlier run are then unchanged.
    """

    def __init__(self, path: Path, config: str, step: int = 0) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        path.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: without its config, a run cannot be resumed.
        write_whole(path / "config.yaml", config.encode())
        write_whole(path / "env.json", (json.dumps(environment(), indent=1) + "\n").encode())
        _cut_after(path / "stats.jsonl", step)
        self._log = (path / "log.txt").open("a", encoding="utf-8")
        self._stats = (path / "stats.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(path), purge_step=step + 1)

    def say(self, line: str) -> None:
        """Log a line to the terminal and to log.txt."""
        tqdm.write(line, file=sys.stderr)
        with _going_on():
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
            self._log.flush()

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log numbers after `step` steps to stats.jsonl and TensorBoard."""
        with _going_on():
            self._stats.write(json.dumps({"step": step, **numbers}) + "\n")
            self._stats.flush()
        with _going_on():
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)

    def show(self, step: int, pictures: Mapping[str, UInt8[Tensor, "3 H W"]]) -> None:
        """Log images after `step` steps to TensorBoard."""
        with _going_on():
            for name, picture in pictures.items():
                self._board.add_image(name, picture, step)
            self._board.flush()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with _going_on():
                self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {kind.__name__ if kind else ''}: {error}\n")
        for file in (self._log, self._stats, self._board):
            with _going_on():
                file.close()


def _going_on() -> AbstractContextManager[None]:
    """A log line is lost where the disk is full: that must not end a training, whose checkpoints wait for space."""
    return suppress(OSError)


def environment() -> dict[str, object]:
    """Versions, machine, commit and command of this process."""
    return {
        "command": sys.argv,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.platform(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def commit() -> str | None:
    """The git commit of this package, with "+" if files are modified; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cut_after(stats: Path, step: int) -> None:
    """Drop lines that a killed run logged after its last checkpoint, as these steps are repeated."""
    if stats.exists():
        lines = [line for line in stats.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        write_whole(stats, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step).encode())
