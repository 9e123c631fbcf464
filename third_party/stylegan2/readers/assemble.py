"""From tensors with NVIDIA's names to a validated config and state, for all formats.

Widths are those of the majority of tensors, so that a single wrong tensor is found and named.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

from ..config import GeneratorConfig
from .errors import GET_AGAIN, UnreadableError, printable
from .expected import expected_shapes
from .fill import (
    USUAL_TAPS,
    W_AVG,
    flat_average,
    is_filter,
    is_noise,
    with_average,
    with_constants,
)

_FILTER_TOLERANCE = 1e-4
_HEIGHT_TELLS = ((4, 4), (4, 2))  # first blocks of programs whose recorded resolution is the height of the last one
COMPLETE = "a complete StyleGAN2 generator"


@dataclass(frozen=True)
class Recorded:
    """What a file states about its generator besides the tensors. None: not stated, so the tensors decide."""

    height: int | None = None  # of the image, pixels
    z_dim: int | None = None
    c_dim: int | None = None
    w_dim: int | None = None
    img_channels: int | None = None
    architecture: str | None = None
    taps: tuple[float, ...] | None = None  # resampling filter, for formats that do not store it in every layer
    use_noise: bool | None = None
    conv_clamp: float | None = None  # None: there is none
    mapping_lr_multiplier: float = 0.01
    num_fp16_res: int = 0


def lacks(name: str) -> UnreadableError:
    """For a file that lacks a tensor."""
    return UnreadableError(f"lacks the tensor {printable(name)}", GET_AGAIN, COMPLETE)


def unknown(name: str) -> UnreadableError:
    """For a file with an unknown tensor."""
    return UnreadableError(f"holds the {printable(name)}, which a StyleGAN2 generator of its kind does not have")


def assemble(
    tensors: Mapping[str, Tensor], recorded: Recorded, origin: Callable[[str], str] = str
) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The config of a generator and its state, complete, of the right shapes and in float32.

    tensors: under NVIDIA's names. origin: from NVIDIA's name to the file's, for messages. Filters, noise maps and the
    average latent may be missing altogether. Raises UnreadableError.
    """
    try:
        config = _infer(tensors, recorded, origin)
    except ValueError as error:
        raise UnreadableError(f"describes an impossible generator ({error})", GET_AGAIN) from error
    if 2 * config.mapping_layers > len(tensors):  # before a network with that many layers is built
        raise lacks(origin(f"mapping.fc{config.mapping_layers - 1}.weight"))
    filled = with_constants(config, tensors)
    if W_AVG in filled:
        filled[W_AVG] = flat_average(filled[W_AVG], config.w_dim)
        return config, checked(config, filled, origin)
    state = checked(config, filled | {W_AVG: torch.zeros(config.w_dim)}, origin)
    del state[W_AVG]
    return config, with_average(config, state)


def checked(
    config: GeneratorConfig, tensors: Mapping[str, Tensor], origin: Callable[[str], str] = str
) -> dict[str, Tensor]:
    """`tensors` in float32, as `Generator(config)` loads them strictly.

    Raises UnreadableError that names the first tensor that is missing, misshapen or unknown.
    """
    if 2 * config.mapping_layers > len(tensors):
        raise lacks(origin(f"mapping.fc{config.mapping_layers - 1}.weight"))
    expected, state = expected_shapes(config), dict(tensors)
    for name, shape in expected.items():
        if name not in state:
            raise lacks(origin(name))
        if tuple(state[name].shape) != shape or not state[name].is_floating_point():
            raise _misshapen(name, state[name], shape, origin)
    for name in state:
        if name not in expected:
            raise unknown(f"tensor {origin(name)}")
    return {name: state[name].to(torch.float32).contiguous() for name in expected}


def _misshapen(name: str, tensor: Tensor, shape: tuple[int, ...], origin: Callable[[str], str]) -> UnreadableError:
    found = f"of shape {list(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"
    what = f"holds the tensor {origin(name)} {found} where its other tensors need {list(shape)} real numbers"
    if _is_plane(name) and tensor.ndim == len(shape):
        doubled = "a generator whose every block is twice as high and wide as the one before"
        return UnreadableError(what, "give one of that shape", doubled)
    return UnreadableError(what, GET_AGAIN, COMPLETE)


def usual_filter(kernels: Iterable[Tensor]) -> Tensor:
    """The first of those kernels, one at least, that have the most common shape."""
    found = list(kernels)
    shape = Counter(kernel.shape for kernel in found).most_common(1)[0][0]
    return next(kernel for kernel in found if kernel.shape == shape)


def filter_taps(kernel: Tensor) -> tuple[float, ...]:
    """The taps of a resampling filter stored as [k] or as their outer product [k, k]; small integers where possible."""
    total = kernel.double().sum()
    taps = (kernel.double() if kernel.ndim == 1 else kernel.double().sum(dim=-1)) / total
    square = taps if kernel.ndim == 1 else torch.outer(taps, taps)
    if square.shape != kernel.shape or not torch.allclose(square * total, kernel.double(), atol=_FILTER_TOLERANCE):
        raise UnreadableError("resamples with a filter that is not the product of two equal ones")
    whole = taps / taps[taps != 0].abs().min()
    if torch.allclose(whole, whole.round(), atol=_FILTER_TOLERANCE):
        taps = whole.round()
    return tuple(float(tap) for tap in taps)


class _Sizes:
    """Sizes by the majority of the tensors that share them. origin: from NVIDIA's name to the file's, for messages."""

    def __init__(self, tensors: Mapping[str, Tensor], origin: Callable[[str], str]) -> None:
        self.shapes, self.origin = {name: tuple(tensor.shape) for name, tensor in tensors.items()}, origin

    def vote(self, claims: Iterable[tuple[str, int]], stated: int | None = None) -> int:
        """The most common size among the (tensor, axis) pairs; `stated`, by the file itself, wins a tie."""
        names, shapes = list(claims), self.shapes
        votes = Counter([] if stated is None else [stated])
        votes.update(shapes[name][axis] for name, axis in names if name in shapes and axis < len(shapes[name]))
        if not votes:
            raise lacks(self.origin(names[0][0]))
        return votes.most_common(1)[0][0]


def _infer(tensors: Mapping[str, Tensor], recorded: Recorded, origin: Callable[[str], str]) -> GeneratorConfig:
    sizes = _Sizes(tensors, origin)
    shapes = sizes.shapes
    first = _first_size(shapes)
    height = recorded.height if first in _HEIGHT_TELLS else None
    channels = {block: sizes.vote(_channel_claims(block)) for block in _blocks(shapes, height)}
    top, mapping = max(channels), _mapping(sizes, recorded)
    colours = [(name, 0) for name in shapes if re.fullmatch(r"synthesis\.b\d+\.torgb\.(weight|bias)", name)]
    filters = [tensor for name, tensor in tensors.items() if is_filter(name)]
    stored = filter_taps(usual_filter(filters)) if filters else USUAL_TAPS
    return GeneratorConfig(
        **mapping,
        resolution=(first[0] * top // 4, first[1] * top // 4),
        channels=channels,
        img_channels=sizes.vote([(f"synthesis.b{top}.torgb.weight", 0), *colours], recorded.img_channels),
        mapping_lr_multiplier=recorded.mapping_lr_multiplier,
        architecture=recorded.architecture or _architecture(shapes, top),
        conv_clamp=recorded.conv_clamp,
        resample_filter=recorded.taps or stored,
        use_noise=_has_noise(shapes) if recorded.use_noise is None else recorded.use_noise,
        num_fp16_res=recorded.num_fp16_res,
    )


class _Mapping(TypedDict):
    """Fields of `GeneratorConfig` about the mapping network."""

    z_dim: int
    c_dim: int
    w_dim: int
    mapping_layers: int
    embed_features: int | None
    layer_features: int | None


def _mapping(sizes: _Sizes, recorded: Recorded) -> _Mapping:
    shapes, vote = sizes.shapes, sizes.vote
    layers = _mapping_layers(shapes, sizes.origin)
    affine = [(name, 1) for name in shapes if name.endswith(".affine.weight")]
    last = [(f"mapping.fc{layers - 1}.{part}", 0) for part in ("weight", "bias")]
    w_dim = vote([("synthesis.b4.conv1.affine.weight", 1), *affine, *last, ("mapping.w_avg", 0)], recorded.w_dim)
    hidden, label, c_dim = w_dim, 0, 0
    if layers > 1:
        inner = [(f"mapping.fc{i}.{part}", 0) for i in range(layers - 1) for part in ("weight", "bias")]
        hidden = vote([*inner, *((f"mapping.fc{i}.weight", 1) for i in range(1, layers))])
    entry = shapes.get("mapping.fc0.weight", ())
    if recorded.c_dim or any(name.startswith("mapping.embed.") for name in shapes):
        c_dim = vote([("mapping.embed.weight", 1)], recorded.c_dim)
        rest = None if recorded.z_dim is None or len(entry) != 2 else entry[1] - recorded.z_dim
        label = vote([("mapping.embed.weight", 0), ("mapping.embed.bias", 0)], rest)
    z_dim = recorded.z_dim if recorded.z_dim is not None else (entry[1] - label if len(entry) == 2 else None)
    if z_dim is None:
        raise lacks(sizes.origin("mapping.fc0.weight"))
    return {
        "z_dim": z_dim,
        "c_dim": c_dim,
        "w_dim": w_dim,
        "mapping_layers": layers,
        "embed_features": label if label not in (0, w_dim) else None,
        "layer_features": hidden if hidden != w_dim else None,
    }


def _channel_claims(number: int) -> list[tuple[str, int]]:
    block, above = f"synthesis.b{number}", f"synthesis.b{2 * number}"
    styled = (f"{block}.conv1", f"{block}.torgb", f"{above}.conv0")  # whose inputs are the block's outputs
    return [
        (f"{block}.conv1.weight", 0),
        (f"{block}.conv1.weight", 1),
        (f"{block}.conv1.bias", 0),
        (f"{block}.conv0.weight", 0),
        (f"{block}.conv0.bias", 0),
        (f"{block}.torgb.weight", 1),
        (f"{above}.conv0.weight", 1),
        *((f"{layer}.affine.{part}", 0) for layer in styled for part in ("weight", "bias")),
    ]


def _blocks(shapes: Mapping[str, object], recorded: int | None) -> list[int]:
    """Numbers of blocks from 4 up, as long as there are tensors of them and at least to the recorded one."""
    there = {int(m[1]) for name in shapes if (m := re.match(r"synthesis\.b(\d{1,6})\.", name))}
    top, blocks = max([4, *there]) if recorded is None else recorded, [4]
    while blocks[-1] < top:
        blocks.append(2 * blocks[-1])
        if blocks[-1] not in there:
            break
    return blocks


def _mapping_layers(shapes: Mapping[str, object], origin: Callable[[str], str]) -> int:
    layers = {int(m[1]) for name in shapes if (m := re.match(r"mapping\.fc(\d{1,6})\.", name))}
    for i in range(max(layers, default=0) + 1):
        if i not in layers:
            raise lacks(origin(f"mapping.fc{i}.weight"))
    return len(layers)


def _first_size(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """(h, w) of the first block according to most of the maps in the file; its constant wins a tie."""
    votes: Counter[tuple[int, int]] = Counter()
    for name, shape in sorted(shapes.items(), key=lambda item: not item[0].endswith(".const")):
        block = re.match(r"synthesis\.b(\d{1,6})\.", name)
        if block and _is_plane(name) and len(shape) >= 2:
            step = max(1, int(block[1]) // 4)
            if not (shape[-2] % step or shape[-1] % step):
                votes[shape[-2] // step, shape[-1] // step] += 1
    return votes.most_common(1)[0][0] if votes else (4, 4)


def _is_plane(name: str) -> bool:
    return name.endswith(".const") or is_noise(name)


def _has_noise(names: Iterable[str]) -> bool:
    return any(name.endswith((".noise_strength", ".noise_const")) for name in names)


def _architecture(shapes: Mapping[str, object], top: int) -> str:
    if any(re.match(r"synthesis\.b\d+\.skip\.", name) for name in shapes):
        return "resnet"
    below = any(re.match(rf"synthesis\.b(?!{top}\.)\d+\.torgb\.", name) for name in shapes)
    return "skip" if below or top == 4 else "orig"
