"""Latents of other programs, of drags and of sessions."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autodrag import Editor, InputError
from autodrag.app.controller import Controller, SessionFile
from autodrag.app.events import Changed
from autodrag.app.protocol import read_message
from autodrag.editor.latent_files import DRAG_FORMAT, read_latent, signature
from autodrag.files import write_tensors
from autodrag.generator import FrozenGenerator
from autodrag.seeding import rng

L, D = 10, 32  # of the generator `tiny`


@pytest.fixture
def ws() -> Tensor:
    return torch.randn(1, L, D, generator=torch.Generator().manual_seed(3))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **{k: np.asarray(v) for k, v in arrays.items()})
    return buffer.getvalue()


def pt(thing: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def beside_text(archive: bytes) -> bytes:
    """The archive with a long text before its arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as result, zipfile.ZipFile(io.BytesIO(archive)) as arrays:
        result.writestr("README.txt", "text " * 200)
        for entry in arrays.namelist():
            result.writestr(entry, arrays.read(entry))
    return buffer.getvalue()


def declared(header: bytes) -> bytes:
    """An .npy file whose header says this, and that holds nothing."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def flipped(archive: bytes, at: int, value: int) -> bytes:
    return archive[:at] + bytes([value]) + archive[at + 1 :]


@pytest.mark.parametrize(
    "forge",
    [
        lambda w: npz(w=w),  # NVIDIA's projector
        lambda w: npz(True, w=w, w_avg=w[0, 0], img=np.zeros((2, 3))),
        lambda w: npy(w),
        lambda w: npy(w[0].double()),
        lambda w: pt(w),  # PTI
        lambda w: pt(w, legacy=True),
        lambda w: pt(w[0].clone().requires_grad_()),
        lambda w: pt([w]),
        lambda w: pt({"latent": w, "z": w[0, 0]}),
        lambda w: pt({"cat.png": {"img": torch.zeros(3, 4, 4), "latent": w[0], "noise": [torch.zeros(1, 1, 4, 4)]}}),
        lambda w: pt({"latents": w, "latents_before": w + 1, "opts": Path("x")}),
        lambda w: pickle.dumps({"w": w.numpy()}),
        lambda w: npy(w[None]),
        lambda w: beside_text(npz(w=w)),
    ],
)
def test_one_picture_of_any_program(
    tiny: FrozenGenerator, ws: Tensor, tmp_path: Path, forge: Callable[..., Any]
) -> None:
    data = forge(ws)
    (tmp_path / "latent").write_bytes(data)
    for source in (data, tmp_path / "latent"):
        assert torch.equal(read_latent(source, tiny), ws)


@pytest.mark.parametrize("shape", [(D,), (1, D), (1, 1, D)])
def test_one_row_stands_for_all(tiny: FrozenGenerator, ws: Tensor, shape: tuple[int, ...]) -> None:
    for data in (npy(ws[0, 0].reshape(shape)), pt(ws[0, 0].reshape(shape)), npz(w=ws[0, 0].reshape(shape))):
        assert torch.equal(read_latent(data, tiny), ws[:, :1].expand(1, L, D))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npz(w=np.zeros((1, 18, 512))), ("[1, 18, 512]", "[1, 10, 32]")),
        (npy(np.zeros((2, L, D))), ("[2, 10, 32]", "one picture")),
        (npy(np.full((1, L, D), np.nan)), ("NaN",)),
        (npy(np.zeros((1, L, D), int)), ("real numbers",)),
        (npz(a=np.zeros((1, D)), b=np.zeros((1, D))), ("2 latents", "a [1, 32]")),
        (npz(z=np.zeros((1, D))), ("no arrays",)),
        (npz(w=np.array([None])), ("no arrays",)),
        (npy(np.zeros(3))[:-1], ("no whole file",)),
        (npz(w=np.zeros(3))[:-30], ("no whole file",)),
        (flipped(npz(True, w=np.zeros(3)), 60, 0xFF), ("no whole file",)),  # in the compressed array
        (flipped(npz(w=np.zeros(3)), npz(w=np.zeros(3)).index(b"PK\1\2") + 8, 1), ("no whole file",)),  # "encrypted"
        (declared(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }\n"), ("no whole file",)),
        (declared(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }\n" % 10**25), ("no whole file",)),
        (declared(b"("), ("no whole file",)),
        (pt({"a": 1}), ("no arrays",)),
        (b"hello", ("is a text file; a torch file or a pickle of tensors",)),
        (b"", ("is empty; a torch file or a pickle of tensors",)),
        (b"<!doctype html>", ("is a web page",)),
        (pt(torch.zeros(1, L, D))[:-30], ("is a zip archive that is truncated",)),
        (b"\x10\0\0\0\0\0\0\0{not json", ("safetensors",)),
    ],
)
def test_what_is_no_latent_is_one_sentence(tiny: FrozenGenerator, data: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read_latent(data, tiny)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_in_a_file_is_executed(tiny: FrozenGenerator, ws: Tensor, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (tmp_path / "executed").touch, ()

    objects = np.empty(1, dtype=object)
    objects[0] = Evil()
    for data in (npz(w=ws, x=objects), pickle.dumps({"w": ws.numpy(), "x": Evil()})):
        assert torch.equal(read_latent(data, tiny), ws)
    with pytest.raises(InputError):
        read_latent(npy(objects), tiny)
    assert not (tmp_path / "executed").exists()


def test_drags_of_another_generator_are_refused(tiny: FrozenGenerator, ws: Tensor, tmp_path: Path) -> None:
    path, about = tmp_path / "drag.safetensors", {"format": DRAG_FORMAT, "generator": tiny.name}
    motion = torch.cat([ws - 1, ws])
    write_tensors(path, {"motion": motion}, about)  # as earlier versions wrote it
    assert torch.equal(read_latent(path, tiny), ws)
    write_tensors(path, {"motion": motion}, about | {"w_avg": signature(tiny)})
    assert torch.equal(read_latent(path, tiny), ws)
    for change in ({"generator": "ffhq"}, {"w_avg": "0" * 64}):
        write_tensors(path, {"motion": motion}, about | change)
        with pytest.raises(InputError, match=r"latents of (the|another) generator .*give its own generator\.$"):
            read_latent(path, tiny)
    write_tensors(path, {"w": ws}, {"generator": "ffhq"})
    with pytest.raises(InputError, match="'ffhq'"):
        read_latent(path, tiny)


def test_sessions(tiny: FrozenGenerator, tmp_path: Path) -> None:
    editor = Editor(tiny, seed=4, method="draggan", steps=1)
    editor.drag([(20.0, 20.0)], [(24.0, 20.0)])
    editor.save(tmp_path / "session.safetensors")
    assert torch.equal(read_latent(tmp_path / "session.safetensors", tiny), editor.ws)
    with pytest.raises(InputError, match="latents of"):
        read_latent(tmp_path / "session.safetensors", FrozenGenerator.random(seed=1))


def test_an_editor_begins_with_a_latent(tiny: FrozenGenerator, ws: Tensor, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(npz(w=ws))
    for latent in (
        tmp_path / "w.npz",
        str(tmp_path / "w.npz"),
        npz(w=ws),
        ws,
        ws[0],
        ws.numpy(),
        ws.numpy()[0].tolist(),
    ):
        editor = Editor(tiny, method="draggan", latent=latent)
        assert torch.equal(editor.ws, ws)
        assert editor.state.origin.seed is None
    other = Editor(tiny, method="draggan", seed=1)
    before = other.ws
    other.open_latent(npz(w=ws))
    assert torch.equal(other.ws, ws)
    assert other.undo()
    assert torch.equal(other.ws, before)
    for wrong, says in (
        (torch.zeros(1, 3, 3), r"\[1, 10, 32\]"),
        (torch.full((1, L, D), torch.nan), "NaN"),
        (torch.zeros(1, L, D, dtype=torch.int64), "int64"),
        ({"w": ws}, "is dict"),
    ):
        with pytest.raises(InputError, match=says):
            Editor(tiny, method="draggan", latent=wrong)


def test_the_page_opens_latents_and_chooses_a_class() -> None:
    generator = FrozenGenerator.random(w_dim=32, c_dim=3)
    editor = Editor(generator, method="draggan", seed=1)
    controller = Controller(editor.models, editor)

    def told(order: Any) -> dict[str, Any]:
        job = controller.take(order)
        assert job is not None
        return next(event for event in job.events if isinstance(event, Changed)).session

    ws = torch.randn(1, L, D)
    session = told(SessionFile(npz(w=ws)))
    assert torch.equal(controller.editor.ws, ws)
    assert (session["seed"], session["classes"], session["c"]) == (None, 3, None)
    picture = {"type": "picture", "seed": 1, "psi": 0.7, "style": None, "amend": False, "settled": True}
    z = torch.randn(1, D, generator=rng(1, "editor"))
    for c, label in ((None, torch.zeros(1, 3)), (2, torch.eye(3)[2:])):
        assert told(read_message(json.dumps(picture | {"c": c})))["c"] == c
        assert torch.allclose(controller.editor.ws, generator.map(z, label, psi=0.7))
    saved = b"".join(controller.editor.export("safetensors"))
    assert told(SessionFile(saved))["c"] == 2
    controller.editor.restyle(7)
    tail = generator.map(torch.randn(1, D, generator=rng(7, "editor")), torch.eye(3)[2:], psi=0.7)[:, 6:]
    assert torch.allclose(controller.editor.ws[:, 6:], tail)
    with pytest.raises(InputError, match="3 classes"):
        told(read_message(json.dumps(picture | {"c": 3})))
