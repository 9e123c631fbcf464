"""The networks of perceptual metrics: InceptionV3 (torch-fidelity) and LPIPS, loaded by their libraries.

If weights are missing, loading raises InputError, whose message is shown in place of the metric.
"""

import hashlib
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.fingerprint import hash_of
from autodrag.images import to_uint8

ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)


@runtime_checkable
class FeatureNetwork(Protocol):
    """Feature vectors of images, for the Frechet distance `name`. caption: network and resizing, for tables."""

    name: str
    caption: str

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        ...

    def features(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Feature vectors of images in [-1, 1], on the CPU."""
        ...


class Inception:
    """The features of the FID: torch-fidelity's InceptionV3, D = 2048."""

    name = "FID"
    caption = "torch-fidelity InceptionV3, layer 2048, bytes resized to 299 px as TensorFlow 1 does"

    def __init__(self, device: torch.device, download: bool = True) -> None:
        """Raises InputError if the weights are missing and `download` is false or fails."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self._network: Any = _load(
            lambda: FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], verbose=False),
            "FID",
            INCEPTION,
            download,
        ).to(device)
        self._device = device

    @property
    def fingerprint(self) -> str:
        return hash_of(self._network)

    @torch.no_grad()
    def features(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Features of images in [-1, 1], quantised to uint8 first, as in files."""
        (features,) = self._network(to_uint8(images).to(self._device))
        return features.float().cpu()


class Lpips:
    """LPIPS of the `lpips` package (AlexNet, version 0.1), one distance per item."""

    name = "LPIPS"

    def __init__(self, device: torch.device, network: nn.Module | None = None, download: bool = True) -> None:
        """network: an `lpips.LPIPS` instead of the published one. Raises InputError if there are no weights."""
        self._network = (network or load_lpips(download)).to(device).eval()
        self._device = device

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        return hash_of(self._network)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N 3 H W"], wanted: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
        """Images in [-1, 1]."""
        distance: Tensor = self._network(images.to(self._device), wanted.to(self._device))
        return distance.flatten().cpu()


def load_lpips(download: bool) -> nn.Module:
    """The published LPIPS with AlexNet.

    download: fetch missing weights. Raises InputError if they are missing otherwise, or the download fails.
    """

    def build() -> nn.Module:
        import lpips  # imports torchvision, which takes seconds

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips asks torchvision for weights in a deprecated way
            network: nn.Module = lpips.LPIPS(net="alex", verbose=False)
        return network

    return _load(build, "LPIPS", ALEXNET, download)


def _load(build: Callable[[], nn.Module], metric: str, url: str, download: bool) -> nn.Module:
    """The network that `build` loads from torch's cache, after downloading the file of `url` to it if necessary.

    The file is verified by the hash in its name, a convention of torch that the libraries do not check. Their output
    goes to stderr.
    """
    file = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    wanted = file.rpartition("-")[2].partition(".")[0]
    if not path.is_file():
        if not download:
            raise InputError(f"{metric} needs {file}; download it with download=true, or put it into {path.parent}.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=wanted, progress=False)
        except (OSError, RuntimeError) as error:  # no network, or a wrong hash
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{metric} needs {file}, which could not be downloaded ({reason}); put it into {path.parent}."
            ) from None
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(wanted):
        raise InputError(f"{metric} needs {file}, but {path} is damaged or another file; delete it and start again.")
    with redirect_stdout(stderr):
        return build()
