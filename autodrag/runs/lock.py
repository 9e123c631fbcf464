"""One run at a time in a folder."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autodrag.errors import InputError


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` while the block runs: a file `lock` with this process's id and machine, left behind only by a kill.

    A lock whose process is gone is taken over. Raises InputError while that process lives, or where it belongs to
    another machine that shares the folder, on which nobody can tell from here.
    """
    path = folder / "lock"
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            _remove_if_stale(path)
    else:
        raise InputError(f"Another run has just begun in {folder}: wait for it, or choose another folder.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            if sys.platform != "win32":
                path.unlink()
    if sys.platform == "win32":  # which deletes no open file: that is how others see there that the lock is held
        path.unlink()


def _remove_if_stale(path: Path) -> None:
    try:
        content = path.read_text(encoding="utf-8")
        if not content:  # its maker is about to write the id, or died just before
            time.sleep(0.2)
            content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    holder, _, host = content.partition(" ")
    if holder.isdigit() and host not in ("", socket.gethostname()):
        raise InputError(
            f"Process {holder} of {host} is at work in {path.parent}: wait for it or choose another folder (if it is "
            f"not running any more, delete {path})."
        )
    try:
        # The same id as ours is left from before a restart that handed the ids out again.
        if holder.isdigit() and int(holder) != os.getpid() and _alive(int(holder)):
            raise PermissionError
        path.unlink(missing_ok=True)
    except PermissionError:
        raise InputError(
            f"Process {holder} is at work in {path.parent}: wait for it or choose another folder (if that process is "
            f"something else, delete {path})."
        ) from None


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's, but alive
        return True
    return True
