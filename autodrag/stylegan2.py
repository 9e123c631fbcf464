"""The only import of StyleGAN2: from `third_party/` in a checkout, `autodrag/third_party/` in an installed package."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("autodrag.third_party") is None:
    from third_party.stylegan2 import Generator, GeneratorConfig
    from third_party.stylegan2.plain import plain_synthesis
    from third_party.stylegan2.readers import (
        CheckpointError,
        Conversion,
        convert,
        read_arrays,
        read_checkpoint,
        write_safetensors,
    )
    from third_party.stylegan2.synthesis import NOISE_MODES, Hook
else:
    from autodrag.third_party.stylegan2 import Generator, GeneratorConfig
    from autodrag.third_party.stylegan2.plain import plain_synthesis
    from autodrag.third_party.stylegan2.readers import (
        CheckpointError,
        Conversion,
        convert,
        read_arrays,
        read_checkpoint,
        write_safetensors,
    )
    from autodrag.third_party.stylegan2.synthesis import NOISE_MODES, Hook

__all__ = [
    "NOISE_MODES",
    "CheckpointError",
    "Conversion",
    "Generator",
    "GeneratorConfig",
    "Hook",
    "convert",
    "plain_synthesis",
    "read_arrays",
    "read_checkpoint",
    "write_safetensors",
]
