"""A session as a file: it comes back bit for bit, and no other bytes do harm."""

import json
import random
import struct

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from autodrag.app.protocol import read_message
from autodrag.editor import session_file
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.files import parse_tensors
from autodrag.generator import FrozenGenerator

HANDLES, TARGETS = [(20.0, 30.0)], [(28.0, 30.0)]


@pytest.fixture
def edited(editor: Editor) -> Editor:
    """A session with all there is: drags under two masks and without, pins, a style."""
    left, right = np.zeros((64, 64)), np.zeros((64, 64))
    left[:, :32], right[:, 32:] = 1, 1
    editor.drag(HANDLES, TARGETS, mask=left)
    editor.drag([(44, 30)], [(50, 30)], mask=right, pins=[(60, 60)])
    editor.mask = None
    editor.drag(HANDLES, [(22, 22)])
    editor.restyle(8)
    editor.mask = right
    return editor


def test_a_session_comes_back_bit_for_bit(edited: Editor, models: ModelCache, tmp_path) -> None:
    edited.save(tmp_path / "x.safetensors")
    again = Editor.load(tmp_path / "x.safetensors", models=models)
    assert torch.equal(again.ws, edited.ws)
    assert torch.equal(again.points, edited.points)
    assert torch.equal(again.mask, edited.mask)
    assert again.state.arrows == edited.state.arrows
    assert again.state.origin == edited.state.origin
    assert (again.method, again.steps, again.state.base) == (edited.method, edited.steps, edited.state.base)
    assert len(again.state.motion) == len(edited.state.motion)
    for old, new in zip(edited.state.motion, again.state.motion, strict=True):
        assert new.layers == old.layers
        assert np.array_equal(again.render(new), edited.render(old))
    old_file, new_file = (load(next(e.export("safetensors"))) for e in (edited, again))  # their headers have no order
    assert old_file.keys() == new_file.keys()
    assert all(torch.equal(new_file[name], tensor) for name, tensor in old_file.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_session_is_written_as_it_was_when_its_export_began(edited: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is done by the iterator, so that a server does it in a turn."""
    wanted, dump, made = edited.ws, session_file.dump, []
    monkeypatch.setattr(session_file, "dump", lambda saved: made.append(saved) or dump(saved))
    parts = edited.export("safetensors")
    assert not made
    edited.reset()
    assert torch.equal(Editor.load(next(parts), models=edited.models).ws, wanted)


@pytest.mark.parametrize("psi", [-2.0, -0.7, 0.0, 2.0])
def test_a_session_of_any_psi_is_read_again_and_goes_on(models: ModelCache, tiny: FrozenGenerator, psi: float) -> None:
    editor = Editor(tiny.name, seed=3, psi=psi, method="draggan", models=models)
    again = Editor.load(next(editor.export("safetensors")), models=models)
    assert again.state.origin.psi == psi
    order = {"type": "picture", "seed": 4, "psi": psi, "style": None, "c": None, "amend": False, "settled": True}
    assert read_message(json.dumps(order)).psi == psi


def test_integers_of_numpy_are_the_same_seeds(models: ModelCache, tiny: FrozenGenerator) -> None:
    editor = Editor(tiny.name, seed=np.int64(4), style=np.int64(5), method="draggan", models=models)
    plain = Editor(tiny.name, seed=4, style=5, method="draggan", models=models)
    assert torch.equal(editor.ws, plain.ws)
    editor.restyle(np.int64(6))
    plain.restyle(6)
    again = Editor.load(next(editor.export("safetensors")), models=models)
    assert torch.equal(again.ws, plain.ws)
    assert again.state.origin == plain.state.origin


@pytest.mark.parametrize("psi", [-2.5, 3.0, float("nan")])
def test_a_psi_that_no_session_holds_is_refused_at_once(models: ModelCache, tiny: FrozenGenerator, psi: float) -> None:
    with pytest.raises(InputError, match="psi is"):
        Editor(tiny.name, psi=psi, method="draggan", models=models)


def test_the_session_of_another_generator_is_refused(edited: Editor) -> None:
    data = next(edited.export("safetensors"))
    other = ModelCache("cpu")
    generator = FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=1)
    generator.name = edited.scene.dataset
    other.add(generator)
    with pytest.raises(InputError, match="another generator"):
        Editor.load(data, models=other)


def test_a_closed_cache_opens_no_other_file(edited: Editor, tmp_path) -> None:
    path = tmp_path / "secret.pkl"
    path.write_bytes(b"x")
    data = next(edited.export("safetensors")).replace(b"random-0", b"../x.pkl")
    for name in (str(path), "../x.pkl", "ffhq"):
        with pytest.raises(InputError, match=r"choose one of|not on this machine"):
            ModelCache("cpu", closed=True).generator(name)
    with pytest.raises(InputError, match="choose one of"):
        Editor.load(data, models=ModelCache("cpu", closed=True))


@pytest.fixture
def photographed(editor: Editor, models: ModelCache) -> Editor:
    """A photograph, dragged under a soft mask."""
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8), (400, 300))
    config = InvertConfig(steps=1, starts=1)
    editor = Editor.invert(image, editor.scene.dataset, config=config, models=models, method="draggan")
    editor.choose_method("draggan", 2)
    editor.drag(HANDLES, TARGETS, mask=cv2.GaussianBlur(np.eye(64, dtype=np.float32), (0, 0), 3))
    return editor


def test_a_photograph_and_a_soft_mask_come_back_exactly_and_take_little_space(photographed: Editor) -> None:
    data = next(photographed.export("safetensors"))
    again = Editor.load(data, models=photographed.models)
    assert torch.equal(again.mask, photographed.mask)
    assert np.array_equal(again.scene.photo.image, photographed.scene.photo.image)
    assert np.array_equal(again.photo, photographed.photo)
    for one in (photographed, again):
        one.drag(HANDLES, [(20, 40)])
    assert again.state.frame.layers == 1
    assert torch.equal(again.ws, photographed.ws)
    stored = load(data)
    assert stored["photo"].nbytes < 300 * 400 * 3 / 2
    assert stored["masks"].nbytes == 64 * 64


def test_a_session_of_an_earlier_version_is_read(photographed: Editor) -> None:
    """It holds a photograph's pixels, and masks of floats."""
    data = next(photographed.export("safetensors"))
    tensors, header = parse_tensors(data)
    tensors["photo"] = torch.from_numpy(photographed.scene.photo.image.copy())
    tensors["masks"] = tensors["masks"].float() / 255
    again = Editor.load(save(tensors, header), models=photographed.models)
    assert torch.equal(again.mask, photographed.mask)
    assert np.array_equal(again.photo, photographed.photo)


def test_masks_that_are_none_are_refused(edited: Editor) -> None:
    tensors, header = parse_tensors(next(edited.export("safetensors")))
    masks = tensors["masks"]
    for wrong in (masks.float(), masks.float() * torch.nan, masks.double() / 255, masks[0], masks.long()):
        with pytest.raises(InputError, match="mask"):
            session_file.parse(save(tensors | {"masks": wrong}, header))


def with_header(data: bytes, **changes: object) -> bytes:
    """The file with entries of its session's JSON replaced."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    session = json.loads(header["__metadata__"]["session"]) | changes
    header["__metadata__"]["session"] = json.dumps(session)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


@pytest.mark.parametrize(
    "changes",
    [
        {"base": 10**9},
        {"base": -1},
        {"steps": 10**9},
        {"steps": "many"},
        {"arrows": {"handles": [[1, 2]], "targets": [], "pins": []}},
        {"arrows": {"handles": [[float("nan"), 2]], "targets": [[1, 1]], "pins": []}},
        {"origin": {"seed": 1, "psi": float("inf"), "style": None}},
        {"origin": {"seed": 1, "psi": 1e308, "style": None}},
        {"arrows": {"handles": [[1e300, 2]], "targets": [[1, 1]], "pins": []}},
        {"plan": {"handles": [[1, 2]], "targets": [], "pins": []}},
        {"origin": 3},
        {"more": 1},
        {"dataset": 7},
    ],
)
def test_a_session_with_wrong_numbers_is_refused(edited: Editor, models: ModelCache, changes: dict) -> None:
    data = next(edited.export("safetensors"))
    Editor.load(with_header(data), models=models)
    with pytest.raises(InputError, match=r"cannot be read|no session"):
        Editor.load(with_header(data, **changes), models=models)


def test_a_session_with_more_steps_than_its_method_takes_has_the_most(editor: Editor, models: ModelCache) -> None:
    """Earlier versions took up to 1000."""
    data = next(editor.export("safetensors"))
    assert Editor.load(with_header(data, steps=900), models=models).steps == 500


def test_a_photograph_without_pixels_is_refused(editor: Editor) -> None:
    tensors, header = parse_tensors(next(editor.export("safetensors")))
    tensors["photo_place"] = torch.eye(2, 3).double()
    for wrong in (torch.zeros(0, 0, 3), torch.zeros(0), torch.zeros(99), torch.zeros(9, 9, 4)):
        with pytest.raises(InputError, match=r"photograph|picture"):
            session_file.parse(save(tensors | {"photo": wrong.to(torch.uint8)}, header))


def test_a_photographs_latents_are_one_row_of_numbers(editor: Editor, models: ModelCache) -> None:
    editor = Editor.invert(
        np.zeros((64, 64, 3), np.uint8),
        editor.scene.dataset,
        config=InvertConfig(steps=1, starts=1),
        models=models,
        method="draggan",
    )
    data = next(editor.export("safetensors"))
    tensors = load(data)
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
    for wrong in (torch.full((1, 10, 32), torch.nan), torch.zeros(10, 32)):
        with pytest.raises(InputError, match="photograph's latents"):
            session_file.parse(save(tensors | {"photo_ws": wrong}, header))
    with pytest.raises(InputError, match="another generator"):
        Editor.load(save(tensors | {"photo_ws": torch.zeros(1, 9, 32)}, header), models=models)
    del tensors["photo_ws"]
    with pytest.raises(InputError, match="no photograph or no latents"):
        session_file.parse(save(tensors, header))


def test_damaged_files_are_refused_or_read_but_never_crash(editor: Editor, models: ModelCache) -> None:
    editor.drag(HANDLES, TARGETS)
    data = next(editor.export("safetensors"))
    draw = random.Random(0)
    for _ in range(400):
        broken = bytearray(data[: draw.randrange(len(data))] if draw.random() < 0.3 else data)
        for _ in range(draw.randrange(1, 6)):
            if broken:
                broken[draw.randrange(min(len(broken), 2500))] = draw.randrange(256)
        try:
            session_file.parse(bytes(broken))
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04.", b"\xff" * 64, b"PK\x03\x04", b"{}", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"]
)
def test_other_files_are_refused(data: bytes, models: ModelCache) -> None:
    with pytest.raises(InputError):
        Editor.load(data, models=models)
