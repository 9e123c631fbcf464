"""Configs: composition by Hydra, and conversion of YAML to typed, frozen dataclasses.

Only this module uses Hydra. All other code receives dataclasses: from `run` at the entry points, from `load_dataset` in
the library.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from autodrag.errors import InputError
from autodrag.typed import build, leaf_keys, near

T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent
_VERSION_BASE = "1.3"
CHECKPOINT_SUFFIXES = (".pkl", ".pt", ".pth", ".ckpt", ".safetensors")

#: Keys whose values are paths: taken literally, not parsed by Hydra's grammar.
PATH_KEYS = frozenset(
    (
        *("out", "data", "manifest", "weights", "mask", "latent", "edits", "src", "dst", "results", "page", "readme"),
        *("run", "assets", "sheets", "generator.start", "dataset.source.file", "method.options.weights"),
        *("stage2.start", "stage2.aim", "stage2.motion", "aim.motion", "motion.start", "encoder.folder"),
        "generator",  # of the benchmarks: a dataset or a file
    )
)

# Configs are inside the package in an installed wheel, and beside it in a checkout.
CONFIG_DIR = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
ASSET_DIR = _PACKAGE / "assets"
MODEL_DIR = Path(os.environ.get("AUTODRAG_MODELS") or Path.home() / ".cache" / "autodrag").expanduser()


@dataclass(frozen=True)
class Source:
    """Where a generator file comes from. Without `url` and `drive_id` it is bundled, or the user's own."""

    file: str  # name under MODEL_DIR (downloaded) or ASSET_DIR (bundled), or an absolute path
    url: str | None  # direct URL
    drive_id: str | None  # Google Drive id
    sha256: str | None  # of the unpacked file; None if not published
    licence: str  # of the weights

    @property
    def remote(self) -> bool:
        """Whether the file must be downloaded."""
        return self.url is not None or self.drive_id is not None

    @property
    def path(self) -> Path:
        """The local path of the file, which may not exist."""
        return (MODEL_DIR if self.remote else ASSET_DIR) / self.file


@dataclass(frozen=True)
class DatasetConfig:
    """An image domain: its generator, and constants for methods and evaluation protocols (`configs/dataset/`)."""

    name: str
    resolution: tuple[int, int] | None  # (H, W) in pixels; None: that of the file
    psi: float  # truncation of the images that are dragged
    lam: tuple[float, float]  # range of lambda in Eq. 7
    motion_px: float  # typical motion of points from I_0 to I_n with lam and psi, in pixels at a height of 512
    handle_px: float  # minimum motion of handles in training, in the same unit
    content: tuple[float, float, float, float] | None  # used part of the canvas, (x0, y0, x1, y1) fractions; None: all
    source: Source
    draggan_lr: float  # learning rate of DragGAN
    draggan_stop: float | None  # stopping distance in pixels; None: as in the official code
    freedrag_lr: float  # learning rate of FreeDrag
    freedrag_l: float  # target loss of a sub-motion
    freedrag_d: float  # maximum length of a sub-motion, in feature pixels
    sigma_f: float | None  # flow scale of UserControllableLT, px at 256; None: measured before training
    sigma_e: float | None  # its scale of log expansion; None: measured

    @property
    def domain(self) -> str:
        """What its images show: the name; of a user's file, whose name says nothing of its content, the path."""
        own = not self.source.remote and Path(self.source.file).is_absolute()
        return self.source.file if own else self.name


def dataset_names() -> list[str]:
    """Names of the datasets with a config, without `custom`, the template for files given by path."""
    return sorted(path.stem for path in (CONFIG_DIR / "dataset").glob("*.yaml") if path.stem != "custom")


def load_dataset(name: str) -> DatasetConfig:
    """The config of a dataset by name, or of a generator file by path. Raises InputError for an unknown name."""
    if _is_checkpoint(name):
        path = Path(_at_home(name)).resolve()
        cfg = OmegaConf.load(CONFIG_DIR / "dataset" / "custom.yaml")
        cfg.name, cfg.source.file = path.stem, str(path)
        return typed(DatasetConfig, cfg)
    if name not in dataset_names():
        known = ", ".join(dataset_names())
        raise InputError(f"Unknown dataset {name!r}: choose one of {known}, or give the path of a generator file.")
    return typed(DatasetConfig, OmegaConf.load(CONFIG_DIR / "dataset" / f"{name}.yaml"))


def typed(cls: type[T], cfg: object) -> T:
    """Convert a composed config or a plain mapping to the frozen dataclass `cls`.

    Raises InputError, which names the key, for an unknown or missing key or a value of the wrong type.
    """
    if OmegaConf.is_config(cfg):
        try:
            cfg = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except MissingMandatoryValue as error:
            raise InputError(f"{error.full_key} has no value; give {error.full_key}=...") from None
        except OmegaConfBaseException as error:
            raise InputError(f"The config does not resolve: {_joined(error)}.") from None
    if not isinstance(cfg, Mapping):
        raise InputError(f"Expected a mapping of config keys for {cls.__name__}, found {type(cfg).__name__}.")
    return build(cls, cfg)


def dump(cfg: Any) -> str:
    """A config dataclass as YAML, for the `config.yaml` of a run folder; `load_yaml` is the inverse."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(cfg)))


def load_yaml(path: str | Path, cls: type[T]) -> T:
    """Read a dataclass written by `dump`. Raises InputError if the file is missing or invalid."""
    try:
        return typed(cls, OmegaConf.load(path))
    except FileNotFoundError:
        raise InputError(f"There is no config at {path}; give the folder of a run.") from None


def compose(config_name: str, overrides: Iterable[str] = ()) -> DictConfig:
    """Compose the config `config_name` with `key=value` overrides, as on the command line."""
    GlobalHydra.instance().clear()
    with (
        _as_input_errors(config_name),
        hydra.initialize_config_dir(str(CONFIG_DIR), job_name=config_name, version_base=_VERSION_BASE),
    ):
        return hydra.compose(config_name, overrides=list(_expanded(overrides)))


def run(config_name: str, cls: type[T], main: Callable[[T], object]) -> None:
    """Entry point of a script: compose `config_name` with the command line, and call `main` with it as a `cls`.

    The command line is Hydra's (`key=value`, `--help`, `--multirun`, `--cfg job`, launchers) without its output folder,
    logging and change of directory. An InputError is printed as one sentence, with exit status 2. In a sweep (`-m`),
    `${swept:...}` in a config gives each job its own folder.
    """

    def task(cfg: DictConfig) -> None:
        with _one_sentence():
            main(typed(cls, cfg))

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise its errors instead of printing them
    with _one_sentence():
        sys.argv[1:] = _expanded(sys.argv[1:])
        with _as_input_errors(config_name):
            sys.argv[1:] += _exclude_fixed(sys.argv[1:])
            hydra.main(config_path=str(CONFIG_DIR), config_name=config_name, version_base=_VERSION_BASE)(task)()


_FIXED = "hydra.job.config.override_dirname.exclude_keys"  # Hydra's setting for keys omitted from folder names


def _exclude_fixed(arguments: Sequence[str]) -> list[str]:
    """The override that lists the command-line keys that do not vary in a sweep."""
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    fixed = [override.key_or_group for override in parsed if not override.is_sweep_override()]
    return [f"{_FIXED}=[{','.join(map(_quoted, fixed))}]"] if fixed else []


def _swept(*carried: str) -> str:
    """`${swept:dataset,...}`: "-key=value" for each key that a sweep varies, except those in `carried`; else ""."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    job = HydraConfig.get()
    known = {*job.job.config.override_dirname.exclude_keys, *carried}
    varied = [override for override in job.overrides.task if override.lstrip("+").partition("=")[0] not in known]
    return "".join("-" + re.sub(r"[^\w.=+-]+", "_", override) for override in varied)


OmegaConf.register_new_resolver("swept", _swept, replace=True)


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


@contextmanager
def _as_input_errors(config_name: str) -> Iterator[None]:
    """Convert Hydra's errors to InputError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_hydra_sentence(error, config_name)) from None


_KEY_AND_VALUE = re.compile(r"(\+\+?|~)?[\w.@/:-]+=")  # start of a Hydra override


def _hydra_sentence(error: Exception, config_name: str) -> str:
    """A Hydra error as one sentence; for an unknown key, with similar keys."""
    text = str(error)
    if (start := "Could not override '") in text:
        key = text.partition(start)[2].partition("'")[0]
        keys = leaf_keys(OmegaConf.to_container(compose(config_name)))
        return f"Unknown config key {key!r}{near(key, keys)}; `--help` lists all of them."
    options: Sequence[str] | None = getattr(error, "options", None)
    if options:
        group, _, choice = str(getattr(error, "missing_cfg_file", "")).rpartition("/")
        return f"Unknown {group} {choice!r}: choose one of {', '.join(sorted(options))}."
    if isinstance(error, OverrideParseException) and not _KEY_AND_VALUE.match(error.override):
        return f"The command line takes key=value, not {error.override!r}; `--help` lists all keys."
    return f"The command line cannot be read: {_joined(text.partition('See https://')[0])}."


def _expanded(overrides: Iterable[str]) -> list[str]:
    """Quote paths in overrides for Hydra's grammar, and expand `dataset=FILE` to overrides of `dataset=custom`.

    Lists of values for a sweep are preserved.
    """
    overrides = list(overrides)
    swept = not {"-m", "--multirun"}.isdisjoint(overrides)
    result = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if key == "dataset" and _is_checkpoint(value):
            path = Path(_at_home(value)).resolve()
            result += ["dataset=custom", f"dataset.name={_quoted(path.stem)}", f"dataset.source.file={_quoted(path)}"]
        elif equals and key.lstrip("+") in PATH_KEYS and not _is_written_out(value) and not (swept and "," in value):
            result.append(f"{key}={_quoted(_at_home(value))}")
        else:
            result.append(override)
    return result


def _is_checkpoint(name: str) -> bool:
    return Path(name).suffix.lower() in CHECKPOINT_SUFFIXES


def _at_home(path: str) -> str:
    """The path with a leading `~` expanded, otherwise unchanged."""
    return str(Path(path).expanduser()) if path == "~" or path.startswith(("~/", "~\\")) else path


def _is_written_out(value: str) -> bool:
    """Whether a value is already quoted for Hydra, or is not a path."""
    return value in ("", "null", "???") or (len(value) > 1 and value[0] == value[-1] and value[0] in "'\"")


def _quoted(value: object) -> str:
    return QuotedString(str(value), Quote.single).with_quotes()


def _joined(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".")
