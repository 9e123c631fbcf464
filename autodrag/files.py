"""Reading files, and writing them atomically; creating folders."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from autodrag.errors import InputError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file to a temporary name, sync it to disk, then rename it.

    On failure, an earlier file at `path` stays intact. Raises InputError if the disk is full or cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, dict(metadata))
        _sync(partial)
        partial.replace(path)
        with contextlib.suppress(OSError):  # Windows cannot open folders, and some network drives cannot sync them
            _sync(path.parent, os.O_RDONLY)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error}); free disk space or choose another folder.") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of a safetensors file. Raises InputError if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as a safetensors file ({error}).") from None


def parse_tensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of the bytes of a safetensors file; nothing in them is executed.

    Raises SafetensorError or ValueError for anything else.
    """
    tensors = load(data)
    size = int.from_bytes(data[:8], "little")
    return tensors, json.loads(data[8 : 8 + size]).get("__metadata__", {})


def make_folder(path: Path, key: str = "out") -> Path:
    """Create a folder and return it; it may exist.

    Raises InputError that names the config key if it cannot be created or written.
    """
    verb = "created"
    try:
        path.mkdir(parents=True, exist_ok=True)
        verb = "written"
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"The folder {path} cannot be {verb} ({error.strerror}); choose another {key}=.") from None
    return path


def write_whole(path: Path, data: bytes, sync: bool = False) -> None:
    """Write a file to a temporary name, then rename it. sync: to disk, before. Raises InputError if that fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        if sync:
            _sync(part)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # there is no file if the folder is missing
            part.unlink(missing_ok=True)
        why = f"{path} cannot be written ({error.strerror})"
        raise InputError(f"{why}; free disk space or choose another folder.") from None


def read_whole(path: Path) -> bytes:
    """The bytes of a file. Raises InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that the editor saved.") from None


def _sync(path: Path, mode: int = os.O_RDWR) -> None:
    """Sync a file or folder to disk. Windows requires it to be open for writing."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
