"""The networks behind the metrics of a dataset, and why some are missing on this machine."""

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
class MetricNetworks:
    """The networks that could be loaded."""

    lpips: Lpips | None
    identity: Reader | None  # reads parameters from synthface images
    features: list[FeatureNetwork]  # for Frechet distances
    missing: dict[str, str]  # metric -> why it is missing

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Name -> hash of the weights, for each network that is there."""
        single = {"LPIPS": self.lpips, "identity": self.identity}
        named = {name: one.fingerprint for name, one in single.items() if one is not None}
        return named | {network.name: network.fingerprint for network in self.features}


def load_metric_networks(dataset: str, device: torch.device, download: bool) -> MetricNetworks:
    """All networks that can be loaded.

    dataset: `DatasetConfig.domain`. download: fetch weights that are not on this machine.
    """
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
    return MetricNetworks(lpips, reader, features, missing)
