"""Files are complete or absent, also on systems where folders cannot be opened."""

import errno
import os
from pathlib import Path

import pytest
import torch

from autodrag.errors import InputError
from autodrag.files import make_folder, read_tensors, write_tensors, write_whole


def test_files_are_written_where_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: folders cannot be opened, and only what is open for writing can be brought to the disk."""
    really, modes = os.open, []

    def windows(path: object, flags: int, *more: int) -> int:
        if Path(str(path)).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        modes.append(flags & os.O_RDWR)
        return really(path, flags, *more)

    monkeypatch.setattr(os, "open", windows)
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, {"about": "視頻"})
    monkeypatch.undo()
    tensors, about = read_tensors(tmp_path / "a.safetensors")
    assert tensors["x"].tolist() == [0, 1, 2] and about == {"about": "視頻"}
    assert modes == [os.O_RDWR] and [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_cannot_be_brought_to_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, {})
    assert (tmp_path / "a.safetensors").read_bytes() == b"before"


def test_bytes_go_nowhere_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "none" / "x.png", b"x")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(InputError, match=r"cannot be created .*choose another manifest="):
            make_folder(path, "manifest")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc, which nobody can write, is Linux's")
def test_a_folder_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"^The folder /proc cannot be written \(.+\); choose another manifest=\.$"):
        make_folder(Path("/proc"), "manifest")
