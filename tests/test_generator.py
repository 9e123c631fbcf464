"""The public methods of the frozen generator, and `load_generator`."""

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch

from autodrag import InputError, load_generator
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.loading import prefer_fast_convolutions
from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import write_safetensors


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal but for rounding."""
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def latents(g: FrozenGenerator, batch: int = 2) -> torch.Tensor:
    return g.map(torch.randn(batch, g.z_dim, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def stored(tiny: FrozenGenerator, tmp_path: Path) -> Path:
    """The tiny generator as a file, under a name that says nothing."""
    path = tmp_path / "weights"
    write_safetensors(path, tiny.config, tiny.network.state_dict())
    return path


def test_what_it_says_of_itself(tiny: FrozenGenerator) -> None:
    assert tiny.resolution == (64, 64)
    assert (tiny.num_ws, tiny.w_dim, tiny.z_dim, tiny.c_dim, tiny.num_blocks) == (10, 32, 32, 0, 5)
    assert tiny.w_avg.shape == (32,)
    assert tiny.block_resolutions == [(4, 4), (8, 8), (16, 16), (32, 32), (64, 64)]
    assert tiny.feature_shape(2) == (32, 8, 8)
    assert tiny.feature_shape() == tiny.feature_shape(5)
    assert (tiny.device.type, tiny.dtype, tiny.name) == ("cpu", torch.float32, "random-0")
    tall = FrozenGenerator.random(resolution=(64, 32))
    assert tall.block_resolutions[-1] == (64, 32)
    assert tall.synthesize(latents(tall)).shape == (2, 3, 64, 32)


def test_images_and_features_in_one_pass(tiny: FrozenGenerator) -> None:
    ws = latents(tiny)
    image, features = tiny.synthesize(ws, return_features=3)
    assert close(image, tiny.synthesize(ws))
    assert close(features, tiny.features(ws, block=3))
    assert features.shape[1:] == tiny.feature_shape(3)
    assert close(tiny.features(ws), tiny.features(ws, block=5))  # of the last block, if there are fewer than 6
    assert image.dtype == torch.float32 and 0.05 < image.std() < 2


def test_gradients_reach_ws_and_nothing_else(tiny: FrozenGenerator) -> None:
    ws = latents(tiny).requires_grad_()
    tiny.features(ws, block=2).square().sum().backward()
    assert ws.grad is not None
    assert ws.grad[:, :3].abs().sum() > 0 and ws.grad[:, 3:].abs().sum() == 0  # rows of the first two blocks
    assert all(not p.requires_grad and p.grad is None for p in tiny.network.parameters())
    with torch.no_grad():
        assert not tiny.synthesize(ws).requires_grad


def test_autocast_does_not_change_its_type(tiny: FrozenGenerator) -> None:
    ws = latents(tiny)
    wanted = tiny.synthesize(ws)
    with torch.autocast("cpu", torch.bfloat16):
        assert close(tiny.synthesize(ws), wanted)
        assert close(tiny.synthesize(ws.to(torch.bfloat16).float().double()), tiny.synthesize(ws.bfloat16()))


def test_ws_of_the_mapping_may_be_edited(tiny: FrozenGenerator) -> None:
    ws = latents(tiny)
    before = ws[:, 6:].clone()
    ws[:, :6] += 1
    assert torch.equal(ws[:, 6:], before)


def test_labels_are_optional() -> None:
    g = FrozenGenerator.random(c_dim=3)
    z = torch.randn(2, g.z_dim)
    assert close(g.map(z), g.map(z, torch.zeros(2, 3)))
    assert not close(g.map(z), g.map(z, torch.eye(3)[:2]))


def test_random_weights_depend_on_the_seed_alone() -> None:
    a, b, c = (FrozenGenerator.random(seed=seed) for seed in (3, 3, 4))
    other = b.network.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in a.network.state_dict().items())
    assert not torch.equal(a.w_avg, c.w_avg)


def test_a_copy_trains_and_leaves_the_original(tiny: FrozenGenerator) -> None:
    ws = latents(tiny)
    wanted = tiny.synthesize(ws)
    copy = tiny.trainable_copy()
    image, _ = copy.synthesis(ws)
    assert image is not None
    image.square().mean().backward()
    with torch.no_grad():
        for parameter in copy.synthesis.parameters():
            parameter -= 0.1 * torch.sign(parameter.grad)
    assert close(tiny.synthesize(ws), wanted)
    assert not torch.allclose(FrozenGenerator(copy).synthesize(ws), wanted, atol=1e-2)


def test_the_kept_image_stays_outside_the_mask(tiny: FrozenGenerator) -> None:
    old, new = latents(tiny).split(1)
    mask = torch.zeros(64, 64)
    mask[:32] = 1
    kept = tiny.keep(old, mask)
    image = tiny.synthesize(new, keep=kept)
    assert torch.allclose(image[..., 32:, :], tiny.synthesize(old)[..., 32:, :], atol=1e-5)
    assert torch.allclose(image[..., :12, :], tiny.synthesize(new)[..., :12, :], atol=1e-5)
    again = tiny.synthesize(old, keep=tiny.keep(new, torch.zeros(64, 64), under=kept))
    assert torch.allclose(again, image, atol=1e-5)  # nothing of `old` shows: what was under it does, as it was kept
    with pytest.raises(InputError, match="mask has shape"):
        tiny.keep(old, torch.zeros(32, 32))


def test_a_file_counts_by_its_content(stored: Path, tiny: FrozenGenerator) -> None:
    for where in (stored, str(stored)):
        g = load_generator(where)
        # Not to the last bit: the order of sums depends on how threads and memory happen to lie.
        assert torch.allclose(g.synthesize(latents(tiny)), tiny.synthesize(latents(tiny)), atol=1e-5)
        assert g.name == "weights"
    assert load_generator(stored, dtype=torch.bfloat16).features(latents(tiny)).dtype == torch.bfloat16


def test_a_dataset_is_found_by_name(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autodrag import config

    dataset = config.load_dataset("ffhq")
    monkeypatch.setattr(config, "MODEL_DIR", stored.parent)
    stored.rename(stored.with_name(dataset.source.file))
    with pytest.raises(InputError, match=r"makes images of \(64, 64\) px, but ffhq has \(512, 512\) px"):
        load_generator("ffhq")
    monkeypatch.setattr("autodrag.loading.load_dataset", lambda name: config.load_dataset(str(dataset.source.path)))
    assert load_generator("ffhq").resolution == (64, 64)
    assert load_generator(config.load_dataset(str(dataset.source.path))).resolution == (64, 64)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosuch", "Unknown dataset 'nosuch'"),
        ("folder/nosuch.pkl", "does not exist"),
        (".", "is a folder"),
        ("", "Unknown dataset ''"),
    ],
)
def test_nothing_to_load(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_generator(name)


def test_a_file_that_is_no_generator(tmp_path: Path) -> None:
    path = tmp_path / "notes.pkl"
    path.write_text("no generator\n")
    with pytest.raises(InputError, match="text file"):
        load_generator(path)


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [
        ("cpu", torch.float64, "dtype is torch.float64"),
        ("gpu", torch.float32, "no device 'gpu'"),
        ("cuda:77", torch.float32, "cuda:77 cannot compute"),
    ],
)
def test_nowhere_to_compute(stored: Path, device: str, dtype: torch.dtype, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_generator(stored, device=device, dtype=dtype)


@pytest.mark.parametrize("shape", [(2, 10), (2, 9, 32), (2, 10, 31), (10, 32), (0, 10, 32)])
def test_latents_of_the_wrong_shape(tiny: FrozenGenerator, shape: tuple[int, ...]) -> None:
    for call in (tiny.synthesize, tiny.features):
        with pytest.raises(InputError, match=r"^ws .*\[B, 10, 32\]"):
            call(torch.zeros(shape))


def test_latents_of_the_wrong_type(tiny: FrozenGenerator) -> None:
    with pytest.raises(InputError, match=r"torch\.int64"):
        tiny.synthesize(torch.zeros(1, 10, 32, dtype=torch.int64))


def test_other_wrong_arguments(tiny: FrozenGenerator) -> None:
    ws, z = latents(tiny), torch.zeros(2, 32)
    classes = FrozenGenerator.random(c_dim=3)
    cases = [
        (lambda: tiny.synthesize(ws, noise="some"), "noise is 'some'; give one of const, random, none"),
        (lambda: tiny.features(ws, noise=""), "noise is ''"),
        (lambda: tiny.features(ws, block=0), "block is 0"),
        (lambda: tiny.features(ws, block=-1), "block is -1"),
        (lambda: tiny.synthesize(ws, return_features=0), "block is 0"),
        (lambda: tiny.feature_shape(0), "block is 0"),
        (lambda: tiny.map(torch.zeros(2, 31)), r"\[B, 32\]"),
        (lambda: tiny.map(z[0]), r"\[B, 32\]"),
        (lambda: tiny.map(z, psi=float("nan")), "psi is nan"),
        (lambda: tiny.map(z, psi=float("inf")), "psi is inf"),
        (lambda: tiny.map(z, cutoff=11), "cutoff is 11"),
        (lambda: tiny.map(z, cutoff=-1), "cutoff is -1"),
        (lambda: tiny.map(z, torch.zeros(2, 3)), "no classes"),
        (lambda: classes.map(z, torch.zeros(2, 2)), r"\[B, 3\]"),
        (lambda: classes.map(z, torch.zeros(1, 3)), "one label for each z"),
    ]
    for call, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_channel_without_weights_stays_finite_in_half_precision() -> None:
    network = FrozenGenerator.random((16, 16), w_dim=8).trainable_copy()
    network.synthesis.b8.conv1.weight.data[0] = 0  # as in files padded with zeros to wider blocks
    generator = FrozenGenerator(network, dtype=torch.float16)
    assert generator.synthesize(generator.map(torch.randn(1, 8))).isfinite().all()


# --- grey images, rectangles, classes ---------------------------------------------------------------------------------


def of_config(**changes: object) -> FrozenGenerator:
    config = dataclasses.replace(FrozenGenerator.random(w_dim=8).config, **changes)  # type: ignore[arg-type]
    return FrozenGenerator(Generator(config), "other")


def test_grey_images_are_rgb_of_equal_channels() -> None:
    g = of_config(img_channels=1)
    ws = latents(g).requires_grad_()
    image, features = g.synthesize(ws, return_features=3)
    raw, _ = g.network.synthesis(ws)
    assert raw is not None and raw.shape == (2, 1, 64, 64)
    assert torch.equal(image, raw.expand(-1, 3, -1, -1))
    assert features.shape[1:] == g.feature_shape(3)
    image.square().sum().backward()
    assert ws.grad is not None and ws.grad.abs().sum() > 0
    keep = g.keep(ws[:1].detach(), torch.zeros(64, 64))
    assert torch.equal(g.synthesize(ws[1:].detach(), keep=keep), g.synthesize(ws[:1].detach()))


def test_any_first_block() -> None:
    g = of_config(resolution=(48, 80))
    assert g.block_resolutions == [(3, 5), (6, 10), (12, 20), (24, 40), (48, 80)]
    assert g.feature_shape(2)[1:] == (6, 10)
    ws = latents(g)
    assert g.synthesize(ws).shape == (2, 3, 48, 80)
    assert torch.allclose(g.features(ws, 4, plain=True), g.features(ws, 4), atol=1e-3)


def test_a_class_is_chosen_by_its_number_or_its_label() -> None:
    g = FrozenGenerator.random(c_dim=3)
    z = torch.randn(2, g.z_dim)
    for c, label in ((2, [0.0, 0.0, 1.0]), ((0.5, 0.5, 0.0), [0.5, 0.5, 0.0])):
        chosen = g.with_class(c)
        wanted = g.map(z, torch.tensor([label]).expand(2, -1))
        assert torch.equal(chosen.map(z), wanted)
        assert torch.equal(chosen.map(z, torch.zeros(2, 3)), g.map(z))  # a label that is given comes first
        assert fingerprint(chosen) != fingerprint(g)
    assert torch.equal(g.map(z), g.map(z, torch.zeros(2, 3)))
    for wrong in (3, -1, (1.0, 2.0), (1.0, float("nan"), 0.0)):
        with pytest.raises(InputError, match=r"3 classes; give a number from 0 to 2, or a label of 3 numbers\.$"):
            g.with_class(wrong)
    with pytest.raises(InputError, match="no classes"):
        FrozenGenerator.random().with_class(0)


def test_loading_without_a_class_warns(tmp_path: Path) -> None:
    g = FrozenGenerator.random(c_dim=3)
    write_safetensors(tmp_path / "conditional", g.config, g.network.state_dict())
    with pytest.warns(UserWarning, match="3 classes and none was chosen. The label is all zeros"):
        plain = load_generator(tmp_path / "conditional")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = load_generator(tmp_path / "conditional", c=1)
    z = torch.randn(1, g.z_dim)
    assert torch.equal(chosen.map(z), plain.map(z, torch.eye(3)[1:2]))


def test_convolutions_are_benchmarked_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    prefer_fast_convolutions(torch.device("cpu"))
    assert not torch.backends.cudnn.benchmark
    prefer_fast_convolutions(torch.device("cuda", 0))
    assert torch.backends.cudnn.benchmark
