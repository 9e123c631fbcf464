"""Torch's two file formats, parsed without torch.load: the zip archive and the older sequence of pickles.

Both hold a pickle that refers to storages by id, and the storages' bytes beside it. The older one also occurs inside
plain pickles: it is how torch pickles a single storage.
"""

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from .describe import describe_bytes, malformed
from .errors import GET_AGAIN, TruncatedError, UnreadableError, printable
from .machine import Budget, Known, MalformedError, refuse_persistent
from .rebuild import DTYPES, Storage, find
from .unpickler import unpickle

ZIP_MAGIC = b"PK\x03\x04"
_PICKLE = 0x80  # the first byte of a pickle of protocol 2 or higher
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: ..., length of the name, length of the extra field


def read_root(data: memoryview) -> Any:
    """The object in a file of either format, or in a plain pickle. Raises UnreadableError, also for any other file."""
    packed = data[: len(ZIP_MAGIC)] == ZIP_MAGIC
    try:
        return _read_zip(data, _finder(budget := Budget()), budget) if packed else _read_pickle(data)
    except (MalformedError, RecursionError) as error:
        raise (malformed(error) if packed or data[0] == _PICKLE else describe_bytes(data)) from None
    except TruncatedError:
        raise (TruncatedError() if data[0] in (_PICKLE, ZIP_MAGIC[0]) else describe_bytes(data)) from None


def _read_pickle(data: memoryview) -> Any:
    """A plain pickle, or one of torch's older files, which begin as a pickle of a number does."""
    budget = Budget()
    root, end = unpickle(data, _finder(budget), refuse_persistent, budget)
    return _read_legacy(data, end, _finder(budget), budget) if _is_magic(root) else root


def _finder(budget: Budget) -> Callable[[str, str], Known]:
    """The allow-list with storages that are torch files themselves; those may not nest any further."""

    def load_from_bytes(data: Any) -> Any:
        view = memoryview(data.encode("latin-1") if isinstance(data, str) else data)
        if view[: len(ZIP_MAGIC)] == ZIP_MAGIC:
            return _read_zip(view, find, budget)
        magic, end = unpickle(view, find, refuse_persistent, budget)
        if not _is_magic(magic):
            raise MalformedError("a nested storage that is no torch file")
        return _read_legacy(view, end, find, budget)

    nested = Known("torch.storage._load_from_bytes", load_from_bytes)
    return lambda module, name: nested if f"{module}.{name}" == nested.name else find(module, name)


def _is_magic(value: Any) -> bool:
    return isinstance(value, int) and value == _LEGACY_MAGIC


class _Storages:
    """Resolves persistent ids: the same one is the same storage."""

    def __init__(self, data_of: Callable[[str], memoryview] | None = None):
        self.data_of, self.found = data_of, dict[str, Storage]()

    def __call__(self, persistent_id: Any) -> Any:
        if len(persistent_id) == 4 and persistent_id[0] == "module":  # the older format: a class with its source text
            return persistent_id[1]
        kind, storage_type, key, _location, count, *view = persistent_id
        dtype = DTYPES.get(storage_type.name.removeprefix("torch."))
        if kind != "storage" or dtype is None or not isinstance(key, str) or any(part is not None for part in view):
            raise MalformedError("data outside the pickle that is no storage")
        if key not in self.found:
            data = None if self.data_of is None else self.data_of(key)
            self.found[key] = Storage(dtype, count, data)
            if data is not None and len(data) != self.found[key].nbytes:
                raise TruncatedError
        return self.found[key]


def _read_legacy(data: memoryview, start: int, finder: Callable[[str, str], Known], budget: Budget) -> Any:
    """After the magic number: version, system, object, keys of the storages, then each one's length and bytes."""
    version, at = unpickle(data, find, refuse_persistent, budget, start)
    system, at = unpickle(data, find, refuse_persistent, budget, at)
    if version != _LEGACY_VERSION:
        raise UnreadableError("is a torch file of an unknown version", "save it again with a current PyTorch")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnreadableError("was written on a big-endian machine", "save it again on another machine")
    storages = _Storages()
    root, at = unpickle(data, finder, storages, budget, at)
    keys, at = unpickle(data, find, refuse_persistent, budget, at)
    for key in keys if isinstance(keys, list) else ():
        storage = storages.found.get(key) if isinstance(key, str) else None
        if storage is None:
            raise MalformedError("a storage that nothing refers to")
        begin, end = at + 8, at + 8 + storage.nbytes
        if end > len(data):
            raise TruncatedError
        if struct.unpack("<q", data[at:begin])[0] != storage.count:
            raise MalformedError("a storage of another size than its tensors'")
        storage.data, at = data[begin:end], end
    return root


class _View(io.RawIOBase):
    """A memory view as a file, for `zipfile`."""

    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: len(self.data)}[whence]
        if origin + offset < 0:
            raise OSError("seek before the beginning")
        self.at = origin + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.data) if size is None or size < 0 else self.at + size
        chunk = bytes(self.data[self.at : end])
        self.at += len(chunk)
        return chunk


def _members(data: memoryview) -> dict[str, memoryview]:
    """The files of a zip archive, as views of its bytes. Compressed ones are left out: torch never writes them."""
    try:
        with zipfile.ZipFile(_View(data)) as archive:
            entries = archive.infolist()
    # What zipfile raises on bytes that are no whole archive: a bad signature, a seek before the start, offsets below
    # zero, a version of the format that it does not know, fields that end too early.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise UnreadableError("is a zip archive that is truncated or damaged", GET_AGAIN) from error
    members = {}
    for entry in entries:
        header = data[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        if entry.compress_type != zipfile.ZIP_STORED or len(header) < _LOCAL_HEADER.size:
            continue
        begin = entry.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))
        if begin + entry.file_size > len(data):
            raise TruncatedError
        members[entry.filename] = data[begin : begin + entry.file_size]
    return members


def _read_zip(data: memoryview, finder: Callable[[str, str], Known], budget: Budget) -> Any:
    """`<name>/data.pkl` and one `<name>/data/<key>` a storage."""
    members = _members(data)
    root = next((name for name in members if name == "data.pkl" or name.endswith("/data.pkl")), None)
    if root is None:
        raise UnreadableError(
            "is a zip archive, but not one that torch wrote", "unpack it and give the checkpoint inside"
        )
    folder = root.removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members:
        raise UnreadableError("is a TorchScript program", "give the checkpoint that it was made from")
    if bytes(members.get(f"{folder}byteorder", b"little")) != b"little":
        raise UnreadableError("was written on a big-endian machine", "save it again on another machine")

    def data_of(key: str) -> memoryview:
        if f"{folder}data/{key}" not in members:
            raise UnreadableError(f"lacks the data of its storage {printable(key)}", GET_AGAIN, "a complete torch file")
        return members[f"{folder}data/{key}"]

    return unpickle(members[root], finder, _Storages(data_of), budget)[0]
