"""The files of FID and LPIPS in torch's cache: complete ones are used, others give a clear error."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from autodrag.errors import InputError
from autodrag.vision import networks
from autodrag.vision.networks import Inception, Lpips

FILES = {Inception: "weights-inception-2015-12-05-6726825d.pth", Lpips: "alexnet-owt-7be5be79.pth"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("metric", [Inception, Lpips])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", pickle.dumps({"a": 1}), b"PK\x03\x04cut"])
@pytest.mark.parametrize("download", [True, False])
def test_a_damaged_file_gives_a_clear_error(metric: type, content: bytes, download: bool, cache: Path) -> None:
    path = cache / FILES[metric]
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"needs {path.name}, but {path} is damaged or another file; delete it"):
        metric(torch.device("cpu"), download=download)


@pytest.mark.parametrize("metric", [Inception, Lpips])
def test_a_missing_file_names_its_place(metric: type, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"download it with download=true, or put it into {cache}"):
        metric(torch.device("cpu"), download=False)

    def no_network(url: str, dst: str, hash_prefix: str, progress: bool) -> None:
        assert url.endswith(FILES[metric]) and Path(dst) == cache / FILES[metric] and hash_prefix in FILES[metric]
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(InputError, match=rf"could not be downloaded \(no route to host\); put it into {cache}"):
        metric(torch.device("cpu"))


def test_a_whole_file_is_used(cache: Path) -> None:
    content = b"weights"
    prefix = hashlib.sha256(content).hexdigest()[:8]
    (cache / f"net-{prefix}.pth").write_bytes(content)
    built = networks._load(lambda: nn.Linear(1, 1), "FID", f"https://example.org/net-{prefix}.pth", download=False)
    assert isinstance(built, nn.Linear)


def test_lpips_fingerprint_depends_on_its_weights() -> None:
    first, second = (Lpips(torch.device("cpu"), nn.Linear(2, 2)) for _ in range(2))
    assert first.fingerprint == first.fingerprint != second.fingerprint
