"""Inversion: a picture of the generator is found again, tuning comes nearer, and the session goes on as any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autodrag.domains.synthface import Z_DIM, parameters, render
from autodrag.editor.inversion import Inversion, InvertConfig
from autodrag.editor.latent_search import SearchConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.editor.user_photo import OwnPicture
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import encode, to_bytes, to_tensor
from autodrag.models import Encoder, EncoderConfig
from autodrag.models.encoder import main_directions
from autodrag.pictures import read_picture
from autodrag.training.latent_statistics import image_gradients, measure_whitening
from autodrag.vision.image_loss import pixel_distance

SHORT = InvertConfig(steps=40, starts=8, tune_steps=8)


@pytest.fixture
def picture(editor: Editor) -> np.ndarray:
    """One that the generator can make, but is not told the latents of."""
    return editor.image


def test_a_picture_of_the_generator_is_approached(tiny: FrozenGenerator, picture: np.ndarray) -> None:
    work = Inversion(tiny, to_tensor(picture), InvertConfig(steps=60, starts=16))
    losses = [progress.loss for progress in work.run() if progress.phase == "invert"]
    assert len(losses) == 60
    assert losses[-1] < 0.6 * losses[0]
    assert work.ws.shape == (1, tiny.num_ws, tiny.w_dim)
    assert work.generator is tiny
    assert not work.tuned
    again = Inversion(tiny, to_tensor(picture), InvertConfig(steps=60, starts=16))
    list(again.run())
    assert torch.equal(again.ws, work.ws)


@pytest.fixture
def encoder(tiny: FrozenGenerator) -> Encoder:
    """Untrained: it takes every picture for the average one, but knows which directions show."""
    seen = main_directions(image_gradients(tiny, 32, 64), 48)
    config = EncoderConfig(size=32, width=8, hidden=16, directions=48)
    torch.manual_seed(0)
    return Encoder(config, tiny.num_ws, measure_whitening(tiny), seen).requires_grad_(False)


def test_an_encoder_begins_the_inversion_and_few_steps_finish_it(
    tiny: FrozenGenerator, picture: np.ndarray, encoder: Encoder
) -> None:
    config = InvertConfig(steps=300, refine_share=0.1, search=SearchConfig(mean_weight=3e-3))
    work = Inversion(tiny, to_tensor(picture), config, encoder)
    run = work.run()
    first = next(run)
    assert (first.phase, first.step, first.steps) == ("start", 1, 1)
    assert torch.allclose(first.ws, encoder(to_tensor(picture)))
    rest = list(run)
    assert [progress.phase for progress in rest] == ["invert"] * 30
    assert rest[-1].loss < 0.6 * first.loss
    assert torch.equal(rest[-1].ws, work.ws)
    y = encoder.whitening.coordinates(work.ws[0])
    assert torch.allclose(encoder.whitening.latents(y), work.ws[0], atol=1e-4)  # within the directions of W
    edited = y[:6] - y[:6].mean(dim=0)
    assert edited.square().mean() < 0.1 * y[:6].square().mean()  # rows that differ would not drag


def test_only_an_encoder_of_the_generator_will_do(picture: np.ndarray, encoder: Encoder) -> None:
    other = FrozenGenerator.random(w_dim=16)
    with pytest.raises(InputError, match="another generator"):
        Inversion(other, to_tensor(picture), SHORT, encoder)
    with pytest.raises(InputError, match="refine_share"):
        InvertConfig(refine_share=2.0)


def test_the_cache_finds_the_encoder_of_a_generator(
    tiny: FrozenGenerator, models: ModelCache, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autodrag.config.MODEL_DIR", tmp_path)
    assert models.encoder(tiny.name) is None
    fresh = ModelCache("cpu")
    name = fresh.add(tiny)
    (tmp_path / name).mkdir()
    encoder.save(tmp_path / name / "encoder.safetensors")
    found = fresh.encoder(name)
    assert found is not None
    assert torch.allclose(found.image_directions, encoder.image_directions)


def test_tuning_comes_nearer_and_leaves_the_given_generator_alone(tiny: FrozenGenerator, picture: np.ndarray) -> None:
    before = {name: weight.clone() for name, weight in tiny.network.state_dict().items()}
    work = Inversion(tiny, to_tensor(picture), SHORT)
    losses = {"start": [], "invert": [], "tune": []}
    for progress in work.run():
        losses[progress.phase].append(progress.loss)
    assert len(losses["start"]) == 2  # it can be left before a start is found
    assert losses["start"][-1] <= losses["start"][0]
    assert losses["tune"][-1] < losses["tune"][0]
    assert work.generator is not tiny
    with torch.no_grad():
        plain, tuned = (g.synthesize(work.ws) for g in (tiny, work.generator))
    assert pixel_distance(tuned, to_tensor(picture)) < pixel_distance(plain, to_tensor(picture))
    for name, weight in tiny.network.state_dict().items():
        assert torch.equal(weight, before[name])


def test_an_inversion_can_be_left_at_any_step(tiny: FrozenGenerator, picture: np.ndarray, models: ModelCache) -> None:
    own = OwnPicture(picture, tiny.name, models, SHORT)
    for _, _ in zip(range(5), own.run(), strict=False):
        pass
    editor = Editor.of_picture(own, models)
    assert editor.state.origin.seed is None
    editor.drag([(20, 30)], [(24, 30)])
    assert editor.image.shape == (64, 64, 3)


def test_own_pictures_are_dragged_saved_and_loaded(
    models: ModelCache, tiny: FrozenGenerator, picture: np.ndarray, tmp_path: Path
) -> None:
    wide = np.concatenate([picture[:, ::-1], picture, picture[:, ::-1]], axis=1)
    editor = Editor.invert(wide, tiny.name, config=SHORT, models=models, method="draggan")
    assert editor.photo.shape == wide.shape
    outside = editor.photo[:, :60].astype(int) - wide[:, :60]
    assert np.abs(outside).max() == 0
    editor.choose_method("draggan", 2)
    editor.drag([(20, 30)], [(24, 30)])
    again = Editor.load(next(editor.export("safetensors")), models=models)
    assert np.array_equal(again.image, editor.image)
    assert np.array_equal(again.photo, editor.photo)
    assert again.scene.tuned.keys() == editor.scene.tuned.keys()
    for name, most in (("x.png", 0), ("x.jpg", 12), ("x.jpeg", 12)):
        editor.save(tmp_path / name)
        kept = read_picture(tmp_path / name).astype(int) - editor.photo
        assert np.abs(kept).mean() <= most  # of the photograph's own size
    again.choose(4)
    assert again.photo is None
    assert np.array_equal(again.image, Editor(tiny.name, seed=4, method="draggan", models=models).image)


def test_the_photographs_own_detail_is_a_choice_that_is_undone_and_saved(
    models: ModelCache, tiny: FrozenGenerator, picture: np.ndarray
) -> None:
    config = InvertConfig(steps=2, starts=1)
    editor = Editor.invert(picture, tiny.name, config=config, models=models, method="draggan")
    assert editor.detail
    assert np.array_equal(editor.image, picture)  # poorly inverted, and yet the photograph
    again = Editor.load(next(editor.export("safetensors")), models=models)
    assert again.detail
    assert np.array_equal(again.image, picture)
    editor.detail = False
    plain = editor.image
    assert not np.array_equal(plain, picture)
    assert not Editor.load(next(editor.export("safetensors")), models=models).detail
    editor.undo()
    assert editor.detail
    without = Editor.invert(picture, tiny.name, config=replace(config, detail=False), models=models)
    assert np.array_equal(without.image, plain)
    with pytest.raises(InputError, match="photograph"):
        Editor(tiny.name, models=models).detail = True


def test_wrong_pictures_are_one_sentence(models: ModelCache, tiny: FrozenGenerator, tmp_path) -> None:
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(InputError, match="not an image"):
        Editor.invert(tmp_path / "x.png", tiny.name, models=models)
    with pytest.raises(InputError, match="resize"):
        Inversion(tiny, torch.zeros(1, 3, 8, 8), SHORT)
    with pytest.raises(InputError, match="steps"):
        InvertConfig(steps=0)
    path = tmp_path / "good.png"
    path.write_bytes(encode(np.zeros((80, 70, 3), np.uint8), lossless=True))
    short = InvertConfig(steps=1, starts=1)
    assert Editor.invert(path, tiny.name, config=short, models=models).photo.shape == (80, 70, 3)


def test_rectangular_generators_are_inverted() -> None:
    generator = FrozenGenerator.random(resolution=(64, 32))
    editor = Editor.invert(
        np.zeros((90, 90, 3), np.uint8), generator, config=InvertConfig(steps=2, starts=1), device="cpu"
    )
    assert editor.image.shape == (64, 32, 3)
    assert editor.photo.shape == (90, 90, 3)


def test_a_face_that_the_generator_never_saw_is_found_and_dragged() -> None:
    """A render of the procedural face: drawn, not generated."""
    z = torch.randn(1, Z_DIM, generator=torch.Generator().manual_seed(123))
    face = to_bytes(render(*parameters(z)).image)
    editor = Editor.invert(face, "synthface", config=InvertConfig(steps=40, starts=12), method="draggan", device="cpu")
    assert np.array_equal(editor.image, face)  # with the photograph's own detail
    editor.detail = False
    assert np.abs(editor.image.astype(int) - face).mean() < 9  # of 255; its own latents give 7
    editor.choose_method("draggan", 2)
    before = editor.image
    editor.drag([(128, 180)], [(120, 184)])
    assert not np.array_equal(editor.image, before)
