"""Every number of the reference outputs, through the public functions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autodrag import load_generator
from autodrag.generator import FrozenGenerator

TOLERANCE = 1e-4  # of the array's largest magnitude
FILES = [
    "sg2_64.pkl",
    "sg2_64_tf.pkl",
    "sg2_32_cond_fp16cfg.pkl",
    "sg3code_64.pkl",
    "sg2_128.pkl",
    "sg2_256.pkl",
    "human_64x32.pkl",
    "rosinality_64.pt",
]


@pytest.fixture(scope="module", params=FILES)
def reference(request: pytest.FixtureRequest, golden: Callable[[str], Path]) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file and the reference's arrays."""
    name = request.param.partition(".")[0].removesuffix("_tf")
    with np.load(golden(f"{name}.npz")) as arrays:
        return golden(request.param), {key: torch.from_numpy(arrays[key]) for key in arrays}


def assert_equal(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert found.shape == wanted.shape
    assert (found.float() - wanted).abs().max() <= tolerance * wanted.abs().max()


def rows(g: FrozenGenerator, wanted: torch.Tensor) -> torch.Tensor:
    """rosinality's arrays hold one row for all."""
    return wanted if wanted.ndim == 3 else wanted[:, None].expand(-1, g.num_ws, -1)


def test_mapping_and_truncation(reference: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, arrays = reference
    g = load_generator(path)
    z, c = arrays["z"], arrays.get("c")
    c = c if g.c_dim else None
    assert_equal(g.map(z, c), rows(g, arrays["w"]))
    assert_equal(g.map(z, c, psi=0.7), rows(g, arrays["w_psi07"]))
    if "w_psi05_cut4" in arrays:
        assert_equal(g.map(z, c, psi=0.5, cutoff=4), arrays["w_psi05_cut4"])
    if "latent_avg" in arrays:
        assert_equal(g.w_avg, arrays["latent_avg"])


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_and_features(reference: tuple[Path, dict[str, torch.Tensor]], channels_last: bool) -> None:
    path, arrays = reference
    g = load_generator(path, channels_last=channels_last)
    ws = arrays["w_plus"]
    for mode in ("const", "none"):
        if f"image_{mode}" in arrays:
            wanted = arrays[f"image_{mode}"]
            assert_equal(g.synthesize(ws, noise=mode), wanted)
            assert_equal(torch.cat([g.synthesize(row[None], noise=mode) for row in ws]), wanted)
            assert_equal(g.synthesize(ws.clone().requires_grad_(), noise=mode).detach(), wanted)
    for number, (height, _) in enumerate(g.block_resolutions, start=1):
        if f"feature_b{height}" in arrays:
            wanted = arrays[f"feature_b{height}"]
            assert_equal(g.features(ws, block=number), wanted)
            assert wanted.shape[1:] == g.feature_shape(number)


def test_gradient(reference: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, arrays = reference
    if "grad_w_feature_msq" not in arrays:
        pytest.skip("the reference holds no gradient of this file")
    ws = arrays["w_plus"].clone().requires_grad_()
    load_generator(path).features(ws, block=6).square().mean().backward()
    assert ws.grad is not None
    assert_equal(ws.grad, arrays["grad_w_feature_msq"])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_low_precision(reference: tuple[Path, dict[str, torch.Tensor]], dtype: torch.dtype, tolerance: float) -> None:
    path, arrays = reference
    g = load_generator(path, dtype=dtype)
    assert_equal(g.synthesize(arrays["w_plus"]), arrays["image_const"], tolerance)
