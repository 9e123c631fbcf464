"""`scripts/drag.py` on a tiny generator: what it writes, that latents load back, lists of edits, and bad input."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from autodrag.config import compose, typed
from autodrag.dragging import DragConfig, run
from autodrag.editor.latent_files import DRAG_FORMAT
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.evaluation.run import EvalConfig
from autodrag.files import read_tensors, write_tensors
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.methods import check_options
from autodrag.seeding import rng
from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import write_safetensors

POINTS = ["handles=[[20,30],[40,12]]", "targets=[[25,35],[33,20]]", "method.options.max_steps=3"]


ONE = {"handles": [[1, 2]], "targets": [[3, 4]]}


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "tiny.safetensors"
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(path, network.config, network.state_dict())
    return path


def drag(generator: Path, *overrides: str) -> None:
    given = [f"dataset={generator}", "method=draggan", "device=cpu", "frames=5", *POINTS, *overrides]
    run(typed(DragConfig, compose("drag", ["method=autodrag", *given])))


def test_a_page_with_the_generator_opens_the_session_of_its_file(generator: Path, tmp_path: Path) -> None:
    drag(generator, f"out={tmp_path / 'a.safetensors'}", "seed=3")
    models = ModelCache("cpu", closed=True)
    models.add(FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=1))
    name = models.add(load_generator(generator))
    editor = Editor.load(tmp_path / "a.safetensors", models=models)
    assert editor.scene.dataset == name
    assert len(editor.state.motion) > 1
    other = ModelCache("cpu", closed=True)
    other.add(FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=1))
    with pytest.raises(InputError, match="no generator"):
        Editor.load(tmp_path / "a.safetensors", models=other)


def test_it_writes_pictures_an_animation_and_latents(
    generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drag(generator, f"out={tmp_path / 'a.gif'}", "seed=3")
    assert {p.name for p in tmp_path.iterdir()} == {
        *("a-before.png", "a-after.png", "a-arrows.png", "a.gif", "a.safetensors")
    }
    assert "px from the targets" in capsys.readouterr().out
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (64, 64) and film.n_frames >= 3
    before, arrows = (np.asarray(Image.open(tmp_path / f"a-{name}.png")) for name in ("before", "arrows"))
    assert (before != arrows).any()

    drag(generator, f"out={tmp_path / 'b.gif'}", f"latent={tmp_path / 'a.safetensors'}")
    first, second = (read_tensors(tmp_path / f"{name}.safetensors")[0]["ws"] for name in "ab")
    assert torch.equal(second[:1], first[-1:])
    after, again = (np.asarray(Image.open(tmp_path / name)) for name in ("a-after.png", "b-before.png"))
    assert np.abs(after.astype(int) - again.astype(int)).max() <= 1


@pytest.mark.parametrize("masked", [False, True])
def test_the_editor_opens_the_session_of_a_drag(generator: Path, tmp_path: Path, masked: bool) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given = [f"mask={tmp_path / 'mask.png'}"] if masked else []
    drag(generator, f"out={tmp_path / 'a.png'}", "seed=3", *given)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a.safetensors", "mask.png"}
    editor = Editor.load(tmp_path / "a.safetensors", device="cpu")
    assert np.abs(editor.image.astype(int) - np.asarray(Image.open(tmp_path / "a.png"))).max() <= 1
    assert len(editor.state.motion) == 4 and editor.method == "draggan"
    assert editor.state.arrows.targets == ((25.0, 35.0), (33.0, 20.0))
    assert editor.points.shape == (2, 2) and (editor.mask is not None) == masked
    editor.drag([(20, 30)], [(24, 30)])

    editor.save(tmp_path / "edited.safetensors")
    drag(generator, f"out={tmp_path / 'b.safetensors'}", f"latent={tmp_path / 'edited.safetensors'}")
    again = Editor.load(tmp_path / "b.safetensors", device="cpu")
    assert torch.equal(again.state.motion[0].ws, editor.ws) and not list(tmp_path.glob("b-*"))


@pytest.mark.parametrize(("suffix", "error"), [("png", 1), ("jpg", 15)])
def test_the_result_as_an_image(generator: Path, tmp_path: Path, suffix: str, error: int) -> None:
    drag(generator, f"out={tmp_path / 'film.gif'}", "seed=3")
    drag(generator, f"out={tmp_path / f'a.{suffix}'}", "seed=3")
    found, wanted = (np.asarray(Image.open(tmp_path / n)).astype(int) for n in (f"a.{suffix}", "film-after.png"))
    assert np.abs(found - wanted).mean() < error  # JPEG is lossy, on noise most of all


def test_latents_of_other_programs(generator: Path, tmp_path: Path) -> None:
    ws = np.random.default_rng(0).normal(size=(1, 10, 32)).astype(np.float32)
    np.savez(tmp_path / "projected_w.npz", w=ws)
    drag(generator, f"out={tmp_path / 'a.gif'}", f"latent={tmp_path / 'projected_w.npz'}")
    tensors, _ = read_tensors(tmp_path / "a.safetensors")
    assert np.array_equal(tensors["ws"][:1].numpy(), ws)
    old = {"motion": torch.from_numpy(ws)}
    write_tensors(tmp_path / "other.safetensors", old, {"format": DRAG_FORMAT, "generator": "ffhq"})
    with pytest.raises(InputError, match="latents of the generator 'ffhq', not of the 'tiny' here"):
        drag(generator, f"out={tmp_path / 'b.gif'}", f"latent={tmp_path / 'other.safetensors'}")


def test_a_grey_landscape_of_a_class(tmp_path: Path) -> None:
    config = replace(FrozenGenerator.random(w_dim=32, c_dim=3).config, img_channels=1, resolution=(32, 64))
    network = Generator(config)
    path = tmp_path / "grey.safetensors"
    write_safetensors(path, config, network.state_dict())
    drag(path, f"out={tmp_path / 'a.gif'}", "handles=[[20,10]]", "targets=[[50,12]]", "c=2", "seed=5")
    motion = read_tensors(tmp_path / "a.safetensors")[0]["ws"]
    z = torch.randn(1, 32, generator=rng(5, "editor"))
    chosen = FrozenGenerator(network).map(z, torch.tensor([[0.0, 0.0, 1.0]]), psi=0.7)
    assert torch.allclose(motion[:1], chosen, atol=1e-6)
    picture = np.asarray(Image.open(tmp_path / "a-after.png"))
    assert picture.shape == (32, 64, 3)
    assert np.array_equal(picture[:, :, 0], picture[:, :, 2])
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (64, 32)
    with pytest.raises(InputError, match="3 classes"):
        drag(path, f"out={tmp_path / 'b.gif'}", "c=3")


def test_videos_and_masks(generator: Path, tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    drag(generator, f"out={tmp_path / 'a.mp4'}", f"mask={tmp_path / 'mask.png'}", "method.options.lr=0.1")
    film = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) > 5
    assert int(film.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"avc1", b"h264")  # what browsers play
    before, after = (np.asarray(Image.open(tmp_path / f"a-{n}.png")).astype(int) for n in ("before", "after"))
    assert np.array_equal(before[:, 33:], after[:, 33:]) and (before[:, :32] != after[:, :32]).any()


def test_paths_of_every_kind(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask (1), [2]={3} it's.png")
    (tmp_path / "NET.PKL.CKPT").write_bytes(generator.read_bytes())
    drag(tmp_path / "NET.PKL.CKPT", f"mask={tmp_path}/mask (1), [2]={{3}} it's.png", "out=~/run=3/視 頻.GIF")
    assert (tmp_path / "run=3" / "視 頻.GIF").read_bytes().startswith(b"GIF89a")
    with pytest.raises(InputError, match=r"The folder .* cannot be created"):
        drag(generator, "out=~/NET.PKL.CKPT/a.gif")


def test_many_edits_at_once(generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edits = [
        {"name": "one", "seed": 1, "handles": [[20, 30]], "targets": [[25, 35]]},
        {"seed": 2, "handles": [[20, 30], [9.5, 8]], "targets": [[25, 35], [12, 12]]},
        {"seed": 3, "handles": [[40, 30]], "targets": [[25, 35]]},
    ]
    (tmp_path / "edits.json").write_text(json.dumps(edits))
    drag(generator, f"edits={tmp_path / 'edits.json'}", f"out={tmp_path / 'out'}", "batch=2")
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.gif")) == ["edit-0002", "edit-0003", "one"]
    assert re.search(r"^3 edits: [\d.]+ per second dragged, [\d.]+ written$", capsys.readouterr().out, re.MULTILINE)
    drag(generator, f"edits={tmp_path / 'edits.json'}", f"out={tmp_path / 'stills'}", "frames=0")
    assert not list((tmp_path / "stills").glob("*.gif"))
    for name in ("one-before.png", "one-after.png"):
        still, film = (np.asarray(Image.open(tmp_path / folder / name)).astype(int) for folder in ("stills", "out"))
        assert np.abs(still - film).max() <= 1


def test_a_wrong_edit_is_named_before_any_is_made_or_left_out(
    generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"handles": [[20, 30]], "targets": [[25, 35]]}
    edits = [
        good,
        good | {"handles": [[300, 30]]},
        good,
        good | {"targets": []},
        good | {"latent": "nowhere.safetensors"},
    ]
    (tmp_path / "edits.json").write_text(json.dumps(edits))
    given = [f"edits={tmp_path / 'edits.json'}", f"out={tmp_path / 'out'}", "frames=0", "batch=1"]
    with pytest.raises(InputError, match=r"^Edit 2 of .*edits\.json \(edit-0002\): The handle \(300, 30\) lies"):
        drag(generator, *given)
    assert not (tmp_path / "out").exists()
    drag(generator, *given, "wrong=skip")
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.safetensors")) == ["edit-0001", "edit-0003"]
    said = capsys.readouterr().err
    assert [f"Edit {n} of" in said for n in (1, 2, 3, 4, 5)] == [False, True, False, True, True]
    (tmp_path / "edits.json").write_text(json.dumps(edits[1:2]))
    with pytest.raises(InputError, match="All edits of"):
        drag(generator, *given, "wrong=skip")


def test_handles_are_tracked_unless_track_is_false() -> None:
    for given, options in (([], None), (["method.options.track=false"], False), (["method.options.track=true"], True)):
        assert typed(DragConfig, compose("drag", ["method=autodrag", *given])).method.options["track"] is options
    assert check_options("autodrag", {"track": None, "n": None}) == {}  # so the method's own, which looks
    assert check_options("autodrag", {"track": False, "polish_lr": 1}) == {"track": False, "polish_lr": 1.0}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "method=autodrag method.options.polish=abc",
            "Config key 'method.options.polish' is 'abc', expected an integer.",
        ),
        (
            "method=autodrag method.options.track=maybe",
            "Config key 'method.options.track' is 'maybe', expected true or false.",
        ),
        (
            "method=autodrag method.options.rounds=1.5",
            "Config key 'method.options.rounds' is 1.5, expected an integer.",
        ),
        (
            "method=autodrag method.options.rounds=true",
            "Config key 'method.options.rounds' is True, expected an integer.",
        ),
        ("method=autodrag method.options.miss=x", "Config key 'method.options.miss' is 'x', expected a number."),
        ("method=draggan method.options.lr=fast", "Config key 'method.options.lr' is 'fast', expected"),
        (
            "method=draggan method.options.max_steps=2.5",
            "Config key 'method.options.max_steps' is 2.5, expected an",
        ),
        ("method=freedrag method.options.d=true", "Config key 'method.options.d' is True, expected"),
        ("method=latent_transformer method.options.track=1", "Config key 'method.options.track' is 1, expected true"),
    ],
)
def test_options_of_methods_are_typed(given: str, sentence: str) -> None:
    for name, cls in (("drag", DragConfig), ("eval", EvalConfig)):
        with pytest.raises(InputError) as caught:
            typed(cls, compose(name, given.split()))
        assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["handles=[]", "targets=[]"], "no handles"),
        (["handles=[[1,2]]"], "1 handles but 2 targets"),
        (["handles=[[1,2],[300,4]]"], "outside the image"),
        (["out=drag.bmp"], r"drag\.bmp cannot be written: give a name that ends in \.png, .*\.mp4 or \.safetensors"),
        (["method=magic"], "Unknown method 'magic'"),
        (["+method.options.speed=3"], "no option 'speed'"),
        (["latent=nowhere.safetensors"], "cannot be read"),
        (["mask=nowhere.png"], "cannot be read"),
        (["frames=-1"], "at least 0"),
        (["frames=1000000000"], "at most 10000"),
        (["fps=1e9"], "fps=1e\\+09 is out of range"),
        (["fps=0.001"], "fps=0.001 is out of range"),
        (["fps=120"], r"a \.gif supports 0.1 to 50 .* use \.mp4 for up to 240"),
    ],
)
def test_bad_input_gives_a_clear_error(generator: Path, tmp_path: Path, overrides: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        drag(generator, f"out={tmp_path / 'a.gif'}", *overrides)
    assert not list(tmp_path.iterdir())
