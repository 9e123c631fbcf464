"""Rewrite a generator file: python scripts/convert.py src=FILE dst=FILE.safetensors (configs/convert.yaml)."""

from autodrag.config import run
from autodrag.errors import InputError
from third_party.stylegan2.readers import CheckpointError, Conversion, convert


def main(cfg: Conversion) -> None:
    try:
        checkpoint = convert(cfg.src, cfg.dst, cfg.standard_widths)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    height, width = checkpoint.config.resolution
    print(f"{cfg.dst}: a generator of {height} x {width} pixels, read from a file of the {checkpoint.kind} kind.")


if __name__ == "__main__":
    run("convert", Conversion, main)
