"""Checkpoints of rosinality's StyleGAN2, the format of UserControllableLT: read and written.

`g_ema` is the state dict of the averaged generator, `latent_avg` its average latent; pSp, e4e and restyle keep it under
`decoder.`, BasicSR under names of its own. The arithmetic is NVIDIA's, with a leading axis of one on many tensors, a
learning-rate multiplier of 0.01 in the mapping and filters stored four times as large. Labels, clamps, residual and
plain architectures do not exist there.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..config import MAX_BLOCKS, GeneratorConfig
from ..ops import resample_kernel
from .assemble import Recorded, assemble, filter_taps, lacks, unknown, usual_filter
from .errors import GET_AGAIN, CheckpointError, UnreadableError
from .fill import USUAL_TAPS, W_AVG, flat_average
from .statedict import StateDict

_LR_MULTIPLIER = 0.01
_FILTER_GAIN = 4  # makes up for the zeros inserted between pixels
_MAX_LAYERS = 64
_FROM_BASICSR = (
    (r"^style_mlp\.", "style."),
    (r"^constant_input\.weight$", "input.input"),
    (r"^(style_conv1|style_convs\.\d+)\.weight$", r"\1.noise.weight"),
    (r"^style_(?=convs?\d?\.)", ""),
    (r"\.modulated_conv\.", ".conv."),
    (r"^noises\.noise(?=\d)", "noises.noise_"),
)


class _Entry(NamedTuple):
    theirs: str
    ours: str
    leading: int = 0  # axes of size one before ours
    trailing: int = 0  # and behind

    def read(self, tensor: Tensor) -> Tensor:
        """Our shape of their tensor."""
        ones = (*tensor.shape[: self.leading], *tensor.shape[tensor.ndim - self.trailing :])
        if tensor.ndim < self.leading + self.trailing or any(size != 1 for size in ones):
            what = f"holds the tensor {self.theirs} of shape {list(tensor.shape)} where axes of size one are missing"
            raise UnreadableError(what, GET_AGAIN)
        return tensor.reshape(tensor.shape[self.leading : tensor.ndim - self.trailing])

    def write(self, tensor: Tensor) -> Tensor:
        """Their shape of our tensor."""
        return tensor.reshape((1,) * self.leading + tuple(tensor.shape) + (1,) * self.trailing).clone()


def read_rosinality(found: StateDict) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The generator of a state dict with rosinality's or BasicSR's names. Raises UnreadableError."""
    stored = {_renamed(name): tensor for name, tensor in found.tensors.items()}
    layers = _largest(stored, r"style\.(\d{1,4})\.")
    blocks = (_largest(stored, r"convs\.(\d{1,4})\.", none=-1) + 2) // 2 + 1
    if not 1 <= layers <= _MAX_LAYERS or blocks > MAX_BLOCKS:
        raise UnreadableError("holds a generator that is not rosinality's StyleGAN2")
    taps = _read_taps(stored, blocks)
    entries = list(_entries(blocks, layers))
    tensors = {entry.ours: entry.read(stored.pop(entry.theirs)) for entry in entries if entry.theirs in stored}
    if stored:
        raise unknown(f"tensor {next(iter(stored))}")
    widths = Counter(len(tensors[f"mapping.fc{i}.bias"]) for i in range(layers) if f"mapping.fc{i}.bias" in tensors)
    width = widths.most_common(1)[0][0] if widths else None  # its z, w and hidden layers are equally wide
    height, multiplier = 4 << (blocks - 1), _LR_MULTIPLIER
    recorded = Recorded(height=height, z_dim=width, taps=taps, use_noise=True, mapping_lr_multiplier=multiplier)
    origins = {entry.ours: entry.theirs for entry in entries} | {W_AVG: "latent_avg"}
    if found.average is not None:
        tensors[W_AVG] = flat_average(found.average, width)
    return assemble(tensors, recorded, lambda name: origins.get(name, name))


def rosinality_checkpoint(config: GeneratorConfig, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The object that such a file holds. Raises CheckpointError for a generator that the format cannot express."""
    obstacles = {
        "labels": config.c_dim > 0,
        f"architecture {config.architecture}": config.architecture != "skip",
        f"clamp {config.conv_clamp}": config.conv_clamp is not None,
        "images that are not square": config.resolution[0] != config.resolution[1],
        "first block of other than 4 x 4 pixels": config.size(4)[0] != 4,
        "images that are not RGB": config.img_channels != 3,
        "widths of z, w and mapping that differ": not (
            config.z_dim == config.w_dim == (config.layer_features or config.w_dim)
        ),
        "layers without noise": not config.use_noise,
        "a filter of other than four taps": len(config.resample_filter) != 4,
    }
    found = [name for name, present in obstacles.items() if present]
    if found:
        raise CheckpointError(f"rosinality's format has no {', no '.join(found)}: write a .safetensors file instead.")
    blocks = len(config.blocks)
    scale = config.mapping_lr_multiplier / _LR_MULTIPLIER
    written = {}
    for entry in _entries(blocks, config.mapping_layers):
        folded = state[entry.ours].float() * (scale if entry.ours.startswith("mapping.fc") else 1.0)
        written[entry.theirs] = entry.write(folded)
    kernel = resample_kernel(config.resample_filter) * _FILTER_GAIN
    written |= {name: kernel.clone() for name in _kernels(blocks)}
    return {"g_ema": written, "latent_avg": state["mapping.w_avg"].float().clone()}


def _renamed(name: str) -> str:
    """rosinality's name of what BasicSR calls `name`; its own stay as they are."""
    for theirs, ours in _FROM_BASICSR:
        name = re.sub(theirs, ours, name)
    return name


def _largest(names: Mapping[str, object], pattern: str, none: int = 0) -> int:
    return max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=none)


def _entries(blocks: int, layers: int) -> Iterator[_Entry]:
    """Every tensor of a generator, filters and the average latent apart."""
    for i in range(layers):
        yield _Entry(f"style.{i + 1}.weight", f"mapping.fc{i}.weight")
        yield _Entry(f"style.{i + 1}.bias", f"mapping.fc{i}.bias")
    yield _Entry("input.input", "synthesis.b4.const", 1)
    yield from _conv("conv1", "synthesis.b4.conv1", 0)
    yield from _colours("to_rgb1", "synthesis.b4.torgb")
    for block in range(1, blocks):
        ours = f"synthesis.b{4 << block}"
        for i in range(2):
            number = 2 * (block - 1) + i
            yield from _conv(f"convs.{number}", f"{ours}.conv{i}", number + 1)
        yield from _colours(f"to_rgbs.{block - 1}", f"{ours}.torgb")


def _conv(theirs: str, ours: str, noise: int) -> Iterator[_Entry]:
    yield from _modulated(theirs, ours)
    yield _Entry(f"{theirs}.noise.weight", f"{ours}.noise_strength", 1)
    yield _Entry(f"{theirs}.activate.bias", f"{ours}.bias")
    yield _Entry(f"noises.noise_{noise}", f"{ours}.noise_const", 2)


def _colours(theirs: str, ours: str) -> Iterator[_Entry]:
    yield from _modulated(theirs, ours)
    yield _Entry(f"{theirs}.bias", f"{ours}.bias", 1, 2)


def _modulated(theirs: str, ours: str) -> Iterator[_Entry]:
    yield _Entry(f"{theirs}.conv.weight", f"{ours}.weight", 1)
    yield _Entry(f"{theirs}.conv.modulation.weight", f"{ours}.affine.weight")
    yield _Entry(f"{theirs}.conv.modulation.bias", f"{ours}.affine.bias")


def _kernels(blocks: int) -> list[str]:
    steps = range(blocks - 1)
    return [*(f"convs.{2 * i}.conv.blur.kernel" for i in steps), *(f"to_rgbs.{i}.upsample.kernel" for i in steps)]


def _read_taps(stored: dict[str, Tensor], blocks: int) -> tuple[float, ...]:
    """The resampling filter, which is taken out of `stored` and must be the same everywhere.

    Programs that take it for a constant store none: none of convolutions, none of images, or none at all.
    """
    kernels = {}
    for kind in (".blur.kernel", ".upsample.kernel"):
        names = [name for name in _kernels(blocks) if name.endswith(kind)]
        if any(name in stored for name in names):
            for name in names:
                if name not in stored:
                    raise lacks(name)
                kernels[name] = stored.pop(name)
    if not kernels:
        return USUAL_TAPS
    model = usual_filter(kernels.values())
    for name, kernel in kernels.items():
        if kernel.shape != model.shape or not torch.allclose(kernel, model):
            raise UnreadableError(f"holds a filter {name} unlike its others", GET_AGAIN)
    return filter_taps(model / _FILTER_GAIN)
