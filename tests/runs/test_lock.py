"""Two runs in one folder."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from autodrag.errors import InputError
from autodrag.runs.lock import exclusive


def test_lock_is_there_while_held_and_gone_after(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}"
    assert not (tmp_path / "lock").exists()


def test_lock_is_released_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), exclusive(tmp_path):
        raise RuntimeError
    assert not (tmp_path / "lock").exists()


def test_the_lock_of_a_running_process_is_respected(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "lock").write_text(f"{holder.pid} {socket.gethostname()}")
        with pytest.raises(InputError, match=f"Process {holder.pid} is using"), exclusive(tmp_path):
            pass
        assert (tmp_path / "lock").exists()
    finally:
        holder.communicate(b"\n")


@pytest.mark.parametrize("content", ["gone", "", "not a number"])
def test_the_lock_of_a_dead_process_is_removed(tmp_path: Path, content: str) -> None:
    if content == "gone":
        finished = subprocess.Popen([sys.executable, "-c", ""])
        finished.wait()
        content = f"{finished.pid} {socket.gethostname()}"
    (tmp_path / "lock").write_text(content)
    with exclusive(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} ")


def test_the_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    """Its process id means nothing here: it may be free, or that of this process."""
    (tmp_path / "lock").write_text(f"{os.getpid()} node-7")
    with pytest.raises(InputError, match=rf"Process {os.getpid()} of node-7 is using .* delete"), exclusive(tmp_path):
        pass
    assert (tmp_path / "lock").exists()
