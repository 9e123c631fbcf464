"""The network against itself: noise, batches, precision, freezing, and configs."""

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from third_party.stylegan2 import Generator, GeneratorConfig
from third_party.stylegan2.layers import StyledConv
from third_party.stylegan2.ops import resample_kernel, upsample
from third_party.stylegan2.pointwise import scale_shift_lrelu


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
@pytest.mark.parametrize("batch", [1, 3])
def test_styles_of_all_layers_at_once_give_the_same(
    lively: Any,
    some_ws: Any,
    image_of: Any,
    close: Any,
    network_config: GeneratorConfig,
    dtype: torch.dtype,
    architecture: str,
    batch: int,
) -> None:
    config = dataclasses.replace(network_config, architecture=architecture)
    ws = some_ws(config, batch).requires_grad_(dtype == torch.float32)
    alone, together = (lively(config).freeze(dtype, together=both) for both in (False, True))
    assert alone.synthesis.modulations is None and together.synthesis.modulations is not None
    tolerance = 1e-5 if dtype == torch.float32 else 5e-3
    assert close(image_of(together, ws), image_of(alone, ws), tolerance)
    tapped = [generator.synthesis(ws, taps=(2, 3), stop=3)[1] for generator in (together, alone)]
    assert all(close(tapped[0][block], tapped[1][block], tolerance) for block in (2, 3))
    if dtype == torch.float32:
        gradients = [torch.autograd.grad(image_of(g, ws).square().sum(), ws)[0] for g in (together, alone)]
        assert close(*gradients, 1e-4)
    assert together.thaw().synthesis.modulations is None


def test_long_filters_are_applied_along_one_axis_after_the_other(
    lively: Any, some_ws: Any, image_of: Any, close: Any, network_config: GeneratorConfig
) -> None:
    taps = (1.0, 2.0, 4.0, 8.0, 7.0, 5.0, 3.0, 1.0)
    kernel = resample_kernel(taps)
    assert kernel.shape == (8,)
    x = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert close(upsample(x, kernel), upsample(x, torch.outer(kernel, kernel)))
    generator = lively(dataclasses.replace(network_config, resample_filter=taps))
    wanted = image_of(generator, some_ws())
    for module in generator.modules():
        if hasattr(module, "resample_filter"):
            module.resample_filter = torch.outer(kernel, kernel)
    assert close(image_of(generator, some_ws()), wanted)


def test_upsampling_keeps_the_level_of_a_constant_map() -> None:
    up = upsample(torch.full((1, 1, 8, 8), 2.5), resample_kernel((1, 3, 3, 1)))
    assert up.shape == (1, 1, 16, 16)
    assert torch.allclose(up[..., 2:-2, 2:-2], torch.tensor(2.5))


def test_noise_is_fixed_drawn_or_absent(
    lively: Any, some_ws: Any, image_of: Any, close: Any, network_config: GeneratorConfig
) -> None:
    generator, ws = lively(), some_ws()
    const, none = image_of(generator, ws), image_of(generator, ws, "none")
    assert close(const, image_of(generator, ws))
    assert not close(const, none, 1e-3)
    assert not close(image_of(generator, ws, "random"), image_of(generator, ws, "random"), 1e-3)
    for module in generator.modules():
        if isinstance(module, StyledConv):
            module.noise_strength.data.zero_()
    assert close(image_of(generator, ws), none)
    assert close(image_of(generator, ws, "random"), none)
    silent = Generator(dataclasses.replace(network_config, use_noise=False))
    silent.load_state_dict({k: v for k, v in generator.state_dict().items() if ".noise_" not in k}, strict=True)
    assert close(image_of(silent, ws), none)


def test_random_noise_differs_between_samples(lively: Any, some_ws: Any, image_of: Any, close: Any) -> None:
    ws = some_ws(batch=1).expand(2, -1, -1)
    for generator in (lively(), lively().freeze()):
        a, b = image_of(generator, ws, "random")
        assert not close(a, b, 1e-3)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_a_batch_of_n_is_n_batches_of_one(
    lively: Any,
    some_ws: Any,
    close: Any,
    network_config: GeneratorConfig,
    architecture: str,
    clamp: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(network_config, architecture=architecture, conv_clamp=clamp)
    ws = some_ws(config)
    for generator in (lively(config), lively(config).freeze()):
        whole, features = generator.synthesis(ws, taps=(2, 4))
        assert whole is not None
        singles = [generator.synthesis(row[None], taps=(2, 4)) for row in ws]
        assert close(whole, torch.cat([image for image, _ in singles if image is not None]))
        for block in (2, 4):
            assert close(features[block], torch.cat([taken[block] for _, taken in singles]))
    # Above some size the samples go through the blocks one by one.
    monkeypatch.setattr("third_party.stylegan2.synthesis.HEAP_LIMIT", 0)
    parts, taken = lively(config).freeze().synthesis(ws, taps=(2, 4))
    assert parts is not None and close(parts, whole)
    assert close(taken[2], features[2]) and close(taken[4], features[4])
    assert lively(config).freeze().synthesis(ws, taps=(4,), stop=4)[0] is None


def test_blocks_above_the_one_asked_for_are_not_computed(lively: Any, some_ws: Any, close: Any) -> None:
    generator, ws = lively(), some_ws()
    seen: list[str] = []
    for name, module in generator.synthesis.named_modules():
        if not list(module.children()) or isinstance(module, StyledConv):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    image, features = generator.synthesis(ws, taps=(1, 2), stop=2)
    assert image is None and set(features) == {1, 2}
    assert {name.split(".")[0] for name in seen} == {"b4", "b8"}
    assert not [name for name in seen if "torgb" in name]
    whole, taken = generator.synthesis(ws, taps=(2,))
    assert whole is not None and close(taken[2], features[2])


def test_clamping_bounds_every_block_and_stops_gradients(
    lively: Any, some_ws: Any, network_config: GeneratorConfig
) -> None:
    generator = lively(dataclasses.replace(network_config, conv_clamp=0.25))
    ws = some_ws().requires_grad_()
    _, features = generator.synthesis(ws, taps=(1, 2, 3, 4))
    assert all(f.abs().max() == 0.25 for f in features.values())
    x = torch.tensor([[[[-9.0, -0.1, 0.1, 9.0]]]], requires_grad=True)
    y = scale_shift_lrelu(x, torch.ones(1, 1), torch.zeros(1), None, 0.5)
    assert torch.allclose(y.detach(), torch.tensor([-0.5, -0.02, 0.1, 0.5]))
    y.sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, torch.tensor([0.0, 0.2, 1.0, 0.0]))


def test_labels_and_truncation(lively: Any, close: Any, network_config: GeneratorConfig) -> None:
    config = dataclasses.replace(network_config, c_dim=4)
    mapping = lively(config).mapping
    mapping.w_avg.normal_()
    z = torch.randn(2, 6)
    ws = mapping(z)
    assert ws.shape == (2, 8, 8)
    assert close(ws, mapping(z, torch.zeros(2, 4)))
    assert not close(ws, mapping(z, torch.eye(4)[:2]), 1e-2)
    assert close(mapping(10 * z), ws)  # only the direction of z counts
    half = mapping(z, psi=0.5, cutoff=3)
    assert close(half[:, :3], (ws[:, :3] + mapping.w_avg) / 2)
    assert close(half[:, 3:], ws[:, 3:])
    assert close(mapping(z, psi=0.0), mapping.w_avg.expand(2, 8, -1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 5e-3)])
def test_low_precision_blocks(
    lively: Any, some_ws: Any, image_of: Any, close: Any, dtype: torch.dtype, tolerance: float
) -> None:
    ws = some_ws()
    wanted = image_of(lively(), ws)
    generator = lively().freeze(dtype)
    image, features = generator.synthesis(ws, taps=(4,))
    assert image is not None and image.dtype == torch.float32 and features[4].dtype == dtype
    assert close(image, wanted, tolerance)
    leaf = ws.clone().requires_grad_()
    assert close(image_of(generator, leaf), wanted, tolerance)


def test_float16_survives_large_weights(lively: Any, some_ws: Any, image_of: Any, close: Any) -> None:
    generator = lively()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("conv0.weight", "conv1.weight")):
                parameter.mul_(1e4)  # which demodulation takes out again
    wanted = image_of(generator, some_ws())
    for batch in (some_ws(), some_ws().requires_grad_()):
        assert close(image_of(generator.freeze(torch.float16), batch), wanted, 5e-3)


def test_freezing_changes_no_number_and_can_be_undone(lively: Any, some_ws: Any, image_of: Any, close: Any) -> None:
    generator, ws = lively(), some_ws()
    wanted = image_of(generator, ws).detach()
    generator.freeze()
    assert close(image_of(generator, ws), wanted)
    assert not [p for p in generator.parameters() if p.requires_grad]
    assert set(generator.state_dict()) == set(lively().state_dict())
    generator.thaw()
    with torch.no_grad():
        generator.synthesis.b4.const.mul_(-1)
        generator.synthesis.b32.conv1.weight.mul_(torch.randn(()))
    image_of(generator, ws).square().mean().backward()
    assert all(p.grad is not None for p in generator.synthesis.parameters())
    assert not close(image_of(generator, ws), wanted, 1e-2)


def test_it_trains_under_autocast(lively: Any) -> None:
    generator = lively()
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3)
    z, wanted = torch.randn(4, 6), torch.rand(4, 3, 32, 32) - 0.5
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            image, features = generator.synthesis(generator.mapping(z), taps=(3,))
            assert image is not None and image.dtype == torch.float32 and features[3].dtype == torch.bfloat16
            loss = F.mse_loss(image, wanted)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": (2, 2)}, "resolution"),
        ({"architecture": "other"}, "architecture"),
        ({"resample_filter": ()}, "resample_filter"),
        ({"w_dim": 0}, "positive"),
    ],
)
def test_a_config_that_no_generator_has(network_config: GeneratorConfig, change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(network_config, **change)  # type: ignore[arg-type]


def test_a_config_survives_json(network_config: GeneratorConfig) -> None:
    config = dataclasses.replace(network_config, c_dim=3, conv_clamp=256.0, resolution=(32, 16), architecture="orig")
    assert GeneratorConfig.from_json(config.to_json()) == config
    for text in ("[]", '{"z_dim": 1}', config.to_json().replace("w_dim", "d_dim"), "{"):
        with pytest.raises(ValueError):
            GeneratorConfig.from_json(text)
