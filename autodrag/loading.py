"""Load a frozen generator by dataset name or from a file of any known format."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from autodrag.config import DatasetConfig, dataset_names, load_dataset
from autodrag.download import fetch
from autodrag.errors import InputError
from autodrag.generator import Class, FrozenGenerator
from autodrag.stylegan2 import CheckpointError, Generator, read_checkpoint
from autodrag.stylegan2 import read_arrays as arrays_of

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def load_generator(
    name_or_path: str | Path | DatasetConfig,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = True,
    c: Class | None = None,
) -> FrozenGenerator:
    """Load a generator by dataset name (downloaded if necessary), path of a file of any known format, or config.

    dtype: of the convolutions: float32, bfloat16 or float16. c: class, see `FrozenGenerator.with_class`. Raises
    InputError if the file, device or dtype cannot be used.
    """
    place = _usable(device, dtype)
    dataset, path = _find(name_or_path)
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    found = checkpoint.config.resolution
    if dataset is not None and dataset.resolution not in (None, found):
        raise InputError(
            f"{path} makes images of {found} px, but {dataset.name} has {dataset.resolution} px; give its own file."
        )
    network = Generator(checkpoint.config)
    network.load_state_dict(checkpoint.state, strict=True)
    generator = FrozenGenerator(network.to(place), dataset.name if dataset else path.stem, dtype, channels_last)
    if c is not None:
        return generator.with_class(c)
    if generator.c_dim:
        warnings.warn(
            f"{generator.name} has {generator.c_dim} classes and none was chosen. The label is all zeros, which "
            f"did not occur in its training; choose a class with c=0 to {generator.c_dim - 1}.",
            stacklevel=2,
        )
    return generator


def read_arrays(source: Path | bytes) -> list[tuple[str, Tensor]]:
    """(path within the file, tensor) of a torch file or pickle. Nothing is executed. Raises InputError."""
    try:
        return arrays_of(source)
    except CheckpointError as error:
        raise InputError(str(error)) from error


def _find(name_or_path: str | Path | DatasetConfig) -> tuple[DatasetConfig | None, Path]:
    """The dataset (None for a bare file) and the path of its file. The format is detected from the content."""
    if isinstance(name_or_path, DatasetConfig):
        dataset = name_or_path
    else:
        name, path = str(name_or_path), Path(name_or_path).expanduser()
        if name and name not in dataset_names() and (path.exists() or path.suffix or len(path.parts) > 1):
            return None, path
        dataset = load_dataset(name)
    return dataset, fetch(dataset.source)


def _usable(device: str | torch.device, dtype: torch.dtype) -> torch.device:
    """The device, after a test convolution in this dtype. Raises InputError if that fails."""
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype}; give torch.float32, torch.bfloat16 or torch.float16.")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"There is no device {str(device)!r}; give cpu, cuda, cuda:1 or another device of torch."
        ) from error
    try:
        x = torch.zeros(1, 8, 4, 4, device=place, dtype=dtype)
        torch.nn.functional.conv2d(x, x[:, :, :3, :3].expand(8, -1, -1, -1))
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails an assertion
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"{device} cannot compute in {dtype} ({reason}); choose another device or dtype.") from error
    prefer_fast_convolutions(place)
    return place


def prefer_fast_convolutions(device: torch.device) -> None:
    """Let cuDNN benchmark convolutions on a GPU: a generator uses few shapes, many times."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
