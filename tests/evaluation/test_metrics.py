"""Metrics in closed form, and against their reference libraries."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from autodrag.errors import InputError
from autodrag.evaluation import metrics
from autodrag.vision import networks


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mean_distance_and_its_decay() -> None:
    wanted = normal(2, 5, 2)
    found = wanted + torch.tensor([[3.0, 4.0]])
    assert torch.allclose(metrics.mean_distance(found, wanted), torch.tensor([5.0, 5.0]))
    start = wanted + torch.tensor([[0.0, 20.0]])
    assert torch.allclose(metrics.distance_decay(found, start, wanted), torch.tensor([0.25, 0.25]))
    assert metrics.distance_decay(wanted, wanted, wanted).tolist() == [0, 0]


def test_squared_error_is_a_mean_over_pixels_and_channels() -> None:
    image = torch.zeros(2, 3, 4, 4)
    wanted = image.clone()
    wanted[1, :, :2] = 0.5
    assert metrics.squared_error(image, wanted).tolist() == [0.0, 0.125]


def test_change_outside_ignores_what_moves() -> None:
    source = torch.zeros(1, 3, 8, 8)
    image = source.clone()
    image[..., :4, :] = 2  # black to white in the upper half
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[:, :4] = True
    assert metrics.change_outside(image, source, region).item() == 0
    assert metrics.change_outside(image, source, ~region).item() == 1
    assert metrics.change_outside(image, source, torch.zeros_like(region)).item() == 0.5
    assert metrics.change_outside(image, source, torch.ones_like(region)).item() == 0


def test_moved_region_is_the_widened_hull() -> None:
    region = metrics.moved_region(torch.tensor([[20.0, 30.0], [40.0, 30.0], [30.0, 45.0]]), (64, 64), margin=2 / 64)
    assert region[35, 30] and region[28, 30] and not region[27, 30]
    assert region[30, 18] and not region[30, 17]
    line = metrics.moved_region(torch.tensor([[10.0, 10.0], [10.0, 20.0]]), (64, 32), margin=1 / 64)
    assert line.shape == (64, 32) and line[15, 9:12].all() and line.sum() == 3 * 11 + 2


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 16), (40, 60, 24)])
def test_frechet_distance_is_torch_fidelitys(n: int, m: int, d: int) -> None:
    first = normal(n, d).double() @ normal(d, d, seed=1).double()
    second = normal(m, d, seed=2).double() * 1.3 + 0.4
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(first), fid_features_to_statistics(second), verbose=False
    )[KEY_METRIC_FID]
    assert metrics.frechet_distance(first, second) == pytest.approx(theirs, rel=1e-9)


def test_frechet_distance_in_closed_form() -> None:
    features = normal(500, 6)
    assert metrics.frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(features, features + 2) == pytest.approx(6 * 4, rel=1e-6)
    variance = features.double().var(dim=0).sum().item()
    assert metrics.frechet_distance(features, features * 3 - features.mean(0) * 2) == pytest.approx(
        variance * 4, rel=1e-5
    )


def test_frechet_distance_of_fewer_items_than_features_is_finite() -> None:
    few = normal(5, 32)
    assert metrics.frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(metrics.frechet_distance(few, normal(7, 32, seed=1)))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)


@pytest.mark.parametrize(("network", "file"), [(networks.Inception, "weights-inception"), (networks.Lpips, "alexnet")])
def test_a_metric_without_weights_gives_a_clear_error(offline: None, network, file: str) -> None:
    with pytest.raises(InputError, match=f"needs {file}.*no network.*put it into"):
        network(torch.device("cpu"))


def test_lpips_is_the_librarys_on_a_backbone_of_random_weights() -> None:
    import lpips

    torch.manual_seed(0)
    library: nn.Module = lpips.LPIPS(net="squeeze", pnet_rand=True, pretrained=False, verbose=False)
    first, second = normal(2, 3, 64, 64).clamp(-1, 1), normal(2, 3, 64, 64, seed=1).clamp(-1, 1)
    ours = networks.Lpips(torch.device("cpu"), library)(first, second)
    with torch.no_grad():
        theirs = torch.stack([library(a[None], b[None]).squeeze() for a, b in zip(first, second, strict=True)])
    assert ours.shape == (2,) and torch.allclose(ours, theirs, rtol=1e-5)
    assert networks.Lpips(torch.device("cpu"), library)(first, first).tolist() == [0, 0]


def test_inception_features_are_torch_fidelitys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wiring, on random weights: bytes, resize and layer are the library's."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    monkeypatch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
    monkeypatch.setattr(networks, "_load", lambda make, *_: make())
    torch.manual_seed(0)
    inception = networks.Inception(torch.device("cpu"))
    images = normal(2, 3, 32, 32)
    features = inception.features(images)
    pixels = ((images.clamp(-1, 1) + 1) / 2 * 255).round().byte()
    (wanted,) = inception._network(pixels)
    assert features.shape == (2, 2048) and torch.allclose(features, wanted, rtol=1e-4, atol=1e-5)
