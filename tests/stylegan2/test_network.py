"""The network against a direct implementation of the paper's formulas, and against itself."""

import dataclasses
import math
from collections.abc import Mapping

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from third_party.stylegan2 import Generator, GeneratorConfig
from third_party.stylegan2.layers import StyledConv
from third_party.stylegan2.ops import resample_kernel, upsample
from third_party.stylegan2.plain import plain_synthesis
from third_party.stylegan2.pointwise import broadcast_scale_shift_lrelu_, mix, modulate, scale_shift_lrelu, shift_lrelu_

State = Mapping[str, Tensor]
CONFIG = GeneratorConfig(
    z_dim=6, c_dim=0, w_dim=8, resolution=(32, 32), channels={4: 12, 8: 10, 16: 8, 32: 6}, mapping_layers=2
)
LAYOUTS = (torch.channels_last, torch.contiguous_format)


def lively(config: GeneratorConfig = CONFIG, seed: int = 0) -> Generator:
    """A generator whose biases and noise strengths are not the zeros that training starts from."""
    torch.manual_seed(seed)
    generator = Generator(config)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return generator


def some_ws(config: GeneratorConfig = CONFIG, batch: int = 3) -> Tensor:
    return torch.randn(batch, config.num_ws, config.w_dim, generator=torch.Generator().manual_seed(1))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max())


def image_of(generator: Generator, ws: Tensor, noise: str = "const") -> Tensor:
    image, _ = generator.synthesis(ws, noise)
    assert image is not None
    return image


def reference_synthesis(
    state: State, ws: Float[Tensor, "B L D"], dtype: torch.dtype, stop: int | None = None, noise: str = "const"
) -> tuple[Tensor | None, Tensor]:
    """The image in float32 (None with `stop`) and the output of the last block computed, the one numbered `stop`.

    Every sample is convolved with its own modulated weights (as one grouped convolution); up-sampling puts a zero after
    every pixel and filters. Skip architecture. state: of a generator. dtype: of the convolutions. noise: const or none.
    """
    image: Tensor | None = None
    x = state["synthesis.b4.const"].to(dtype).expand(len(ws), -1, -1, -1)
    heights = sorted(int(name.split(".")[1][1:]) for name in state if name.endswith("conv1.weight"))
    for number, height in enumerate(heights[:stop]):
        block, row = f"synthesis.b{height}", max(0, 2 * number - 1)
        if number:
            x = _layer(state, f"{block}.conv0", x, ws[:, row], True, noise)
            row += 1
        x = _layer(state, f"{block}.conv1", x, ws[:, row], False, noise)
        if stop is None:
            fir = state[f"{block}.resample_filter"]
            image = None if image is None else upfirdn(image, fir, (2, 1))
            colours = _to_rgb(state, f"{block}.torgb", x, ws[:, row + 1])
            image = colours if image is None else image + colours
    return image, x


def upfirdn(
    x: Float[Tensor, "B C h w"], fir: Float[Tensor, "k k"], padding: tuple[int, int]
) -> Float[Tensor, "B C H W"]:
    """Zero-insert to twice the size, pad, filter with gain 4 (StyleGAN2, appendix B)."""
    batch, channels, height, width = x.shape
    zeros = x.new_zeros(batch, channels, 2 * height, 2 * width)
    zeros[:, :, ::2, ::2] = x
    weight = (4 * fir.flip(0, 1)).to(x.dtype).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(zeros, padding * 2), weight, groups=channels)


def modulated_conv(x: Float[Tensor, "B I h w"], weight: Float[Tensor, "B O I k k"], padding: int) -> Tensor:
    """Every sample with its own weights."""
    batch, outputs, inputs, size, _ = weight.shape
    x = x.reshape(1, batch * inputs, *x.shape[2:])
    y = F.conv2d(x, weight.reshape(batch * outputs, inputs, size, size).to(x.dtype), padding=padding, groups=batch)
    return y.reshape(batch, outputs, *y.shape[2:])


def _styles(state: State, name: str, w: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
    gain = 1 / math.sqrt(w.shape[1])
    return F.linear(w, state[f"{name}.affine.weight"] * gain, state[f"{name}.affine.bias"])


def _layer(state: State, name: str, x: Tensor, w: Tensor, up: bool, noise: str) -> Tensor:
    # Eq. 1 and 3: modulate, demodulate.
    weight = state[f"{name}.weight"] * _styles(state, name, w)[:, None, :, None, None]  # [B, O, I, 3, 3]
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    if up:
        # 3 + 2 zeros at the borders are what the filter's and the convolution's taps need for twice the size.
        x = upfirdn(x, state[f"{name}.resample_filter"], (3, 2))
        y = modulated_conv(x, weight.flip(3, 4), 0)
    else:
        y = modulated_conv(x, weight, 1)
    if noise == "const":
        y = y + (state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]).to(y.dtype)
    y = y + state[f"{name}.bias"].to(y.dtype)[:, None, None]
    return F.leaky_relu(y, 0.2) * math.sqrt(2)


def _to_rgb(state: State, name: str, x: Tensor, w: Tensor) -> Tensor:
    weight = state[f"{name}.weight"] * (_styles(state, name, w) / math.sqrt(x.shape[1]))[:, None, :, None, None]
    return modulated_conv(x, weight, 0).float() + state[f"{name}.bias"][:, None, None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("noises", [0, 1, 3])
def test_what_a_gpu_computes_is_what_a_cpu_does(layout: torch.memory_format, clamp: float | None, noises: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 8, 4, generator=draw).contiguous(memory_format=layout)
    scale, bias = torch.randn(3, 6, generator=draw), torch.randn(6, generator=draw)
    noise = torch.randn(noises, 8, 4, generator=draw) if noises else None
    wanted = scale_shift_lrelu(x.clone(memory_format=torch.preserve_format), scale, bias, noise, clamp)
    found = broadcast_scale_shift_lrelu_(x, scale, bias, None if noise is None else noise.flatten(1), clamp)
    assert found.data_ptr() == x.data_ptr() and found.is_contiguous(memory_format=layout)
    assert close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
@pytest.mark.parametrize("batch", [1, 3])
def test_styles_of_all_layers_at_once_give_the_same(dtype: torch.dtype, architecture: str, batch: int) -> None:
    config = dataclasses.replace(CONFIG, architecture=architecture)
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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_one_shared_convolution_equals_one_for_every_sample(
    layout: torch.memory_format, frozen: bool, batch: int, noise: str
) -> None:
    generator, ws = lively(), some_ws(batch=batch)
    if frozen:
        generator.freeze(channels_last=layout == torch.channels_last)
    wanted, features = reference_synthesis(generator.state_dict(), ws, torch.float32, noise=noise)
    image, taken = generator.synthesis(ws, noise, taps=(4,))
    assert image is not None and wanted is not None
    assert close(image, wanted)
    assert close(taken[4], features)


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_equal_those_of_the_reference(batch: int) -> None:
    generator, ws = lively(), some_ws(batch=batch).requires_grad_()
    weights = dict(generator.synthesis.named_parameters(prefix="synthesis"))
    towards = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    wanted, _ = reference_synthesis(
        dict(generator.named_parameters()) | dict(generator.named_buffers()), ws, torch.float32
    )
    assert wanted is not None
    expected = torch.autograd.grad((wanted * towards).sum(), [ws, *weights.values()])
    found = torch.autograd.grad((image_of(generator, ws) * towards).sum(), [ws, *weights.values()])
    for name, a, b in zip(["ws", *weights], found, expected, strict=True):
        assert close(a, b, 2e-5), name


@pytest.mark.parametrize("stop", [None, 3])
def test_the_plain_synthesis_equals_the_reference(stop: int | None) -> None:
    generator, ws = lively(), some_ws()
    wanted, features = reference_synthesis(generator.state_dict(), ws, torch.float32, stop)
    image, found = plain_synthesis(generator, ws, stop)
    assert close(found, features)
    assert (image is None) == (wanted is None) == (stop is not None)
    assert image is None or wanted is None or close(image, wanted)


@pytest.mark.parametrize("taps", [(1,), (1, 3), (1, 2, 1), (1, 3, 3, 1), (1, 2, 3), (1, 2, 4, 8), (1, 2, 3, 4, 3)])
def test_upsampling_is_zero_insertion_and_filter(taps: tuple[float, ...]) -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    size = len(taps)
    wanted = upfirdn(x, resample_kernel(taps), ((size + 1) // 2, (size - 2) // 2))
    for layout in LAYOUTS:
        assert close(upsample(x.contiguous(memory_format=layout), resample_kernel(taps)), wanted)


def test_long_filters_are_applied_along_one_axis_after_the_other() -> None:
    taps = (1.0, 2.0, 4.0, 8.0, 7.0, 5.0, 3.0, 1.0)
    kernel = resample_kernel(taps)
    assert kernel.shape == (8,)
    x = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert close(upsample(x, kernel), upsample(x, torch.outer(kernel, kernel)))
    generator = lively(dataclasses.replace(CONFIG, resample_filter=taps))
    wanted = image_of(generator, some_ws())
    for module in generator.modules():
        if hasattr(module, "resample_filter"):
            module.resample_filter = torch.outer(kernel, kernel)
    assert close(image_of(generator, some_ws()), wanted)


def test_upsampling_keeps_the_level_of_a_constant_map() -> None:
    up = upsample(torch.full((1, 1, 8, 8), 2.5), resample_kernel((1, 3, 3, 1)))
    assert up.shape == (1, 1, 16, 16)
    assert torch.allclose(up[..., 2:-2, 2:-2], torch.tensor(2.5))


def test_noise_is_fixed_drawn_or_absent() -> None:
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
    silent = Generator(dataclasses.replace(CONFIG, use_noise=False))
    silent.load_state_dict({k: v for k, v in generator.state_dict().items() if ".noise_" not in k}, strict=True)
    assert close(image_of(silent, ws), none)


def test_random_noise_differs_between_samples() -> None:
    ws = some_ws(batch=1).expand(2, -1, -1)
    for generator in (lively(), lively().freeze()):
        a, b = image_of(generator, ws, "random")
        assert not close(a, b, 1e-3)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_a_batch_of_n_is_n_batches_of_one(
    architecture: str, clamp: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, architecture=architecture, conv_clamp=clamp)
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


def test_blocks_above_the_one_asked_for_are_not_computed() -> None:
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


def test_clamping_bounds_every_block_and_stops_gradients() -> None:
    generator = lively(dataclasses.replace(CONFIG, conv_clamp=0.25))
    ws = some_ws().requires_grad_()
    _, features = generator.synthesis(ws, taps=(1, 2, 3, 4))
    assert all(f.abs().max() == 0.25 for f in features.values())
    x = torch.tensor([[[[-9.0, -0.1, 0.1, 9.0]]]], requires_grad=True)
    y = scale_shift_lrelu(x, torch.ones(1, 1), torch.zeros(1), None, 0.5)
    assert torch.allclose(y.detach(), torch.tensor([-0.5, -0.02, 0.1, 0.5]))
    y.sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, torch.tensor([0.0, 0.2, 1.0, 0.0]))


def test_architectures_put_their_blocks_together_as_published() -> None:
    ws = some_ws()
    orig = lively(dataclasses.replace(CONFIG, architecture="orig"))
    assert [n for n, _ in orig.named_modules() if n.endswith("torgb")] == ["synthesis.b32.torgb"]
    image, features = orig.synthesis(ws, taps=(4,))
    assert image is not None and close(image, orig.synthesis.b32.torgb(features[4], ws[:, -1]))
    resnet = lively(dataclasses.replace(CONFIG, architecture="resnet"))
    _, features = resnet.synthesis(ws, taps=(1, 2))
    block, below = resnet.synthesis.b8, features[1]
    main = block.conv1(block.conv0(below, ws[:, 1], "const"), ws[:, 2], "const")
    side = upfirdn(F.conv2d(below, block.skip.weight / math.sqrt(12)), block.resample_filter, (2, 1))
    assert close(features[2], main + side * math.sqrt(0.5))
    plain = StyledConv(12, 10, 8, (8, 8), False, (1, 3, 3, 1), None, True)
    assert plain.gain == pytest.approx(block.conv1.gain / math.sqrt(0.5))


def test_labels_and_truncation() -> None:
    config = dataclasses.replace(CONFIG, c_dim=4)
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


def test_a_rectangle_is_twice_as_high_as_wide() -> None:
    config = dataclasses.replace(CONFIG, resolution=(32, 16))
    generator = lively(config)
    image, features = generator.synthesis(some_ws(config), taps=(1,))
    assert image is not None and image.shape == (3, 3, 32, 16)
    assert features[1].shape == (3, 12, 4, 2)
    wanted, _ = reference_synthesis(generator.state_dict(), some_ws(config), torch.float32)
    assert wanted is not None and close(image, wanted)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 5e-3)])
def test_low_precision_blocks(dtype: torch.dtype, tolerance: float) -> None:
    ws = some_ws()
    wanted = image_of(lively(), ws)
    generator = lively().freeze(dtype)
    image, features = generator.synthesis(ws, taps=(4,))
    assert image is not None and image.dtype == torch.float32 and features[4].dtype == dtype
    assert close(image, wanted, tolerance)
    leaf = ws.clone().requires_grad_()
    assert close(image_of(generator, leaf), wanted, tolerance)


def test_float16_survives_large_weights() -> None:
    generator = lively()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("conv0.weight", "conv1.weight")):
                parameter.mul_(1e4)  # which demodulation takes out again
    wanted = image_of(generator, some_ws())
    for batch in (some_ws(), some_ws().requires_grad_()):
        assert close(image_of(generator.freeze(torch.float16), batch), wanted, 5e-3)


def test_freezing_changes_no_number_and_can_be_undone() -> None:
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


def test_it_trains_under_autocast() -> None:
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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_written_out_gradients_are_those_of_the_functions(layout: torch.memory_format) -> None:
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=rng)

    x = draw(2, 3, 4, 2).contiguous(memory_format=layout).requires_grad_()
    scale, bias = draw(2, 3).requires_grad_(), draw(3).requires_grad_()
    for noise in (None, draw(1, 4, 2).requires_grad_(), draw(2, 4, 2).requires_grad_()):
        for clamp in (None, 0.7):
            arguments = (x, scale, bias, noise, clamp)
            assert torch.autograd.gradcheck(scale_shift_lrelu, arguments)
            assert torch.autograd.gradgradcheck(scale_shift_lrelu, arguments)
            y = scale_shift_lrelu(*arguments)
            pure = [None if t is None else t.detach().clone() for t in (x, scale, bias, noise)]
            assert close(scale_shift_lrelu(*pure, clamp), y)  # type: ignore[arg-type]
            added = x.detach() * scale.detach()[:, :, None, None] + bias.detach()[:, None, None]
            added = added.contiguous(memory_format=layout)
            assert close(shift_lrelu_(added, pure[3], clamp), y)
    assert torch.autograd.gradcheck(modulate, (x, scale))
    assert torch.autograd.gradgradcheck(modulate, (x, scale))
    assert close(modulate(x.detach(), scale.detach()), x.detach() * scale.detach()[:, :, None, None])
    weight = draw(5, 3)
    assert close(mix(x.detach(), weight[None]), F.conv2d(x.detach(), weight[:, :, None, None]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": (2, 2)}, "resolution"),
        ({"architecture": "other"}, "architecture"),
        ({"resample_filter": ()}, "resample_filter"),
        ({"w_dim": 0}, "positive"),
    ],
)
def test_a_config_that_no_generator_has(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]


def test_a_config_survives_json() -> None:
    config = dataclasses.replace(CONFIG, c_dim=3, conv_clamp=256.0, resolution=(32, 16), architecture="orig")
    assert GeneratorConfig.from_json(config.to_json()) == config
    for text in ("[]", '{"z_dim": 1}', config.to_json().replace("w_dim", "d_dim"), "{"):
        with pytest.raises(ValueError):
            GeneratorConfig.from_json(text)
