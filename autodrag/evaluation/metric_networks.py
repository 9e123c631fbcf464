"""What a dataset is measured with on this machine, and for what is not to be had, the line that says why."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch

from autodrag.domains.synthface.reader import Reader, reader_path
from autodrag.errors import InputError
from autodrag.vision.networks import FeatureNetwork, Inception, Lpips

T = TypeVar("T")


@dataclass(frozen=True)
class Instruments:
    """lpips, identity: None where there is none. features: networks for Frechet distances. missing: metric -> why."""

    lpips: Lpips | None
    identity: Reader | None
    features: list[FeatureNetwork]
    missing: dict[str, str]

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """What scores are made with: the name of each instrument that is here, and the hash of its weights."""
        single = {"LPIPS": self.lpips, "identity": self.identity}
        named = {name: one.fingerprint for name, one in single.items() if one is not None}
        return named | {network.name: network.fingerprint for network in self.features}


def load_instruments(dataset: str, device: torch.device, download: bool) -> Instruments:
    """Everything that can be loaded; `download`: weights that are not on this machine too."""
    missing: dict[str, str] = {}

    def attempt(metric: str, load: Callable[[], T]) -> T | None:
        try:
            return load()
        except InputError as error:
            missing[metric] = str(error)
            return None

    lpips = attempt("LPIPS", lambda: Lpips(device, download=download))
    inception = attempt("FID", lambda: Inception(device, download))
    reader = attempt("identity and FD-synthface", lambda: Reader.load(reader_path(dataset), device))
    features: list[FeatureNetwork] = [network for network in (inception, reader) if network is not None]
    return Instruments(lpips, reader, features, missing)
