"""One client's editing without a server: what pages are told where orders fail, overlap or come late."""

from typing import Any

import numpy as np
import pytest

from autodrag.app import protocol
from autodrag.app.controller import Controller
from autodrag.app.orders import OwnImage
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.renderer import Renderer
from autodrag.editor.session import Editor
from autodrag.editor.tuning import Tuning
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import encode


def test_pictures_of_the_motion_are_others_with_a_photograph_s_detail(
    models: ModelCache, tiny: FrozenGenerator
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    config = InvertConfig(steps=1, starts=1)
    editor = Editor.invert(image, tiny.name, config=config, models=models, method="draggan")
    editor.choose_method("draggan", 1)
    editor.drag([(20, 30)], [(28, 30)])
    one = Controller(models, editor)
    motions = [next(one.welcome()).session["motion"]]
    for order in (protocol.Detail(type="detail", on=False), protocol.Command(type="undo")):
        changed, *_ = (event for event in one.take(order).events if hasattr(event, "session"))
        motions.append(changed.session["motion"])
    assert len(set(motions)) == 3


def order_of(kind: type, gesture: int, handle: tuple[float, float] = (20.0, 30.0)) -> protocol.AnyMessage:
    """A pull or a release of this handle, 8 px to the right."""
    ends = {"handles": (handle,), "targets": ((handle[0] + 8, handle[1]),), "pins": (), "again": False}
    return kind(type=kind.__name__.lower(), gesture=gesture, time=0.0, **ends)


def test_the_page_is_told_what_there_is_after_a_pull_that_undo_has_ended(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    next(one.take(order_of(protocol.Pull, 1)).events)
    list(one.take(protocol.Command(type="undo")).events)
    assert one.take(order_of(protocol.Pull, 1)) is None
    late = one.take(order_of(protocol.Release, 1))
    (changed,) = late.events
    assert late.aside and changed.session["frames"] == len(editor.state.motion) == 1


def test_a_drag_that_fails_is_over(page: Any) -> None:
    arrow = {"handles": [[20, 30]], "targets": [[28, 30]], "pins": [[900, 30]], "again": False, "gesture": 1, "time": 0}
    page.say(type="pull", **arrow)
    page.until("note")
    page.say(type="release", **arrow)
    page.until("session")
    assert page.told["session"]["frames"] == 1
    assert "lies outside" in page.notes[0]
    page.say(type="show", index=0)
    page.until("scrub")


def test_a_method_s_settings_stay_when_a_picture_is_opened(models: ModelCache, editor: Editor) -> None:
    editor.choose_method("draggan", 7, Tuning(lr=0.05, mask_weight=3.0))
    one = Controller(models, editor)
    list(one.take(OwnImage(encode(editor.image, lossless=True), InvertConfig(steps=1, starts=1))).events)
    assert editor.scene.photo is not None
    assert (editor.steps, editor.tuning) == (7, Tuning(lr=0.05, mask_weight=3.0))


@pytest.mark.parametrize(("seed", "style"), [(-7, 2**31), (2**70 + 1, -1)])
def test_what_a_page_does_not_set_stays_as_it_is(
    models: ModelCache, tiny: FrozenGenerator, seed: int, style: int
) -> None:
    """Also seeds that no page chooses, but Python's `Editor`."""
    editor = Editor(tiny.name, seed=seed, style=style, psi=1.5, method="draggan", models=models)
    one = Controller(models, editor)
    psi = protocol.Picture(type="picture", psi=0.5, amend=False, settled=True)
    changed, _ = one.take(psi).events
    assert (changed.session["seed"], changed.session["style"]) == (str(seed), str(style))
    wanted = Editor(tiny.name, seed=seed, style=style, psi=0.5, method="draggan", models=models)
    assert np.array_equal(editor.image, wanted.image)
    list(one.take(protocol.Picture(type="picture", seed=4, style=None, amend=False, settled=True)).events)
    wanted = Editor(tiny.name, seed=4, psi=0.5, method="draggan", models=models)
    assert np.array_equal(editor.image, wanted.image)


def test_a_stroke_that_is_refused_gives_way_to_the_mask(models: ModelCache, editor: Editor) -> None:
    editor.mask = np.eye(64)
    one = Controller(models, editor)
    own = one.take(OwnImage(encode(editor.image, lossless=True), InvertConfig(steps=2, starts=1))).events
    next(own)
    note, _, mask = one.take(protocol.Brush(type="brush", points=((20.0, 30.0),), radius=9.0, paint="keep")).events
    assert "being prepared" in note.text
    assert mask.lane == "mask" and np.array_equal(mask.make()[:, :, 0], 255 * np.eye(64))


def test_a_picture_that_cannot_be_made_is_told_beside_the_picture(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(renderer: Renderer, frame: object) -> None:
        raise InputError("The memory is full.")

    with monkeypatch.context() as broken:
        broken.setattr(Renderer, "__call__", full)
        page.say(type="picture", seed=5, psi=1.0, style=None, amend=False, settled=True)
        page.until("note")
    assert page.told["note"] == {"type": "note", "text": "The memory is full.", "lane": None}  # of no comparison
