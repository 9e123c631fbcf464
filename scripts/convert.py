"""Rewrite a generator file: python scripts/convert.py src=FILE dst=FILE.safetensors (configs/convert.yaml)."""

from autodrag.commands import run

if __name__ == "__main__":
    run("convert")
