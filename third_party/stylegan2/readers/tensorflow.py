"""TensorFlow-era pickles: a triple (G, D, Gs) of `dnnlib.tflib.network.Network`, of which Gs is the averaged generator.

A network's state holds its arguments (`static_kwargs`), the networks it is made of (`components`: mapping, synthesis)
and its `variables` as (name, array). Dense weights are stored [in, out], kernels [height, width, in, out]; those of
up-sampling layers are flipped against PyTorch's transposed convolution, and style biases lack their constant one.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..config import GeneratorConfig
from .assemble import Recorded, assemble, unknown
from .errors import GET_AGAIN, UnreadableError, printable, warn_of_unknown
from .machine import MalformedError, Stub
from .rebuild import TF_NETWORK, StoredArray

_MAX_DEPTH = 4
_MAX_HEIGHT = 1 << 16
_MAX_LAYERS = 64

# Arguments that are read here, shown by the variables, or without influence on what Gs computes from z, psi and noise.
_KNOWN = {
    *("latent_size", "label_size", "dlatent_size", "resolution", "num_channels", "fmap_base", "fmap_decay", "fmap_min"),
    *("fmap_max", "mapping_layers", "mapping_fmaps", "mapping_lrmul", "mapping_nonlinearity", "label_fmaps"),
    *("nonlinearity", "normalize_latents", "architecture", "resample_kernel", "conv_clamp", "num_fp16_res"),
    *("use_noise", "randomize_noise", "fused_modconv", "dtype", "structure", "mapping_func", "synthesis_func"),
    "dlatent_broadcast",
    *("truncation_psi", "truncation_cutoff", "truncation_psi_val", "truncation_cutoff_val", "dlatent_avg_beta"),
    *("w_avg_beta", "style_mixing_prob", "is_training", "is_validation", "return_dlatents", "is_template_graph"),
    *("force_clean_graph", "lod_in", "impl", "gpu_impl"),
}


class _Entry(NamedTuple):
    theirs: str
    ours: str
    axes: int
    convert: Callable[[Tensor], Tensor]


def is_tensorflow(root: Any) -> bool:
    """Whether an unpickled object is a network of the TensorFlow era, or a row of them."""
    return _is_network(root) or (isinstance(root, (tuple, list)) and len(root) > 0 and _is_network(root[-1]))


def read_tensorflow(root: Any) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The averaged generator, the last of the networks. Raises UnreadableError, MalformedError."""
    network = _state(root if _is_network(root) else root[-1])
    variables, kwargs = _variables(network), _arguments(network)
    _refuse_others(network, variables, kwargs)
    height = _integer(kwargs, "resolution") or _largest(variables, r"synthesis/(\d{1,5})x\1/")
    revised = _drop_lods(variables, height)
    entries = list(_entries(height, _largest(variables, r"mapping/Dense(\d{1,3})/") + 1))
    tensors = {}
    for entry in entries:
        if entry.theirs in variables:
            array = variables.pop(entry.theirs)
            if array.ndim != entry.axes:
                what = f"holds the variable {entry.theirs} with {array.ndim} axes where {entry.axes} are needed"
                raise UnreadableError(what, GET_AGAIN)
            tensors[entry.ours] = entry.convert(array)
    variables.pop("lod", None)  # progress of progressive growing, which StyleGAN2 does not use
    if variables:
        raise unknown(f"variable {next(iter(variables))}")
    origins = {entry.ours: entry.theirs for entry in entries}
    recorded = _recorded(kwargs, height, "orig" if revised else None)
    return assemble(tensors, recorded, lambda name: origins.get(name, name))


def _recorded(kwargs: dict[str, Any], height: int, architecture: str | None) -> Recorded:
    said = kwargs.get("architecture")
    return Recorded(
        height=height,
        z_dim=_integer(kwargs, "latent_size"),
        c_dim=_integer(kwargs, "label_size"),
        w_dim=_integer(kwargs, "dlatent_size"),
        img_channels=_integer(kwargs, "num_channels"),
        architecture=architecture or (said if isinstance(said, str) else None),
        taps=_taps(kwargs),
        conv_clamp=_real(kwargs, "conv_clamp"),  # stylegan2 had no clamp, stylegan2-ada one that was off by default
        mapping_lr_multiplier=_real(kwargs, "mapping_lrmul") or 0.01,  # the default of both
        use_noise=kwargs.get("use_noise", True) is not False,
        num_fp16_res=_integer(kwargs, "num_fp16_res") or 0,
    )


def _is_network(value: Any) -> bool:
    return isinstance(value, Stub) and value.name == TF_NETWORK


def _state(network: Stub) -> dict[str, Any]:
    if not isinstance(network.state, dict):
        raise MalformedError("a network without a state")
    return network.state


def _components(network: dict[str, Any]) -> dict[str, dict[str, Any]]:
    components = network.get("components") or {}
    if not isinstance(components, dict) or not all(_is_network(value) for value in components.values()):
        raise MalformedError("components that are no networks")
    return {str(name): _state(value) for name, value in components.items()}


def _variables(network: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Tensor]:
    """All variables under `component/name`."""
    if depth > _MAX_DEPTH:
        raise MalformedError("networks nested without end")
    found: dict[str, Tensor] = {}
    for name, value in network.get("variables") or ():
        if not isinstance(name, str) or not isinstance(value, (StoredArray, int, float)):
            raise MalformedError("a variable that is no array")
        array = value.load() if isinstance(value, StoredArray) else torch.tensor(float(value))
        found[prefix + name] = array
    for name, component in _components(network).items():
        found |= _variables(component, f"{prefix}{name}/", depth + 1)
    return found


def _arguments(network: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network and of its components; its own come first."""
    arguments: dict[str, Any] = {}
    for state in (*_components(network).values(), network):
        kwargs = state.get("static_kwargs") or {}
        if not isinstance(kwargs, dict):
            raise MalformedError("arguments that are no dictionary")
        arguments |= kwargs
    return arguments


def _refuse_others(network: dict[str, Any], variables: dict[str, Tensor], kwargs: dict[str, Any]) -> None:
    function = network.get("build_func_name")
    function = printable(function) if isinstance(function, str) else "an unknown function"
    if any("/StyleMod/" in name for name in variables):
        raise UnreadableError(f"is a StyleGAN1 generator of the TensorFlow era (built by {function})")
    if not any(name.startswith("synthesis/") and name.endswith("/mod_weight") for name in variables):
        raise UnreadableError(
            f"is a network of the TensorFlow era (built by {function}) that is no StyleGAN2 generator"
        )
    if any(name.startswith("mapping/LabelConcat/") for name in variables):
        raise UnreadableError("concatenates labels to z before normalising them, as only stylegan2's first release did")
    if any(kwargs.get(name, "lrelu") != "lrelu" for name in ("nonlinearity", "mapping_nonlinearity")):
        raise UnreadableError("has an activation other than the leaky ReLU")
    if kwargs.get("normalize_latents", True) is not True:
        raise UnreadableError("does not normalise z")
    warn_of_unknown(kwargs, _KNOWN)


def _largest(variables: dict[str, Tensor], pattern: str) -> int:
    return max((int(match[1]) for name in variables if (match := re.match(pattern, name))), default=0)


def _drop_lods(variables: dict[str, Tensor], height: int) -> bool:
    """Renames `ToRGB_lod0`, of generators without skip connections; those of other sizes never reach the image."""
    lods = [name for name in variables if re.match(r"synthesis/ToRGB_lod\d+/", name)]
    for name in lods:
        array = variables.pop(name)
        if "/ToRGB_lod0/" in name:
            variables[name.replace("ToRGB_lod0", f"{height}x{height}/ToRGB")] = array
    return bool(lods)


def _entries(height: int, layers: int) -> Iterator[_Entry]:
    """Every variable that a generator of some kind may have."""
    yield _Entry("dlatent_avg", "mapping.w_avg", 1, _same)
    for theirs, ours in (("LabelEmbed", "embed"), *((f"Dense{i}", f"fc{i}") for i in range(min(layers, _MAX_LAYERS)))):
        yield _Entry(f"mapping/{theirs}/weight", f"mapping.{ours}.weight", 2, _transposed)
        yield _Entry(f"mapping/{theirs}/bias", f"mapping.{ours}.bias", 1, _same)
    yield _Entry("synthesis/4x4/Const/const", "synthesis.b4.const", 4, _first)
    size, noise = 4, 0
    while size <= min(height, _MAX_HEIGHT):
        theirs, ours = f"synthesis/{size}x{size}", f"synthesis.b{size}"
        first, others = [("Conv", "conv1", _kernel)], [("Conv0_up", "conv0", _flipped), ("Conv1", "conv1", _kernel)]
        for conv, layer, kernel in first if size == 4 else others:
            yield from _styled(f"{theirs}/{conv}", f"{ours}.{layer}", kernel)
            yield _Entry(f"{theirs}/{conv}/noise_strength", f"{ours}.{layer}.noise_strength", 0, _same)
            yield _Entry(f"synthesis/noise{noise}", f"{ours}.{layer}.noise_const", 4, _plane)
            noise += 1
        yield from _styled(f"{theirs}/ToRGB", f"{ours}.torgb", _kernel)
        yield _Entry(f"{theirs}/Skip/weight", f"{ours}.skip.weight", 4, _flipped)
        size *= 2


def _styled(theirs: str, ours: str, kernel: Callable[[Tensor], Tensor]) -> Iterator[_Entry]:
    yield _Entry(f"{theirs}/weight", f"{ours}.weight", 4, kernel)
    yield _Entry(f"{theirs}/bias", f"{ours}.bias", 1, _same)
    yield _Entry(f"{theirs}/mod_weight", f"{ours}.affine.weight", 2, _transposed)
    yield _Entry(f"{theirs}/mod_bias", f"{ours}.affine.bias", 1, lambda bias: bias + 1)


def _same(array: Tensor) -> Tensor:
    return array


def _transposed(array: Tensor) -> Tensor:
    return array.T


def _kernel(array: Tensor) -> Tensor:
    return array.permute(3, 2, 0, 1)


def _flipped(array: Tensor) -> Tensor:
    return _kernel(array.flip(0, 1))


def _first(array: Tensor) -> Tensor:
    return array[0] if len(array) == 1 else array


def _plane(array: Tensor) -> Tensor:
    return array[0, 0] if array.shape[:2] == (1, 1) else array


def _integer(kwargs: dict[str, Any], name: str) -> int | None:
    value = kwargs.get(name)
    return value if isinstance(value, int) else None


def _real(kwargs: dict[str, Any], name: str) -> float | None:
    value = kwargs.get(name)
    if value is not None and not isinstance(value, (int, float)):
        raise MalformedError(f"an argument {name} that is no number")
    return None if value is None else float(value)


def _taps(kwargs: dict[str, Any]) -> tuple[float, ...]:
    """The resampling filter; an explicit None meant nearest neighbours."""
    taps = kwargs.get("resample_kernel", [1, 3, 3, 1])
    taps = [1, 1] if taps is None else taps
    if not isinstance(taps, (list, tuple)) or not all(isinstance(tap, (int, float)) for tap in taps):
        raise MalformedError("a resampling filter that is no row of numbers")
    return tuple(float(tap) for tap in taps)
