"""Describes files that are not generators, for error messages."""

from typing import Any

from .errors import GET_AGAIN, UnreadableError, printable
from .machine import Known, Stub
from .statedict import AVERAGED

_MAGIC = (
    (b"PK", "a zip archive that is truncated or holds nothing"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", "a NumPy array"),
)
_SAMPLE = 4096
_KEYS_SHOWN = 6


def describe_bytes(data: memoryview) -> UnreadableError:
    """For bytes that are not a checkpoint of any format."""
    sample = bytes(data[:_SAMPLE])
    if sample.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return UnreadableError("is a web page, as a failed download leaves behind", GET_AGAIN)
    for magic, name in _MAGIC:
        if sample.startswith(magic):
            return UnreadableError(f"is {name}")
    try:
        text = sample.decode("utf-8", "strict" if len(data) <= _SAMPLE else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    readable = all(c.isprintable() or c.isspace() for c in text)
    return UnreadableError("is a text file" if readable else "is a binary file of an unknown format")


def malformed(error: Exception) -> UnreadableError:
    """For a malformed pickle or torch file."""
    what = "objects nested too deeply" if isinstance(error, RecursionError) else str(error)
    return UnreadableError(f"is a damaged pickle or torch file: it holds {what}", GET_AGAIN)


def describe_root(root: Any) -> UnreadableError:
    """For a readable file without an averaged StyleGAN2 generator."""
    if not isinstance(root, dict):
        name = root.name if isinstance(root, Stub | Known) else type(root).__name__
        return UnreadableError(f"is a pickle of a single {printable(name)} instead of networks")
    keys = [key for key in root if isinstance(key, str)]
    if any("g_synthesis." in key or "progression." in key or key == "g_running" for key in keys):
        return UnreadableError("is a StyleGAN1 generator")
    shown = ", ".join(_described(key, root[key]) for key in keys[:_KEYS_SHOWN]) or "nothing"
    more = ", ..." if len(keys) > _KEYS_SHOWN else ""
    if any(name in keys for name in AVERAGED):
        return UnreadableError(f"is a pickle of {shown}{more}, none of which is a StyleGAN2 generator of a known kind")
    return UnreadableError(f"is a pickle of {shown}{more} without an averaged generator (G_ema, Gs or g_ema)")


def _described(key: str, value: Any) -> str:
    """A key, with the class of its value where that is not rebuilt."""
    kind = f" ({printable(value.name, 60)})" if isinstance(value, Stub) else ""
    return printable(key, 30) + kind
