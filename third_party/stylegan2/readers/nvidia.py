"""NVIDIA's PyTorch pickles: stylegan2-ada-pytorch, stylegan3-code's StyleGAN2 and StyleGAN-Human.

Every module is pickled as a call of `torch_utils.persistence._reconstruct_persistent_obj` with its class's source text
and its attributes. The source text is never looked at; the attributes are the settings the generator was trained with.
"""

import re
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..config import GeneratorConfig
from .assemble import Recorded, assemble, checked
from .errors import UnreadableError, printable, warn_of_unknown
from .fill import W_AVG, flat_average
from .machine import MalformedError, Stub
from .ours import parse_config
from .rebuild import PERSISTENT_OBJECT, StoredTensor
from .statedict import AVERAGED, StateDict

_MAX_DEPTH = 16
_MAX_MODULES = 4096

# Options that are read here, shown by the tensors, or without influence on what a trained generator computes.
_OPTIONS = {
    *("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_ws", "square", "padding"),
    *("mapping_kwargs", "synthesis_kwargs", "channel_base", "channel_max", "num_fp16_res", "conv_clamp"),
    *("architecture", "resample_filter", "activation", "use_noise", "use_fp16", "fp16_channels_last", "channels_last"),
    *("fused_modconv_default", "num_layers", "embed_features", "layer_features", "lr_multiplier", "w_avg_beta"),
}


@dataclass
class _Module:
    class_name: str
    attributes: dict[str, Any]
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    children: dict[str, "_Module"] = field(default_factory=dict)

    def named_tensors(self, prefix: str = "") -> dict[str, StoredTensor]:
        """Under state-dict names."""
        found = {prefix + name: tensor for name, tensor in self.tensors.items()}
        for name, child in self.children.items():
            found |= child.named_tensors(f"{prefix}{name}.")
        return found

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments it was built with."""
        options = self.attributes.get("_init_kwargs")
        return options if isinstance(options, dict) else {}


def is_nvidia(root: Any) -> bool:
    """Whether an unpickled object is, or holds, one of NVIDIA's persistent modules."""
    return _is_persistent(root) or (isinstance(root, dict) and any(_is_persistent(value) for value in root.values()))


def holds_generator(root: Any) -> bool:
    """Whether one of those modules is an averaged generator."""
    return _is_persistent(root) or (isinstance(root, dict) and any(_is_persistent(root.get(n)) for n in AVERAGED))


def read_nvidia(root: Any) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The averaged generator of a snapshot, or a generator pickled alone. Raises UnreadableError, MalformedError."""
    if isinstance(root, dict):
        name = next((name for name in AVERAGED if _is_persistent(root.get(name))), None)
        if name is None:
            held = ", ".join(f"{key} ({_class_name(value)})" for key, value in root.items() if _is_persistent(value))
            what = f"is an NVIDIA pickle of {held} without the averaged generator G_ema"
            raise UnreadableError(what, "give a training snapshot or a published generator")
        root = root[name]
    generator = _module(root)
    mapping, synthesis = generator.children.get("mapping"), generator.children.get("synthesis")
    blocks = [] if synthesis is None else list(synthesis.children)
    if any(name == "input" or re.match(r"L\d+_", name) for name in blocks):
        raise UnreadableError("is a StyleGAN3 generator")
    if mapping is None or synthesis is None or not any(re.fullmatch(r"b\d+", name) for name in blocks):
        raise UnreadableError(f"is a pickled {generator.class_name} that is no StyleGAN2 generator")
    recorded = _recorded(generator, mapping, synthesis)
    return _assembled({name: tensor.load() for name, tensor in generator.named_tensors().items()}, recorded)


def read_nvidia_state(found: StateDict) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The generator of a state dict with NVIDIA's names, which says nothing of some settings unless we wrote it.

    Raises UnreadableError.
    """
    if any(re.match(r"synthesis\.(input|L\d+_)", name) for name in found.tensors):
        raise UnreadableError("is a StyleGAN3 generator")
    if found.config is not None:
        config = parse_config(found.config)
        return config, checked(config, found.tensors)
    warnings.warn(
        "The file is a bare state dict, which does not say how its generator clamps and how fast its mapping learnt: "
        "no clamp and a multiplier of 0.01 are assumed.",
        stacklevel=2,
    )
    tensors = dict(found.tensors)
    if found.average is not None and W_AVG not in tensors:
        bias = next((tensor for name, tensor in tensors.items() if name.endswith(".affine.weight")), None)
        tensors[W_AVG] = flat_average(found.average, None if bias is None else bias.shape[-1])
    return _assembled(tensors, Recorded())


def _assembled(tensors: dict[str, Tensor], recorded: Recorded) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """`assemble`, with blocks that are called by another first number than 4 called as usual."""
    numbers = sorted({int(found[1]) for name in tensors if (found := re.match(r"synthesis\.b(\d{1,6})\.", name))})
    first = numbers[0] if numbers else 4
    if first in (0, 4) or f"synthesis.b{first}.const" not in tensors:
        return assemble(tensors, recorded)
    usual = {f"synthesis.b{first << i}.": f"synthesis.b{4 << i}." for i in range(len(numbers))}
    theirs = {ours: name for name, ours in usual.items()}
    renamed = {_in_block(name, usual): tensor for name, tensor in tensors.items()}
    return assemble(renamed, replace(recorded, height=None), lambda name: _in_block(name, theirs))


def _in_block(name: str, blocks: dict[str, str]) -> str:
    """A tensor's name with that of its block replaced."""
    block = name[: name.find(".", len("synthesis.")) + 1]
    return blocks.get(block, block) + name.removeprefix(block)


def _is_persistent(value: Any) -> bool:
    return isinstance(value, Stub) and value.name == PERSISTENT_OBJECT


def _class_name(stub: Stub) -> str:
    meta = stub.args[0] if stub.args else None
    name = meta.get("class_name") if isinstance(meta, dict) else None
    return printable(name) if isinstance(name, str) else "?"


def _module(stub: Stub, depth: int = 0, counted: list[None] | None = None) -> _Module:
    """The tree of modules below a stub. Files may share or nest modules without end, so both are bounded."""
    counted = [] if counted is None else counted
    counted.append(None)
    if depth > _MAX_DEPTH or len(counted) > _MAX_MODULES:
        raise MalformedError("modules nested without end")
    meta = stub.args[0] if stub.args else None
    state = meta.get("state") if isinstance(meta, dict) else None
    if not isinstance(state, dict):
        raise MalformedError("a module without a state")
    parts = [state.get(name, {}) for name in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(part, dict) and all(isinstance(name, str) for name in part) for part in parts):
        raise MalformedError("a module without parameters")
    module = _Module(_class_name(stub), {k: v for k, v in state.items() if isinstance(k, str)})
    hidden = state.get("_non_persistent_buffers_set")
    hidden = hidden if isinstance(hidden, (set, frozenset)) else set()
    for name, value in (parts[0] | {k: v for k, v in parts[1].items() if k not in hidden}).items():
        if isinstance(value, StoredTensor):
            module.tensors[name] = value
        elif value is not None:
            raise MalformedError("a parameter that is no tensor")
    for name, value in parts[2].items():
        if _is_persistent(value):
            module.children[name] = _module(value, depth + 1, counted)
        elif value is not None:
            raise UnreadableError(f"holds a module {printable(name)} that is none of NVIDIA's")
    return module


def _recorded(generator: _Module, mapping: _Module, synthesis: _Module) -> Recorded:
    """Settings from the attributes of the layers; where they have none, from the arguments of the networks."""
    _warn_of_unknown_options(generator, mapping, synthesis)
    blocks = [block for name, block in synthesis.children.items() if re.fullmatch(r"b\d+", name)]
    convs = [block.children[name] for block in blocks for name in ("conv0", "conv1") if name in block.children]
    colours = [block.children["torgb"] for block in blocks if "torgb" in block.children]
    dense = [layer for name, layer in mapping.children.items() if name.startswith("fc")]
    plain = [layer.children["affine"] for layer in (*convs, *colours) if "affine" in layer.children]
    nested = generator.options.get("synthesis_kwargs")
    options = generator.options | (nested if isinstance(nested, dict) else {}) | synthesis.options
    activation = _agreed(convs, "activation", options.get("activation", "lrelu"))
    if activation != "lrelu" or _agreed(dense, "activation", "lrelu") != "lrelu":
        raise UnreadableError("has an activation other than the leaky ReLU")
    if _agreed([*plain, *(mapping.children[n] for n in ("embed",) if n in mapping.children)], "bias_gain", 1) != 1:
        raise UnreadableError("has styles with a learning-rate multiplier of their own")
    # stylegan2-ada-pytorch did not clamp unless told to; stylegan3-code, whose generators take synthesis arguments as
    # their own, clamped at 256.
    clamp = options.get("conv_clamp", 256 if nested is None and "channel_base" in options else None)
    fp16 = _integer(options.get("num_fp16_res"))
    return Recorded(
        height=_integer(synthesis.attributes.get("img_resolution")),
        z_dim=_integer(generator.attributes.get("z_dim")),
        c_dim=_integer(generator.attributes.get("c_dim")),
        w_dim=_integer(generator.attributes.get("w_dim")),
        img_channels=_integer(generator.attributes.get("img_channels")),
        architecture=_agreed(blocks, "architecture", options.get("architecture")),
        use_noise=_agreed(convs, "use_noise", options.get("use_noise")),
        conv_clamp=_number(_agreed([*convs, *colours], "conv_clamp", clamp)),
        mapping_lr_multiplier=_number(_agreed(dense, "bias_gain", mapping.options.get("lr_multiplier", 0.01))) or 0.01,
        num_fp16_res=sum(block.attributes.get("use_fp16") is True for block in blocks) if fp16 is None else fp16,
    )


def _warn_of_unknown_options(*modules: _Module) -> None:
    for module in modules:
        for options in (module.options, module.options.get("synthesis_kwargs"), module.options.get("mapping_kwargs")):
            if isinstance(options, dict):
                warn_of_unknown(options, _OPTIONS)


def _agreed(modules: list[_Module], name: str, otherwise: Any) -> Any:
    """What the modules record under a name, which must be the same; `otherwise` where none records it."""
    values = [module.attributes[name] for module in modules if name in module.attributes]
    if not all(value is None or isinstance(value, (str, int, float)) for value in values):
        raise MalformedError(f"a setting {name} that is neither a number nor a name")
    if any(value != values[0] for value in values):
        raise UnreadableError(f"has layers that differ in {name}")
    return values[0] if values else otherwise


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise MalformedError("a setting that is no number")
    return None if value is None else float(value)
