"""State dicts of generators, wherever a file keeps them: under a name, in a module, behind the prefixes of wrappers."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .machine import MalformedError, Stub
from .rebuild import Attributed, StoredArray, StoredTensor

#: What programs call an averaged generator, and what they call a state dict of which there is only one.
AVERAGED = (
    *(
        "G_ema",
        "g_ema",
        "Gs",
        "params_ema",
        "generator_ema",
        "netG_ema",
        "model_ema",
        "ema",
        "Gema",
        "gema",
        "nets_ema",
    ),
    *("G_ema_state_dict", "g_ema_state_dict", "ema_state_dict"),
)
_HOLDERS = (
    *("state_dict", "model_state_dict", "params", "model", "generator", "weights", "module", "generator_state_dict"),
    *("checkpoint", "models", "net", "network", "networks", "nets", "decoder", "gen", "model_dict"),
)
_AVERAGES = ("latent_avg", "w_avg", "dlatent_avg", "mean_latent")
CONFIG_KEY = "autodrag.config"  # among the metadata of a state dict that was converted here

_WRAPPERS = {"module", "_orig_mod"}  # of DataParallel and torch.compile
_CLUES = re.compile(
    r"(?:^|(?<=\.))(?:synthesis\.b\d{1,6}\.const|synthesis\.b4\.conv1\.weight|mapping\.fc0\.weight"
    r"|input\.input|conv1\.conv\.weight|to_rgb1\.conv\.weight"
    r"|constant_input\.weight|style_conv1\.modulated_conv\.weight|to_rgb1\.modulated_conv\.weight)$"
)
_PARTS = {
    *("mapping", "synthesis"),
    *("style", "input", "conv1", "to_rgb1", "convs", "to_rgbs", "noises"),
    *("style_mlp", "constant_input", "style_conv1", "style_convs"),
}
_EMA = re.compile(r"(?:^|[._])ema(?:[._]|$)", re.IGNORECASE)
_MAX_DEPTH = 16
_MAX_NAMES = 100_000


@dataclass(frozen=True)
class StateDict:
    """tensors: under the names of the program that wrote it, without prefixes. average: its latent, where there is one.

    config: JSON of ours, where the file was converted here.
    """

    tensors: dict[str, Tensor]
    average: Tensor | None
    config: str | None

    @property
    def nvidia(self) -> bool:
        """Whether the names are NVIDIA's."""
        return any(name.startswith(("synthesis.", "mapping.")) for name in self.tensors)


def find_state_dict(root: Any, average: Any = None, depth: int = 0) -> StateDict | None:
    """The averaged generator of an unpickled object, else the only one; None where there is none.

    average: found beside the place that is searched. Raises MalformedError.
    """
    entries = _entries(root)
    average = next((entries[name] for name in _AVERAGES if is_stored(entries.get(name))), average)
    inside = [entries[name] for name in AVERAGED if name in entries]
    if depth < _MAX_DEPTH:
        for value in inside:
            if (found := find_state_dict(value, average, depth + 1)) is not None:
                return found
    own = _generator(dict(_named(root)))
    if own:
        tensors = {name: load(value, name) for name, value in own.items()}
        return StateDict(tensors, None if average is None else load(average, "latent_avg"), _config(root))
    if depth < _MAX_DEPTH:
        for name in _HOLDERS:
            if name in entries and (found := find_state_dict(entries[name], average, depth + 1)) is not None:
                return found
    return None


def is_stored(value: Any) -> bool:
    """Whether it is a tensor or an array that is still in the file."""
    return isinstance(value, StoredTensor | StoredArray)


def load(value: Any, name: str) -> Tensor:
    """The tensor itself. Raises MalformedError where it is none."""
    if not isinstance(value, StoredTensor | StoredArray):
        raise MalformedError(f"the entry {name}, which is no tensor")
    return value.load()


def stored_tensors(root: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor and array in dictionaries and lists within each other, under its place in them."""
    if is_stored(root):
        yield prefix or "tensor", load(root, prefix)
    if depth > _MAX_DEPTH or isinstance(root, StoredTensor | StoredArray):
        return
    entries = enumerate(root) if isinstance(root, list | tuple) else _entries(root).items()
    for name, value in entries:
        yield from stored_tensors(value, f"{prefix}/{name}".lstrip("/"), depth + 1)


def _entries(value: Any) -> dict[Any, Any]:
    """What a dictionary, or a stub of a kind of dictionary, holds."""
    if isinstance(value, Stub):
        return value.items
    return value if isinstance(value, dict) else {}


def _named(root: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of a state dict, or of the parameters and buffers in the modules below a stub."""
    pending = [("", root, 0)]
    count = 0
    while pending:
        prefix, value, depth = pending.pop()
        state = value.state if isinstance(value, Stub) else None
        parts = [state.get(key, {}) for key in ("_parameters", "_buffers")] if isinstance(state, dict) else []
        for part in parts or [_entries(value)]:
            for name, tensor in _entries(part).items():
                if isinstance(name, str) and tensor is not None:
                    yield prefix + name, tensor
                    count += 1
        below = _entries(state.get("_modules")) if isinstance(state, dict) else {}
        pending += [(f"{prefix}{name}.", child, depth + 1) for name, child in below.items() if isinstance(child, Stub)]
        if depth > _MAX_DEPTH or count + len(pending) > _MAX_NAMES:
            raise MalformedError("modules nested without end")


def _generator(named: dict[str, Any]) -> dict[str, Any]:
    """The entries of the generator among those of a state dict, without their prefix; empty where there is none."""
    plain = {".".join(part for part in name.split(".") if part not in _WRAPPERS): v for name, v in named.items()}
    prefixes = Counter(name[: match.start()] for name in plain if (match := _CLUES.search(name)))
    if not prefixes:
        return {}
    prefix = max(prefixes, key=lambda p: (bool(_EMA.search(p)), prefixes[p], -len(p)))
    own = {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}
    return {name: value for name, value in own.items() if name.partition(".")[0] in _PARTS}


def _config(root: Any) -> str | None:
    attributes = root.attributes if isinstance(root, Attributed) else None
    metadata = attributes.get("_metadata") if isinstance(attributes, dict) else None
    text = metadata.get(CONFIG_KEY) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else None
