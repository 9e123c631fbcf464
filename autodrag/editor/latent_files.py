"""Latents from files: drags and sessions of this project, and files of other programs (.npz, .npy, .pt).

NVIDIA's projector writes an .npz with `w` [1, L, D], PTI a tensor [1, L, D] or [1, D], rosinality's projector nested
dictionaries with `latent`. Nothing in a file is executed.
"""

import hashlib
import io
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from autodrag.editor import session_file
from autodrag.errors import InputError
from autodrag.files import parse_tensors
from autodrag.generator import FrozenGenerator
from autodrag.loading import read_arrays
from autodrag.pictures import as_array

DRAG_FORMAT = "autodrag drag 1"
NAMES = ("ws", "w", "latent", "latents", "w_plus", "wp", "w_pivot", "projected_w", "latent_code", "motion")
NOT_LATENTS = ("z", "w_avg", "latent_avg", "dlatent_avg", "w_std", "noise")
MAX_BYTES = 1 << 29  # of an archive, unpacked
#: What NumPy and zipfile raise for files that are cut short, damaged, encrypted, or declare absurd shapes.
_DAMAGED = (
    *(ValueError, OSError, EOFError, RuntimeError, MemoryError, OverflowError),
    *(zipfile.BadZipFile, struct.error, zlib.error, lzma.LZMAError, tokenize.TokenError),
)
_KNOWN = ".safetensors of a drag or a session, .npz, .npy or .pt of a projector"


def signature(generator: FrozenGenerator) -> str:
    """Hash of the average latent, which distinguishes generators of the same name."""
    return hashlib.sha256(generator.w_avg.float().cpu().numpy().tobytes()).hexdigest()


def read_latent(source: Path | bytes, generator: FrozenGenerator) -> Float[Tensor, "1 L D"]:
    """The latent in a file or its bytes, on the generator's device; the last one of a motion.

    A single row is repeated for all rows. Raises InputError if there is none, or if it belongs to another generator.
    """
    name = "The file" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); give a {_KNOWN}.") from None
    if len(data) > 8 and data[8] == ord("{"):
        ws = _of_safetensors(data, name, generator)
    else:
        arrays = list(_numpy(data, name)) if _is_numpy(data) else read_arrays(source)
        ws = _pick(arrays, name, generator)
    return _finite(ws, name, generator)


def check_latent(latent: Any, generator: FrozenGenerator) -> Float[Tensor, "1 L D"]:
    """An array or tensor as one latent of this generator, on its device. Raises InputError for anything else."""
    array = as_array(latent)
    if array is None or array.dtype.kind != "f":
        what = type(latent).__name__ if array is None else f"an array of {array.dtype}"
        raise InputError(f"The latent is {what}; give a {_KNOWN}, or an array of real numbers.")
    return _finite(_pick([("latent", _tensor(array))], "The array", generator), "the array", generator)


def _finite(ws: Float[Tensor, "1 L D"], name: str, generator: FrozenGenerator) -> Float[Tensor, "1 L D"]:
    if not bool(ws.isfinite().all()):
        raise InputError(f"The latent in {name} holds NaN or infinite numbers; give another.")
    return ws.to(generator.device, torch.float32)


def _of_safetensors(data: bytes, name: str, generator: FrozenGenerator) -> Tensor:
    try:
        tensors, about = parse_tensors(data)
    except (SafetensorError, ValueError):
        raise InputError(f"{name} is no whole safetensors file; give a {_KNOWN}.") from None
    if about.get("format") == session_file.FORMAT:
        saved = session_file.parse(data)
        if saved.tuned:
            raise InputError(
                f"{name} is a session whose generator was fine-tuned for its picture, which others cannot make: "
                "open it in the editor."
            )
        if not torch.equal(saved.w_avg, generator.w_avg.float().cpu()):
            raise _foreign(name, saved.about.dataset, generator)
        return saved.state.frame.ws
    theirs, mark = about.get("generator", generator.name), about.get("w_avg")
    if theirs != generator.name or mark not in (None, signature(generator)):
        raise _foreign(name, theirs, generator)
    if about.get("format") == DRAG_FORMAT and "motion" in tensors:
        tensors = {"motion": tensors["motion"][-1:]}
    return _pick(list(tensors.items()), name, generator)


def _foreign(name: str, theirs: str, generator: FrozenGenerator) -> InputError:
    ours = generator.name
    other = f"the generator {theirs!r}" if theirs != ours else f"another generator of the name {ours!r}"
    return InputError(f"{name} holds latents of {other}, not of the {ours!r} here; give its own generator.")


def _is_numpy(data: bytes) -> bool:
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return any(entry.endswith(".npy") for entry in archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return b".npy" in data[:400]  # cut short
    return data[:6] == b"\x93NUMPY"


def _numpy(data: bytes, name: str) -> Iterator[tuple[str, Tensor]]:
    """Numeric arrays by name. Pickled arrays are skipped without being read."""
    try:
        if data[:2] != b"PK":
            yield "array", _tensor(np.load(io.BytesIO(data), allow_pickle=False))
            return
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise InputError(f"{name} holds more than {MAX_BYTES >> 20} MB; give one with a latent alone.")
            for entry in archive.namelist():
                header = io.BytesIO(archive.read(entry))
                try:
                    yield entry.removesuffix(".npy"), _tensor(np.load(header, allow_pickle=False))
                except ValueError:
                    continue
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is no whole file of NumPy arrays of real numbers; give a {_KNOWN}.") from None


def _tensor(array: Any) -> Tensor:
    """Raises ValueError for anything but an array of real numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise ValueError("no real numbers")
    return torch.from_numpy(array.astype(np.float32))


def _pick(arrays: list[tuple[str, Tensor]], name: str, generator: FrozenGenerator) -> Float[Tensor, "1 L D"]:
    """The only array that is a latent of this generator, or among several the one with a usual name."""
    offered = [(key, array) for key, array in arrays if key.split("/")[-1].lower() not in NOT_LATENTS]
    fitting = [(key, ws) for key, array in offered if (ws := _as_latent(array, generator)) is not None]
    for usual in NAMES if len(fitting) > 1 else ():
        named = [(key, ws) for key, ws in fitting if key.split("/")[-1].lower() == usual]
        if len(named) == 1:
            return named[0][1]
    if len(fitting) == 1:
        return fitting[0][1]
    wanted = f"[1, {generator.num_ws}, {generator.w_dim}]"
    if fitting:
        raise InputError(f"{name} holds {len(fitting)} latents ({_shown(offered)}); give a file with one.")
    raise InputError(
        f"{name} holds no latent of {generator.name}, {wanted} or a row of it, but {_shown(offered) or 'no arrays'}: "
        "give the latent of one picture of this generator."
    )


def _as_latent(array: Tensor, generator: FrozenGenerator) -> Float[Tensor, "1 L D"] | None:
    rows, width = generator.num_ws, generator.w_dim
    shape = list(array.shape)
    while len(shape) > 1 and shape[0] == 1:
        del shape[0]
    if shape not in ([width], [rows, width]) or not array.is_floating_point():
        return None
    return array.detach().reshape(1, -1, width).expand(1, rows, width).contiguous()


def _shown(arrays: list[tuple[str, Tensor]], most: int = 4) -> str:
    shown = [f"{key[:40]} {list(array.shape)}" for key, array in arrays[:most]]
    return ", ".join(shown) + (", ..." if len(arrays) > most else "")
