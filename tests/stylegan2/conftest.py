"""Forges generator files of foreign formats from random weights, as their own programs would pickle them."""

import copy
import math
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from third_party.stylegan2 import Generator, GeneratorConfig

TINY = GeneratorConfig(z_dim=6, c_dim=0, w_dim=8, resolution=(16, 16), channels={4: 7, 8: 6, 16: 5}, mapping_layers=2)
Described = tuple[str, dict[str, Any]]  # name of a class, attributes
POISON = 'raise RuntimeError("embedded source must never be executed")'


def random_generator(config: GeneratorConfig, seed: int = 0) -> Generator:
    """A generator in which every tensor, buffers and noise strengths included, is random; filters stay."""
    rng = torch.Generator().manual_seed(seed)
    generator = Generator(config)
    for name, tensor in generator.state_dict().items():
        if not name.endswith("resample_filter"):
            tensor.copy_(torch.randn(tensor.shape, generator=rng) * 0.5)
    return generator


class Persistent:
    """Pickles as NVIDIA's persistent classes do."""

    def __init__(self, class_name: str, **attributes: Any):
        self.class_name, self.attributes = class_name, attributes

    def __reduce__(self) -> Any:
        meta = {"type": "class", "version": 6, "module_src": POISON, "class_name": self.class_name}
        meta["state"] = {"training": False} | self.attributes
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def persistent(generator: Generator, flattened: bool = False) -> Persistent:
    """A generator as stylegan2-ada-pytorch (or, flattened, stylegan3-code) pickles it."""
    config = generator.config
    own = _classes(config, flattened)

    def convert(module: nn.Module, name: str) -> Persistent:
        class_name, attributes = (
            _dense(config, name) if type(module).__name__ == "Dense" else own[type(module).__name__]
        )
        return Persistent(
            class_name,
            _parameters=dict(module.named_parameters(recurse=False)),
            _buffers=dict(module.named_buffers(recurse=False)),
            _non_persistent_buffers_set=set(),
            _modules={key: convert(child, key) for key, child in module.named_children()},
            **attributes,
        )

    return convert(generator, "")


def _classes(config: GeneratorConfig, flattened: bool) -> dict[str, Described]:
    """NVIDIA's class and its attributes for each of our classes but `Dense`."""
    clamp = {"conv_clamp": config.conv_clamp}
    synthesis = {"channel_base": 1, "channel_max": 1, "num_fp16_res": config.num_fp16_res} | clamp
    mapping = {"num_layers": config.mapping_layers}
    options = {"z_dim": config.z_dim, "c_dim": config.c_dim, "mapping_kwargs": mapping}
    options |= synthesis if flattened else {"synthesis_kwargs": synthesis}
    sizes = {name: getattr(config, name) for name in ("img_channels", "z_dim", "c_dim", "w_dim")}
    return {
        "Generator": ("Generator", {"_init_kwargs": options} | sizes),
        "Synthesis": ("SynthesisNetwork", {"img_resolution": config.resolution[0], "_init_kwargs": synthesis}),
        "Mapping": ("MappingNetwork", {"_init_kwargs": mapping}),
        "Block": ("SynthesisBlock", {"architecture": config.architecture, "use_fp16": False}),
        "StyledConv": ("SynthesisLayer", {"use_noise": config.use_noise, "activation": "lrelu"} | clamp),
        "ToRGB": ("ToRGBLayer", clamp),
        "UpSkip": ("Conv2dLayer", {"activation": "linear"}),
    }


def _dense(config: GeneratorConfig, name: str) -> Described:
    """The same for a linear layer of this name: layers of the mapping are active and learn slowly."""
    active, gain = ("lrelu", config.mapping_lr_multiplier) if name.startswith("fc") else ("linear", 1)
    return "FullyConnectedLayer", {
        "activation": active,
        "bias_gain": gain,
        "weight_gain": np.float64(gain / math.sqrt(2)),
    }


def tf_variables(state: dict[str, Tensor], heights: list[int]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """{network: {variable: array}} of the TensorFlow era from a state dict with NVIDIA's names."""
    arrays = {name: tensor.detach().numpy() for name, tensor in state.items()}
    networks: dict[str, dict[str, Any]] = {"mapping": {}, "synthesis": {}, "": {"lod": np.float32(0)}}
    networks[""]["dlatent_avg"] = arrays["mapping.w_avg"]
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part == "mapping" and rest != "w_avg":
            layer, kind = rest.split(".")
            layer = "LabelEmbed" if layer == "embed" else f"Dense{layer[2:]}"
            networks[part][f"{layer}/{kind}"] = array.T
    for i, height in enumerate(heights):
        there = networks["synthesis"]
        for conv in ("conv0", "conv1", "torgb"):
            ours = f"synthesis.b{height}.{conv}"
            if f"{ours}.weight" not in arrays:
                continue
            theirs = {"conv0": "Conv0_up", "conv1": "Conv1" if i else "Conv", "torgb": "ToRGB"}[conv]
            theirs = f"{height}x{height}/{theirs}"
            kernel = arrays[f"{ours}.weight"].transpose(2, 3, 1, 0)
            there[f"{theirs}/weight"] = kernel[::-1, ::-1] if conv == "conv0" else kernel
            there[f"{theirs}/bias"] = arrays[f"{ours}.bias"]
            there[f"{theirs}/mod_weight"] = arrays[f"{ours}.affine.weight"].T
            there[f"{theirs}/mod_bias"] = arrays[f"{ours}.affine.bias"] - 1
            if f"{ours}.noise_const" in arrays:
                there[f"{theirs}/noise_strength"] = arrays[f"{ours}.noise_strength"]
                there[f"noise{2 * i - 1 + (conv == 'conv1')}"] = arrays[f"{ours}.noise_const"][None, None]
        if f"synthesis.b{height}.skip.weight" in arrays:
            kernel = arrays[f"synthesis.b{height}.skip.weight"]
            there[f"{height}x{height}/Skip/weight"] = kernel.transpose(2, 3, 1, 0)
    networks["synthesis"]["4x4/Const/const"] = arrays["synthesis.b4.const"][None]
    return networks


class Forger:
    """Writes files into a folder; `numpy` arrays, torch tensors and fake foreign classes are pickled as usual."""

    def __init__(self, folder: Path, network: type[Any]):
        self.folder, self.network, self.count = folder, network, 0

    def dump(self, thing: Any, protocol: int = 4) -> Path:
        """Any object as a plain pickle."""
        return self.write(pickle.dumps(thing, protocol))

    def write(self, data: bytes) -> Path:
        """Bytes as a file whose name says nothing."""
        self.count += 1
        path = self.folder / f"file{self.count}.bin"
        path.write_bytes(data)
        return path

    def module(self, class_name: str, **children: Persistent) -> Persistent:
        """A module of any class without tensors."""
        return Persistent(class_name, _parameters={}, _buffers={}, _modules=children)

    def generator(self, config: GeneratorConfig, flattened: bool = False) -> Persistent:
        """The G_ema of `nvidia`."""
        return persistent(random_generator(config, 1), flattened)

    def nvidia(
        self, config: GeneratorConfig, flattened: bool = False, edit: Callable[[Any], Any] | None = None
    ) -> Path:
        """A snapshot whose G differs from its G_ema; `edit` may change the pickled G_ema."""
        ema = self.generator(config, flattened)
        if edit is not None:
            edit(ema)
        other, augment = (
            persistent(random_generator(config, 2)),
            Persistent("AugmentPipe", _parameters={}, p=np.float32(0.2)),
        )
        discriminator = Persistent("Discriminator", _parameters={"weight": nn.Parameter(torch.ones(3))}, _modules={})
        content = {"G": other, "D": discriminator, "G_ema": ema, "augment_pipe": augment}
        return self.dump(content | {"training_set_kwargs": {"path": "x", "resolution": config.resolution[0]}})

    def tf_network(self, variables: dict[str, dict[str, Any]], **static_kwargs: Any) -> Any:
        """A TensorFlow-era network with its components."""
        parts = {name: self._network(name, found, {}) for name, found in variables.items() if name}
        return self._network("Gs", variables.get("", {}), static_kwargs, parts)

    def _network(self, name: str, variables: dict[str, Any], kwargs: dict[str, Any], parts: Any = None) -> Any:
        network = self.network()
        network.__dict__.update(version=4, name=name, static_kwargs=kwargs, components=parts or {})
        network.__dict__.update(build_module_src=POISON, build_func_name=f"G_{name}", variables=list(variables.items()))
        return network


@pytest.fixture
def forger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forger:
    """Forges files in a temporary folder."""

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise RuntimeError("a file was executed")

    persistence, tf = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.tflib.network")
    _reconstruct_persistent_obj.__module__, _reconstruct_persistent_obj.__qualname__ = (
        "torch_utils.persistence",
        "_reconstruct_persistent_obj",
    )
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    network = type("Network", (), {"__module__": "dnnlib.tflib.network"})
    tf.Network = network  # type: ignore[attr-defined]
    for name, module in (("torch_utils.persistence", persistence), ("dnnlib.tflib.network", tf)):
        monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "dnnlib.tflib", types.ModuleType("dnnlib.tflib"))
    return Forger(tmp_path, network)


@pytest.fixture
def variants() -> dict[str, GeneratorConfig]:
    """Generators of many kinds, all small."""

    def make(**changes: Any) -> GeneratorConfig:
        return GeneratorConfig(**(copy.deepcopy(TINY.__dict__) | changes))

    return {
        "plain": TINY,
        "orig": make(architecture="orig"),
        "resnet": make(architecture="resnet", conv_clamp=4.0),
        "conditional": make(c_dim=3, conv_clamp=256.0, num_fp16_res=2),
        "odd embedding": make(c_dim=2, embed_features=5, layer_features=9, mapping_layers=4),
        "one mapping layer": make(mapping_layers=1, mapping_lr_multiplier=1.0),
        "rectangle": make(resolution=(16, 8)),
        "four pixels": make(resolution=(4, 4), channels={4: 3}),
        "deep": make(resolution=(128, 128), channels={4: 4, 8: 4, 16: 4, 32: 4, 64: 3, 128: 2}, mapping_layers=12),
        "grey": make(img_channels=1),
        "no noise": make(use_noise=False),
        "short filter": make(resample_filter=(1.0, 2.0, 1.0)),
        "long filter": make(resample_filter=(1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0)),
    }


@pytest.fixture
def tiny_config() -> GeneratorConfig:
    """The plainest of them."""
    return TINY


@pytest.fixture
def make_random() -> Callable[..., Generator]:
    """`random_generator`."""
    return random_generator


@pytest.fixture
def make_tf_variables() -> Callable[..., dict[str, dict[str, Any]]]:
    """`tf_variables`."""
    return tf_variables
