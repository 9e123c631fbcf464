"""From a generator file of one format to another."""

from dataclasses import dataclass
from pathlib import Path

from .checkpoint import (
    Checkpoint,
    read_checkpoint,
    write_rosinality,
    write_safetensors,
    write_state_dict,
)
from .errors import CheckpointError

_WRITERS = {".safetensors": write_safetensors, ".pt": write_rosinality, ".pth": write_state_dict}


@dataclass(frozen=True)
class Conversion:
    """The arguments of `convert`, as scripts/convert.py takes them."""

    src: str
    dst: str
    standard_widths: bool  # .pt only: see `write_rosinality`


def convert(src: str | Path, dst: str | Path, standard_widths: bool = False) -> Checkpoint:
    """Reads `src` and writes it as the suffix of `dst` says: .safetensors ours, .pt rosinality's, .pth a state dict.

    With `standard_widths` a .pt file is padded to the widths that rosinality's own program builds.

    Raises:
        CheckpointError: an unknown suffix, or one without standard widths; a file that cannot be read or written.
    """
    target = Path(dst)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        known = ".safetensors (this project), .pt (rosinality) or .pth (a state dict with NVIDIA's names)"
        raise CheckpointError(f"{target} names no format that can be written: let it end in {known}.")
    if standard_widths and writer is not write_rosinality:
        raise CheckpointError(
            f"{target} is of a format without standard widths: leave out standard_widths, or write .pt."
        )
    checkpoint = read_checkpoint(src)
    if standard_widths:
        write_rosinality(target, checkpoint.config, checkpoint.state, standard_widths=True)
    else:
        writer(target, checkpoint.config, checkpoint.state)
    return checkpoint
