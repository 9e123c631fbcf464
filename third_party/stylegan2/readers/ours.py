"""The project's own checkpoints: safetensors with the config as JSON in the metadata."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..config import GeneratorConfig
from .assemble import checked
from .errors import GET_AGAIN, UnreadableError

KIND = "stylegan2"
_MAX_HEADER = 1 << 32
_REAL = ("conv_clamp", "mapping_lr_multiplier")
_OPTIONAL = ("conv_clamp", "embed_features", "layer_features")
_WHOLE = (
    *("z_dim", "c_dim", "w_dim", "img_channels", "mapping_layers", "embed_features", "layer_features"),
    *("use_noise", "num_fp16_res"),
)


def is_safetensors(data: memoryview) -> bool:
    """Whether the bytes begin with a length and an opening brace, as no pickle and no text does."""
    return len(data) > 8 and data[8] == ord("{") and int.from_bytes(data[:8], "little") < _MAX_HEADER


def read_safetensors(path: Path) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Config and state of a file that `serialized` made. Raises UnreadableError."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != KIND or "config" not in metadata:
                raise UnreadableError("is a safetensors file whose metadata describe no StyleGAN2 generator")
            config = parse_config(metadata["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except SafetensorError as error:
        raise UnreadableError("is a safetensors file that is truncated or damaged", GET_AGAIN) from error
    return config, checked(config, tensors)


def parse_config(text: str) -> GeneratorConfig:
    """The config that a file of ours holds as JSON. Raises UnreadableError."""
    try:
        config = GeneratorConfig.from_json(text)
        for name in _WHOLE + _REAL:
            value = getattr(config, name)
            if not isinstance(value, int if name in _WHOLE else (int, float)) and not (
                name in _OPTIONAL and value is None
            ):
                raise ValueError(f"{name} is {value!r:.40}")
    except (ValueError, OverflowError, RecursionError) as error:
        raise UnreadableError(f"holds a wrong config of its generator ({error})", GET_AGAIN) from error
    return config


def serialized(config: GeneratorConfig, state: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file. Tensors keep their type: half precision halves the file, and readers make float32 of it."""
    contiguous = torch.contiguous_format
    tensors = {name: tensor.detach().cpu().clone(memory_format=contiguous) for name, tensor in state.items()}
    data: bytes = save(tensors, metadata={"kind": KIND, "config": config.to_json()})
    return data
