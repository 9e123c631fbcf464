"""Readers of StyleGAN2 generator files, chosen by content and never by name; nothing in a file is ever executed."""

from .checkpoint import (
    Checkpoint,
    read_arrays,
    read_checkpoint,
    write_rosinality,
    write_safetensors,
    write_state_dict,
)
from .convert import Conversion, convert
from .errors import CheckpointError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Conversion",
    "convert",
    "read_arrays",
    "read_checkpoint",
    "write_rosinality",
    "write_safetensors",
    "write_state_dict",
]
