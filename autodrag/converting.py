"""`scripts/convert.py`: convert a generator file to another format."""

from autodrag.errors import InputError
from autodrag.stylegan2 import CheckpointError, Conversion, convert

__all__ = ["Conversion", "run"]


def run(cfg: Conversion) -> None:
    """Convert the file. Raises InputError if it is not a generator or cannot be written."""
    try:
        checkpoint = convert(cfg.src, cfg.dst, cfg.standard_widths)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    height, width = checkpoint.config.resolution
    print(f"{cfg.dst}: a generator of {height} x {width} px images, read from a file of the {checkpoint.kind} format.")
