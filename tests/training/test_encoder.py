"""The stage `encoder`: its pictures are made once and stored, and it learns their latents."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.errors import InputError
from autodrag.models import Aim, Encoder, EncoderConfig
from autodrag.models.encoder import main_directions, shrunk
from autodrag.models.whitening import Whitening
from autodrag.training.build import TrainConfig
from autodrag.training.latent_statistics import image_gradients, measure_whitening
from autodrag.training.photo_augmentation import CHANCES, PhotoAugmentation, photographed
from autodrag.training.picture_cache import PicturesConfig, draw_latents, fill_cache, load_moves, load_pictures
from autodrag.training.stages.encoder import EncoderStage, spread_of

PICTURES = PicturesConfig(
    count=128, size=32, mixed_share=0.5, edited_share=0.3, offset_share=0.5, max_offset=0.3, random_noise_share=0.5
)
NETWORK = EncoderConfig(size=32, width=8, hidden=32, directions=16)


@pytest.fixture(scope="module")
def kept(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    fill_cache(folder, tiny, PICTURES, 16, 0)
    return folder


def stage_of(kept: Path, tiny: Any, config: TrainConfig, **changes: Any) -> EncoderStage:
    torch.manual_seed(0)
    seen = main_directions(load_moves(kept, 16), NETWORK.directions)
    encoder = Encoder(NETWORK, tiny.num_ws, measure_whitening(tiny), seen)
    section = replace(config.encoder, network=NETWORK, pictures=PICTURES, validation=16, **changes)
    return EncoderStage(encoder, tiny, *load_pictures(kept, PICTURES), section, 0)


def test_pictures_show_their_latents_and_only_missing_ones_are_made(kept: Path, tiny: Any) -> None:
    pictures, ws = load_pictures(kept, PICTURES)
    assert pictures.shape == (128, 3, 32, 32)
    made = shrunk(tiny.synthesize(ws[:32]), 32).clamp(-1, 1)
    off = (made - (pictures[:32].float() / 127.5 - 1)).abs().mean(dim=(1, 2, 3))
    assert (off < 0.004).any()  # noise const
    assert (off > 0.004).any()  # and random
    before = (kept / "00000.safetensors").stat().st_mtime_ns
    fill_cache(kept, tiny, PICTURES, 16, 0)
    assert (kept / "00000.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other settings"):
        fill_cache(kept, tiny, replace(PICTURES, mixed_share=0.1), 16, 0)


@pytest.mark.parametrize(("size", "file"), [(10, "recipe.json"), (10_000, "00000.safetensors")])
def test_a_full_disk_leaves_pictures_that_go_on(
    tiny: Any, tmp_path: Path, files_of_at_most: Any, size: int, file: str
) -> None:
    with files_of_at_most(size), pytest.raises(InputError, match=rf"{file} cannot be written"):
        fill_cache(tmp_path, tiny, PICTURES, 8, 0)
    fill_cache(tmp_path, tiny, PICTURES, 8, 0)
    assert len(load_pictures(tmp_path, PICTURES)[0]) == 128 and len(load_moves(tmp_path, 8)) == 8


def test_latents_are_mixed_edited_and_differ_by_row_as_asked(tiny: Any) -> None:
    plain = replace(PICTURES, mixed_share=0.0, edited_share=0.0, offset_share=0.0)
    rows = [
        draw_latents(tiny, recipe, 64, torch.Generator().manual_seed(0))
        for recipe in (
            plain,
            replace(plain, mixed_share=1.0),
            replace(plain, edited_share=1.0),
            replace(plain, offset_share=1.0),
        )
    ]
    same, mixed, edited, offset = rows
    assert torch.equal(same, same[:, :1].expand_as(same))
    assert torch.equal(mixed[:, :6], same[:, :6])
    assert not torch.allclose(mixed[:, 6:], same[:, 6:])
    assert torch.equal(edited[:, 6:], same[:, 6:])
    assert not torch.allclose(edited[:, :6], same[:, :6])
    assert not torch.allclose(offset[:, 0], offset[:, 1])


def test_image_gradients_predict_the_change_of_small_moves(tiny: Any) -> None:
    """On average over latents and directions, within the sampling error of so few latents."""
    moves = image_gradients(tiny, 32, 256)
    draw = torch.Generator().manual_seed(1)
    z, z_other = torch.randn(2, 32, tiny.z_dim, generator=draw)
    ws = torch.cat([tiny.map(z)[:, :6], tiny.map(z_other)[:, 6:]], dim=1)
    step = 0.01 * torch.randn(ws.shape, generator=draw)
    with torch.no_grad():
        change = shrunk(tiny.synthesize(ws + step) - tiny.synthesize(ws), 32).square().mean(dim=(1, 2, 3))
    told = torch.einsum("nld,bld->bn", moves, step).square().mean(dim=1)
    assert told.mean() == pytest.approx(change.mean().item(), rel=0.5)
    encoder = Encoder(
        replace(NETWORK, directions=200), tiny.num_ws, measure_whitening(tiny), main_directions(moves, 200)
    )
    assert encoder.change(step).square().mean() == pytest.approx(told.mean().item(), rel=0.1)


def test_the_encoder_overfits_one_batch_with_and_without_an_image_loss(
    kept: Path, tiny: Any, config: TrainConfig, learn: Any
) -> None:
    for share in (0.0, 1.0):
        stage = stage_of(kept, tiny, config, image_loss_share=share, image_loss_pictures=2)
        batch = stage.batch(range(8))
        assert len(batch.clean) == (2 if share else 0)
        first, last = learn(stage, batch, 40, 3e-3)
        assert last < 0.6 * first
        assert ("image" in stage(batch)[1]) == bool(share)


def test_batches_depend_on_the_position_and_validation_on_its_pictures(
    kept: Path, tiny: Any, config: TrainConfig
) -> None:
    stage = stage_of(kept, tiny, config)
    assert torch.equal(stage.batch(range(8)).pictures, stage.batch(range(8)).pictures)
    assert not torch.equal(stage.batch(range(8)).ws, stage.batch(range(8, 16)).ws)
    with torch.no_grad():
        report = stage.eval().report()
    assert report.numbers["change"] == pytest.approx(1.0, abs=0.3)  # untrained: near the average latent
    assert report.pictures["encoded"].shape == (3, 64, 6 * 32)
    with pytest.raises(InputError, match="validation"):
        EncoderStage(stage.model, tiny, *load_pictures(kept, PICTURES), replace(stage.config, validation=128), 0)


@pytest.mark.parametrize("size", [16, 64])
def test_pictures_may_be_larger_or_smaller_than_the_input_of_the_network(
    kept: Path, tiny: Any, config: TrainConfig, size: int
) -> None:
    stage = stage_of(kept, tiny, config, image_loss_share=1.0, image_loss_pictures=2)
    stage.config = replace(stage.config, network=replace(NETWORK, size=size))
    stage.model.config = stage.config.network
    loss, logs = stage(stage.batch(range(8)))
    assert torch.isfinite(loss) and "image" in logs
    with torch.no_grad():
        report = stage.eval().report()
    assert report.numbers["error"] > 0 and report.pictures["encoded"].shape == (3, 64, 6 * 32)


def test_ranks_get_the_pictures_of_one_process(kept: Path, tiny: Any, config: TrainConfig) -> None:
    budget = replace(config.encoder.budget, batch=8)
    stage = stage_of(kept, tiny, config, budget=budget, image_loss_share=0.5, image_loss_pictures=1)
    compared = []
    for start in range(0, 80, 8):
        whole, parts = (
            stage.batch(range(start, start + 8)),
            [stage.batch(range(start + rank, start + 8, 2)) for rank in (0, 1)],
        )
        for field in ("pictures", "ws"):
            together = torch.stack([getattr(part, field) for part in parts], dim=1).flatten(0, 1)
            assert torch.allclose(together, getattr(whole, field), atol=1e-6)
        assert len({len(batch.clean) for batch in (whole, *parts)}) == 1
        compared.append(len(whole.clean))
    assert set(compared) == {0, 1}


def test_spread_is_that_of_neighbouring_rows_within_edited_and_kept() -> None:
    y = torch.zeros(1, 8, 2)
    y[:, 6:] = 5.0
    assert spread_of(y) == 0
    y[:, 2:] += 1.0  # a step between rows 1 and 2: one of six inside
    assert spread_of(y) == pytest.approx(1 / 6)


def test_a_saved_encoder_round_trips_and_a_new_one_predicts_the_average(tmp_path: Path) -> None:
    whitening = Whitening.measure(torch.arange(8.0) + torch.randn(99, 8, generator=torch.Generator().manual_seed(1)))
    encoder = Encoder(EncoderConfig(32, 8, 32, 4), 10, whitening).eval()
    pictures = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert (encoder(pictures) - whitening.mean).abs().max() < 1
        encoder.save(tmp_path / "x.safetensors", half=True)
        again = Encoder.load(tmp_path / "x.safetensors")
        assert torch.allclose(again(pictures), encoder(pictures), atol=1e-2)
    with pytest.raises(InputError, match="holds no aim"):
        Aim.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("change", ["colour", "shift", "blur", "jpeg"])
def test_every_augmentation_works_alone(change: str) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(6, 1, 8, 8, generator=draw) * 1.6 - 0.8, scale_factor=4)
    images = images.expand(-1, 3, -1, -1)  # grey: JPEG keeps colours at half the size
    still = PhotoAugmentation(share=1.0, colour=0.0, shift=0.0, blur=0.0, quality=95)
    amounts = {"colour": {"colour": 0.1}, "shift": {"shift": 1.0}, "blur": {"blur": 2.0}, "jpeg": {"quality": 5}}
    chance = torch.rand(6, CHANCES, generator=draw)
    unchanged = photographed(images, still, chance)
    assert (unchanged - images).abs().mean() < 0.05  # JPEG of quality 95 alone
    changed = photographed(images, replace(still, **amounts[change]), chance)
    assert (changed - images).abs().mean() > (unchanged - images).abs().mean() + 0.01
    off = photographed(images, replace(still, share=0.0, **amounts[change]), chance)
    assert torch.allclose(off, images, atol=1e-5)


def test_a_shift_moves_by_pixels_and_colours_keep_their_order() -> None:
    config = PhotoAugmentation(share=1.0, colour=0.0, shift=2.0, blur=0.0, quality=95)
    ramp = (torch.arange(32.0) / 16 - 1).expand(1, 3, 32, 32) * 0.5 + torch.tensor([-0.2, 0.0, 0.2])[:, None, None]
    chance = torch.zeros(1, CHANCES)
    chance[0, 10:12] = torch.tensor([0.75, 0.5])  # of the numbers, those of the shift: (+1, 0) pixels
    moved = photographed(ramp, config, chance)[0, :, 8:24, 8:24]
    expected = ramp[0, :, 8:24, 7:23]
    assert torch.allclose(moved.mean(dim=(1, 2)), expected.mean(dim=(1, 2)), atol=0.01)
    assert torch.allclose(moved, expected, atol=0.06)  # JPEG


def test_wrong_settings_give_a_clear_error() -> None:
    with pytest.raises(InputError, match="multiple of 128"):
        replace(PICTURES, count=100)
    with pytest.raises(InputError, match="share from 0 to 1"):
        replace(PICTURES, mixed_share=2.0)
    with pytest.raises(InputError, match="quality"):
        PhotoAugmentation(0.5, 0.0, 0.0, 0.0, 0)
