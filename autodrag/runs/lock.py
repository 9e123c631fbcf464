"""A lock that allows only one run at a time in a folder."""

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
    """Lock `folder` within the context, by a file `lock` with the process id and host name.

    A stale lock of a killed process is replaced. Raises InputError if another process holds the lock, or if it is from
    another machine that shares the folder, whose processes cannot be checked.
    """
    path = folder / "lock"
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            _remove_if_stale(path)
    else:
        raise InputError(f"Another run has just started in {folder}: wait for it, or choose another folder.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            if sys.platform != "win32":
                path.unlink()
    if sys.platform == "win32":  # Windows cannot delete an open file, so that others see that the lock is held
        path.unlink()


def _remove_if_stale(path: Path) -> None:
    try:
        content = path.read_text(encoding="utf-8")
        if not content:  # its owner is about to write its id, or was killed before
            time.sleep(0.2)
            content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    holder, _, host = content.partition(" ")
    if holder.isdigit() and host not in ("", socket.gethostname()):
        raise InputError(
            f"Process {holder} of {host} is using {path.parent}: wait for it or choose another folder (if it is no "
            f"longer running, delete {path})."
        )
    try:
        # A lock with our own id is stale: ids are reused after a restart.
        if holder.isdigit() and int(holder) != os.getpid() and _alive(int(holder)):
            raise PermissionError
        path.unlink(missing_ok=True)
    except PermissionError:
        raise InputError(
            f"Process {holder} is using {path.parent}: wait for it or choose another folder (if that is an unrelated "
            f"process, delete {path})."
        ) from None


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, but alive
        return True
    return True
