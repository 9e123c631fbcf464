"""A method that answers at once: every pull starts over, points are guessed while it lasts and found when it ends."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autodrag import config
from autodrag.app import protocol
from autodrag.app.controller import Controller
from autodrag.app.events import Changed, Event, Look, Note, Work
from autodrag.app.orders import Hello, OwnImage
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.editor.user_photo import OwnPicture
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import encode
from autodrag.methods import base
from autodrag.models import AutoDrag, DomainShape, ModelConfig, PredictorConfig, RegularizerConfig, Statistics
from autodrag.tracking import Tracker

HANDLES = ((20.0, 30.0),)
SIZES = {"width": 32, "heads": 4, "encoder_layers": 1, "decoder_layers": 1, "mlp_ratio": 1.0}


@pytest.fixture
def models(tiny: FrozenGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    """The tiny generator with weights of AutoDrag that move something, however little sense it makes."""
    torch.manual_seed(0)
    shape = DomainShape(tiny.num_ws, tiny.w_dim, tiny.feature_shape(6), tiny.resolution)
    sizes = ModelConfig(PredictorConfig(**SIZES), RegularizerConfig(**SIZES), steps=3)
    model = AutoDrag(sizes, shape, Statistics.identity(tiny.w_dim, shape.feature_shape[0]))
    torch.nn.init.normal_(model.predictor.head.weight, std=0.3)
    folder = tmp_path / tiny.name
    folder.mkdir()
    model.save(folder / "autodrag.safetensors")
    monkeypatch.setattr(config, "MODEL_DIR", tmp_path)
    models = ModelCache("cpu")
    models.add(tiny)
    return models


@pytest.fixture
def editor(models: ModelCache, tiny: FrozenGenerator) -> Editor:
    return Editor(tiny.name, seed=3, models=models)


def test_every_pull_starts_over(editor: Editor) -> None:
    edit = editor.begin(HANDLES)
    (there,) = edit.toward(((30.0, 30.0),), quick=True)
    assert len(edit.frames) == 3
    (back,) = edit.toward(((20.0, 36.0),), quick=True)
    (again,) = edit.toward(((30.0, 30.0),), quick=True)
    assert torch.equal(there.frame.ws, again.frame.ws)
    assert not torch.equal(there.frame.ws, back.frame.ws)
    assert again.frame.points == ((30.0, 30.0),)  # where it should be
    (found,) = edit.toward(((30.0, 30.0),))
    assert torch.equal(found.frame.ws, again.frame.ws)
    assert found.frame.points != ((30.0, 30.0),)  # where it is
    editor.keep(edit)
    assert len(editor.state.motion) == 4


def test_handles_are_looked_for_in_the_last_picture_only(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    find = Tracker.find
    monkeypatch.setattr(Tracker, "find", lambda self, *given: looked.append(given) or find(self, *given))
    edit = editor.begin(HANDLES)
    list(edit.toward(((30.0, 30.0),), quick=True))
    assert not looked
    list(edit.toward(((30.0, 30.0),)))
    assert len(looked) == 1
    (start, end), middle = (HANDLES[0], edit.frames[-1].points[0]), edit.frames[0].points[0]
    assert np.allclose(middle, np.add(start, np.subtract(end, start) / 3), atol=1e-3)


def test_steps_are_chosen(editor: Editor) -> None:
    editor.choose_method("autodrag", 5)
    editor.drag(HANDLES, [(30, 30)])
    assert len(editor.state.motion) == 6


def test_sessions_do_not_mix(models: ModelCache, tiny: FrozenGenerator) -> None:
    editors = [Editor(tiny.name, seed=seed, models=models) for seed in (1, 2)]
    edits = [editor.begin(HANDLES) for editor in editors]
    for x in (22.0, 24.0):
        for edit in edits:
            list(edit.toward(((x, 30.0),), quick=True))
    for editor, edit, seed in zip(editors, edits, (1, 2), strict=True):
        editor.keep(edit)
        alone = Editor(tiny.name, seed=seed, models=models)
        alone.drag(HANDLES, [(24, 30)])
        assert torch.equal(alone.ws, editor.ws)


def test_a_mask_is_obeyed_by_blending(editor: Editor) -> None:
    before = editor.image
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 8:40] = 1
    editor.drag(HANDLES, [(30, 30)], mask=mask)
    assert np.array_equal(editor.image[mask == 0], before[mask == 0])
    assert not np.array_equal(editor.image, before)


def test_who_clears_a_mask_is_told_that_what_it_kept_may_jump(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    for dragged in (False, True):
        editor.mask = np.eye(64)
        if dragged:
            editor.drag(HANDLES, [(30, 30)])
        events = list(one.take(protocol.Command(type="clear_mask")).events)
        assert editor.mask is None
        assert any(isinstance(event, Note) for event in events) == dragged


def test_a_tuned_generator_is_dragged_by_the_same_model(models: ModelCache, tiny: FrozenGenerator) -> None:
    own = OwnPicture(np.zeros((64, 64, 3), np.uint8), tiny.name, models, InvertConfig(steps=2, starts=1, tune_steps=2))
    list(own.run())
    editor = Editor.of_picture(own, models, "autodrag")
    editor.drag(HANDLES, [(30, 30)])
    assert editor.method == "autodrag"
    assert editor.scene.generator is not tiny
    plain, tuned = (
        models.method("autodrag", tiny, tiny.name),
        models.method("autodrag", own.scene().generator, tiny.name),
    )
    assert tuned.model is plain.model
    assert plain.generator is tiny


def message(kind: type, **fields: object) -> protocol.AnyMessage:
    drag = {"handles": HANDLES, "targets": ((30.0, 30.0),), "pins": (), "again": False, "time": 0.0}
    return kind(type=kind.__name__.lower(), **(drag | fields))


def test_a_desk_pulls_releases_and_pulls_again(models: ModelCache, editor: Editor) -> None:
    first = editor.image
    one = Controller(models, editor)
    for x in (22.0, 26.0):
        events = list(one.take(message(protocol.Pull, gesture=1, targets=((x, 30.0),))).events)
        assert [type(event) for event in events] == [Look]
        assert events[0].header["points"] == [[x, 30.0]]
    assert len(editor.state.motion) == 1  # nothing is kept yet
    events = list(one.take(message(protocol.Release, gesture=1)).events)
    assert isinstance(events[-2], Changed)
    assert events[-1].final
    assert events[-1].header["distance"] == events[0].header["distance"]
    assert events[-1].header["seconds"] > 0
    assert len(editor.state.motion) == 4
    assert one.take(message(protocol.Pull, gesture=1)) is None  # that gesture is over
    again = message(protocol.Release, gesture=2, again=True, targets=((22.0, 30.0),))
    list(one.take(again).events)
    assert len(editor.state.motion) == 4  # from the same start
    list(one.take(message(protocol.Release, gesture=3)).events)
    assert len(editor.state.motion) == 7  # from the picture now
    list(one.take(protocol.Command(type="undo")).events)
    list(one.take(protocol.Command(type="reset")).events)
    assert np.array_equal(editor.image, first)


def test_what_a_pull_has_reached_is_kept_or_dropped(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    list(one.take(message(protocol.Pull, gesture=1)).events)
    list(one.take(protocol.Drop(type="drop", gesture=1)).events)
    assert len(editor.state.motion) == 1
    list(one.take(message(protocol.Pull, gesture=2)).events)
    list(one.take(protocol.Brush(type="brush", points=((1.0, 1.0),), radius=3.0, paint="keep")).events)
    assert len(editor.state.motion) == 4


def begun(
    models: ModelCache, editor: Editor, kind: type, steps: int, events: int = 1
) -> tuple[Controller, Iterator[Event]]:
    """A controller whose drag of the gesture 1 has made some of its events, and the further ones."""
    one = Controller(models, editor)
    editor.choose_method("draggan", steps)
    running = one.take(message(kind, gesture=1)).events
    for _ in range(events):
        next(running)
    return one, running


@pytest.mark.parametrize("dropped", [1, 2])
def test_a_tap_keeps_what_a_drag_that_was_released_has_reached(
    models: ModelCache, editor: Editor, dropped: int
) -> None:
    """2: of a pull of its own that moved nothing; 1: of the arrow tool, which begins no pull."""
    one, _ = begun(models, editor, protocol.Release, steps=50, events=10)
    events = list(one.take(protocol.Drop(type="drop", gesture=dropped)).events)
    assert [type(event) for event in events] == [Work, Changed, Look]
    assert len(editor.state.motion) == 6
    editor.undo()
    assert len(editor.state.motion) == 1


def test_a_page_loaded_anew_sees_the_end_of_a_drag_that_was_released(models: ModelCache, editor: Editor) -> None:
    one, running = begun(models, editor, protocol.Release, steps=8)
    hello = one.take(Hello(fresh=True))
    assert hello.aside
    assert [type(event) for event in hello.events] == [Changed, Look]
    *_, last = (event for event in running if isinstance(event, Look))
    assert last.final
    assert np.array_equal(last.make(), editor.image)
    assert len(editor.state.motion) == 9
    assert one.take(message(protocol.Pull, gesture=1)) is None
    editor.undo()
    assert len(editor.state.motion) == 1


def test_a_page_loaded_anew_ends_the_pull_of_the_one_before(models: ModelCache, editor: Editor) -> None:
    one, _ = begun(models, editor, protocol.Pull, steps=8)
    hello = one.take(Hello(fresh=True))
    assert not hello.aside  # else the pull's job would go on, and what it makes be lost
    assert [type(event) for event in hello.events] == [Changed, Look]
    assert len(editor.state.motion) == 2


def test_what_is_refused_during_an_inversion_leaves_the_page_in_step(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    own = one.take(OwnImage(encode(editor.image, lossless=True), InvertConfig(steps=2, starts=1))).events
    next(own)
    plan = one.take(protocol.Plan(type="plan", handles=(), targets=(), pins=HANDLES, revision=7))
    assert plan.aside  # the inversion goes on
    note, changed = plan.events
    assert "being prepared" in note.text
    assert changed.session["revision"] == 7
    assert changed.session["plan"] is None
    (changed,) = one.take(protocol.Drop(type="drop", gesture=1)).events  # of a tap on its picture
    assert isinstance(changed, Changed)
    list(own)
    assert editor.scene.photo is not None


def test_an_order_that_ends_a_drag_tells_what_it_reached(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    editor.choose_method("draggan", 50)
    running = one.take(message(protocol.Release, gesture=1)).events
    for _ in range(3):
        next(running)
    job = one.take(protocol.Method(type="method", name="autodrag", steps=None))
    assert [type(event) for event in job.first] == [Work, Changed, Look]
    assert job.first[0].what == ""
    assert np.array_equal(job.first[2].make(), editor.image)
    assert len(editor.state.motion) > 1
    again = one.take(protocol.Method(type="method", name="draggan", steps=None))
    assert again.first == ()  # nothing was under way
    compare = protocol.Compare(
        type="compare", methods=("draggan",), handles=HANDLES, targets=((30.0, 30.0),), pins=(), again=False
    )
    next(one.take(compare).events)
    assert one.take(message(protocol.Pull, gesture=2)).first[0] == Work("")


def test_a_desk_says_what_cannot_be(models: ModelCache, editor: Editor) -> None:
    one = Controller(models, editor)
    with pytest.raises(InputError, match="outside the image"):
        list(one.take(message(protocol.Pull, gesture=1, handles=((900.0, 1.0),))).events)
    compare = protocol.Compare(
        type="compare", methods=("latent_transformer", "magic"), handles=HANDLES, targets=HANDLES, pins=(), again=False
    )
    notes = [event for event in one.take(compare).events if isinstance(event, Note)]
    assert [note.lane for note in notes] == ["latent_transformer", "magic"]
    with pytest.raises(InputError, match="empty file"):
        list(one.take(OwnImage(b"", InvertConfig())).events)


def test_a_comparison_says_the_seconds_that_a_method_takes_alone(
    models: ModelCache, editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only the generator's work moves: what other methods do meanwhile would show."""
    clock = SimpleNamespace(now=0.0)
    work = FrozenGenerator.features

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        clock.now += 1.0
        return work(*arguments, **options)

    monkeypatch.setattr(FrozenGenerator, "features", counted)
    monkeypatch.setattr(base, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    names, alone = ("draggan", "freedrag", "autodrag"), {}
    for name in names:
        edit = editor.begin(HANDLES, method=name)
        alone[name] = [progress.seconds for progress in edit.toward(((24.0, 30.0),))][-1]
    order = protocol.Compare(
        type="compare", methods=names, handles=HANDLES, targets=((24.0, 30.0),), pins=(), again=False
    )
    looks = [event for event in Controller(models, editor).take(order).events if isinstance(event, Look)]
    said = {look.lane: look.header["seconds"] for look in looks if look.header.get("done")}
    assert set(said) == set(names)
    assert min(alone.values()) > 0
    for name in names:
        assert alone[name] / 1.5 < said[name] < alone[name] * 1.5
