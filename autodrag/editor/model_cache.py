"""Generators and drag methods that all editing sessions share; each is loaded once."""

import copy
import hashlib
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autodrag.config import DatasetConfig, dataset_names, load_dataset
from autodrag.devices import pick_device
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.methods import METHODS as ALL_METHODS
from autodrag.methods import Kind, load_method
from autodrag.methods.autodrag import AutoDragMethod
from autodrag.methods.base import DragMethod
from autodrag.methods.landing import LandingMethod
from autodrag.methods.latent_transformer import LatentTransformerMethod
from autodrag.models import Encoder, PointMotion
from autodrag.models.stored import stored_kind
from autodrag.weights import find_weights

MAX_OPENED = 4  # generator files of pages that are kept; one of 1024 px takes 130 MB

METHODS = {name: kind for name, kind in ALL_METHODS.items() if kind.editor}


@dataclass(frozen=True)
class Offer:
    """A method or dataset to choose from. missing: why it cannot be used, in one sentence; None: it can."""

    name: str
    label: str
    missing: str | None


class ModelCache:
    """Loads generators by dataset name (or file) and methods by name, and keeps them. Safe for several threads.

    device: "auto" is a GPU where there is one. closed: only generators that were added and datasets whose file is here;
    no name leads to any other file or to a download. weights: a file of landing's or AutoDrag's; None: those
    that are found for the dataset. Raises InputError if that file is missing or holds another model.
    """

    def __init__(
        self,
        device: str = "auto",
        dtype: torch.dtype = torch.float32,
        closed: bool = False,
        weights: str | Path | None = None,
    ) -> None:
        self.device, self.dtype, self.closed, self.weights = pick_device(device), dtype, closed, weights
        self._given = None if weights is None else stored_kind(weights)  # the method that these weights are of
        if weights is not None and self._given not in METHODS:
            raise InputError(f"{weights} holds no weights of a drag method: give a file of stage=motion or stage=2.")
        self._generators: dict[str, FrozenGenerator] = {}
        self._datasets: dict[str, DatasetConfig] = {}
        self._methods: dict[tuple[str, str], DragMethod] = {}
        self._encoders: dict[str, Encoder | None] = {}
        self._opened: dict[str, str] = {}  # hash of a file -> name
        self._lock = threading.RLock()

    def add(self, generator: FrozenGenerator, dataset: DatasetConfig | None = None) -> str:
        """Offer a generator under its name, which is returned. dataset: its constants; None: those of any file."""
        name = generator.name
        with self._lock:
            if self._generators.get(name) is not generator:
                self._methods = {key: method for key, method in self._methods.items() if key[0] != name}
            self._generators[name] = generator
            self._datasets[name] = dataset or load_dataset(name if name in dataset_names() else f"{name}.safetensors")
        return name

    def open(self, data: bytes, file_name: str) -> str:
        """Offer the generator in the bytes of a file, of any format that `load_generator` reads, under a new name.

        The name, which is returned, is the file's, with a part of its hash where another generator is called so. Raises
        InputError where it is no such file, or where MAX_OPENED are open.
        """
        digest = hashlib.sha256(data).hexdigest()
        stem = re.sub(r"[^\w.-]+", "-", Path(file_name.replace("\\", "/")).stem)[:40].strip("-.") or "generator"
        with self._lock:
            if digest in self._opened:
                return self._opened[digest]
            if len(self._opened) >= MAX_OPENED:
                raise InputError(f"{MAX_OPENED} generator files are open already: restart the editor to open others.")
            name = f"{stem}-{digest[:6]}" if stem in self._generators or stem in dataset_names() else stem
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.file"
                path.write_bytes(data)
                try:
                    generator = load_generator(path, device=self.device, dtype=self.dtype)
                except InputError as error:
                    raise InputError(str(error).replace(str(path), file_name)) from None
            self._opened[digest] = self.add(generator)
            return name

    def dataset(self, name: str) -> DatasetConfig:
        """Constants of a dataset. Raises InputError for an unknown name."""
        return self._datasets[name] if name in self._datasets else load_dataset(name)

    def generator(self, name: str) -> FrozenGenerator:
        """The generator of a dataset or file. Raises InputError if there is none."""
        with self._lock:
            if name not in self._generators:
                missing = self._missing_dataset(name) if self.closed else None
                if missing is not None:
                    raise InputError(missing)
                self._generators[name] = load_generator(name, device=self.device, dtype=self.dtype)
            return self._generators[name]

    def name_of(self, dataset: str, w_avg: Tensor) -> str:
        """The dataset; if it is a file that is not here, the name that a generator with its average latent has here."""
        with self._lock:
            if (
                dataset in self._generators
                or dataset in dataset_names()
                or (not self.closed and Path(dataset).exists())
            ):
                return dataset
            alike = (name for name, one in self._generators.items() if torch.equal(one.w_avg.float().cpu(), w_avg))
            return next(alike, dataset)

    def method(self, name: str, generator: FrozenGenerator, dataset: str, steps: int | None = None) -> DragMethod:
        """A drag method on a generator: the dataset's own, or one that was fine-tuned from it.

        steps: of a drag; None: the kind's. The networks are shared. Raises InputError if the method is unknown, has no
        weights for the dataset, or takes no such number of steps.
        """
        kind = find_kind(name)
        if steps is not None and steps not in range(1, kind.most + 1):
            raise InputError(f"steps is {steps!r}, but {kind.label} takes 1 to {kind.most} in the editor.")
        chosen = kind.steps if steps is None else steps
        with self._lock:
            if (dataset, name) not in self._methods:
                options = kind.constants(self.dataset(dataset))
                if self._given == name:
                    options["weights"] = self.weights
                self._methods[dataset, name] = load_method(name, self.generator(dataset), **options)
            method = self._methods[dataset, name]
        return _changed(method, generator=generator, **({kind.option: chosen} if kind.option and chosen else {}))

    def encoder(self, dataset: str) -> Encoder | None:
        """The encoder that is trained for a dataset's generator, or None.

        Raises InputError if its file is damaged.
        """
        with self._lock:
            name = self.generator(dataset).name
            if name not in self._encoders:
                path = find_weights(name, "encoder.safetensors")
                self._encoders[name] = None if path is None else Encoder.load(path)
            return self._encoders[name]

    def point_motion(self, dataset: str) -> PointMotion | None:
        """The network of point motion that is trained for a dataset's generator, or None."""
        try:
            method = self.method("landing", self.generator(dataset), dataset)
        except InputError:
            return None
        assert isinstance(method, LandingMethod)
        return method.model.motion

    def datasets(self) -> list[Offer]:
        """The datasets of the package and the added generators; those that are not on this machine say so."""
        names = list(dict.fromkeys([*self._generators, *dataset_names()]))
        return [Offer(name, name, self._missing_dataset(name)) for name in names]

    def _missing_dataset(self, name: str) -> str | None:
        if name in self._generators:
            return None
        if name not in dataset_names():
            return f"There is no generator {name!r} here: open its file, or choose one of {', '.join(dataset_names())}."
        source = load_dataset(name).source
        if source.path.is_file():
            return None
        how = (
            f"`python scripts/download.py dataset={name}` gets it"
            if source.remote
            else "restore it from the repository"
        )
        return f"The generator of {name} is not on this machine: {how}."

    def methods(self, dataset: str) -> list[Offer]:
        """All methods; those without weights for this dataset say so. Raises InputError for an unknown dataset."""
        generator = self.generator(dataset)
        return [
            Offer(name, kind.label, self._missing_method(name, generator, dataset)) for name, kind in METHODS.items()
        ]

    def usable(self, wanted: str | None, dataset: str) -> str:
        """The method `wanted`, or the first usable one. DragGAN always is."""
        names = [offer.name for offer in self.methods(dataset) if offer.missing is None]
        return wanted if wanted in names else names[0]

    def _missing_method(self, name: str, generator: FrozenGenerator, dataset: str) -> str | None:
        try:
            self.method(name, generator, dataset)
        except InputError as error:
            return str(error)
        return None


def find_kind(name: str) -> Kind:
    """The kind of a method. Raises InputError for an unknown name."""
    if name not in METHODS:
        raise InputError(f"Unknown method {name!r}: choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def _changed(method: DragMethod, **options: object) -> DragMethod:
    """A copy of the method with other options and the same networks."""
    other = copy.copy(method)
    for name, value in options.items():
        object.__setattr__(other, name, value)  # some methods are frozen dataclasses
    return other


def untracked(method: DragMethod) -> DragMethod:
    """The method without tracking: its points are the expected ones."""
    other = copy.copy(method)
    if isinstance(other, AutoDragMethod | LatentTransformerMethod):
        other.track = False
    return other


def quickly(method: DragMethod) -> DragMethod:
    """The fastest variant of a method, for a moving pointer: untracked and with few steps.

    AutoDrag takes one step if its model has an aim. Landing continues from its last result.
    """
    quick = untracked(method)
    if isinstance(quick, AutoDragMethod) and quick.model.predictor.aim is not None:
        quick.n = 1
    if isinstance(quick, LandingMethod):
        quick.follow = True
    return quick
