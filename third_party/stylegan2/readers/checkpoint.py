"""The front of the readers: a path to a generator's config and weights, and the way back."""

import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ..config import GeneratorConfig
from .describe import describe_root, malformed
from .errors import GET_AGAIN, CheckpointError, UnreadableError, printable
from .machine import MalformedError
from .nvidia import holds_generator, is_nvidia, read_nvidia, read_nvidia_state
from .ours import is_safetensors, read_safetensors, serialized
from .rosinality import read_rosinality, rosinality_checkpoint
from .statedict import CONFIG_KEY, find_state_dict, stored_tensors
from .tensorflow import is_tensorflow, read_tensorflow
from .torchfile import read_root
from .widths import widened

_MAX_PATH = 400
_MAX_ARRAYS = 1000


@dataclass(frozen=True)
class Checkpoint:
    """A generator as `Generator(config).load_state_dict(state, strict=True)` takes it. kind: the format of its file."""

    config: GeneratorConfig
    state: dict[str, Tensor]  # NVIDIA's names, float32
    kind: str  # nvidia | tensorflow | rosinality | safetensors


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The averaged generator in a file of any known format. Only its bytes count, never its name.

    Raises:
        CheckpointError: one sentence that says what the file is, what was expected and what to do.
    """
    path = Path(path)
    try:
        data = _bytes(path)
        checkpoint = _read(path, data)
        if checkpoint.config.img_channels not in (1, 3):
            what = f"makes images of {checkpoint.config.img_channels} channels"
            raise UnreadableError(what, "give a generator of such images", "one of grey images (1) or RGB (3)")
        return checkpoint
    except UnreadableError as error:
        raise CheckpointError(f"{printable(str(path), _MAX_PATH)} {error}.") from None


def read_arrays(source: str | Path | bytes) -> list[tuple[str, Tensor]]:
    """The tensors and arrays of a torch file or a pickle, under their places in it.

    source: a path or the file's bytes. Raises CheckpointError.
    """
    name = "The file" if isinstance(source, bytes) else printable(str(source), _MAX_PATH)
    try:
        if source == b"":
            raise UnreadableError("is empty")
        root = read_root(memoryview(source) if isinstance(source, bytes) else _bytes(Path(source)))
        return list(islice(stored_tensors(root), _MAX_ARRAYS))
    except (UnreadableError, MalformedError, RecursionError) as error:
        what = (error if isinstance(error, UnreadableError) else malformed(error)).what
    raise CheckpointError(f"{name} {what}; a torch file or a pickle of tensors was expected: give another file.")


def write_safetensors(path: str | Path, config: GeneratorConfig, state: Mapping[str, Tensor]) -> None:
    """The project's own format: weights in the type they come in, config in the metadata. Raises CheckpointError."""
    data = serialized(config, state)
    _replace(Path(path), lambda part: part.write_bytes(data))


def write_rosinality(
    path: str | Path, config: GeneratorConfig, state: Mapping[str, Tensor], standard_widths: bool = False
) -> None:
    """rosinality's `.pt`, whose mapping has a multiplier of 0.01: ours is folded into the weights.

    Its own program builds a generator of fixed widths (512 at 4-32 px; 256 at 64 px, then halving, times its
    `channel_multiplier`, 2 by default); with other widths its table of channels has to be changed before it loads the
    file. `standard_widths` pads with zeros up to that table instead, so that `Generator(size, w_dim, mapping_layers)`
    there loads the file and draws the same images. Raises CheckpointError for widths beyond the table, and for what
    the format cannot express: labels, clamps, other architectures, rectangles, layers of unequal width.
    """
    if standard_widths:
        config, state = widened(config, state)
    checkpoint = rosinality_checkpoint(config, state)
    _replace(Path(path), lambda part: torch.save(checkpoint, part))


def write_state_dict(path: str | Path, config: GeneratorConfig, state: Mapping[str, Tensor]) -> None:
    """A plain state dict with NVIDIA's names, for `load_state_dict` of their Generator, which is built by its user.

    The config is among what torch keeps beside a state dict's entries, where only we read it.
    """
    plain = OrderedDict((name, tensor.detach().float().clone()) for name, tensor in state.items())
    plain._metadata = {CONFIG_KEY: config.to_json()}  # type: ignore[attr-defined]
    _replace(Path(path), lambda part: torch.save(plain, part))


def _bytes(path: Path) -> memoryview:
    """The file, mapped and not read: what is never looked at (a discriminator, say) costs nothing."""
    if not path.exists():
        raise UnreadableError("does not exist", "give the path of a generator file")
    if not path.is_file():
        raise UnreadableError(
            "is a folder" if path.is_dir() else "is not a regular file", "give the path of a generator file"
        )
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UnreadableError("is empty", GET_AGAIN)
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UnreadableError(
            f"cannot be opened ({error.strerror})", "check its permissions", "a readable file"
        ) from error


def _read(path: Path, data: memoryview) -> Checkpoint:
    if is_safetensors(data):
        return Checkpoint(*read_safetensors(path), "safetensors")
    root = read_root(data)
    try:
        if is_tensorflow(root):
            return Checkpoint(*read_tensorflow(root), "tensorflow")
        found = None if holds_generator(root) else find_state_dict(root)
        if found is not None and found.nvidia:
            return Checkpoint(*read_nvidia_state(found), "nvidia")
        if found is not None:
            return Checkpoint(*read_rosinality(found), "rosinality")
        if is_nvidia(root):
            return Checkpoint(*read_nvidia(root), "nvidia")
    except (MalformedError, RecursionError) as error:
        raise malformed(error) from None
    raise describe_root(root)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside `path` and renames, so that a reader never sees half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a missing folder as a RuntimeError
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "does its folder exist?"
        raise CheckpointError(f"{path} cannot be written ({reason}): give a file in a folder that exists.") from error
