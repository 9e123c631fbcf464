"""Learning rate and lambda of optimisers, as a user sets them."""

from pathlib import Path

import pytest

from autodrag.editor.script import script
from autodrag.editor.session import Editor
from autodrag.editor.tuning import Tuning
from autodrag.errors import InputError

HANDLES, TARGETS = ((120.0, 190.0),), ((124.0, 192.0),)


def test_an_optimiser_takes_them_and_another_method_keeps_its_own() -> None:
    editor = Editor("synthface", seed=3, method="draggan", steps=1)
    usual = Tuning.of(editor.loaded())
    assert usual is not None and usual.lr is not None
    editor.drag(HANDLES, TARGETS)
    moved = {usual.lr: (editor.ws - editor.state.motion[0].ws).abs().max().item()}
    editor.undo()
    editor.choose_method("draggan", 1, Tuning(lr=10 * usual.lr, mask_weight=0))
    assert Tuning.of(editor.loaded()) == Tuning(10 * usual.lr, 0)
    editor.drag(HANDLES, TARGETS)
    moved[10 * usual.lr] = (editor.ws - editor.state.motion[0].ws).abs().max().item()
    assert moved[10 * usual.lr] == pytest.approx(10 * moved[usual.lr], rel=0.1)  # Adam's first step is the rate
    other = Tuning.of(editor.loaded("freedrag"))
    assert other is not None and other.mask_weight == 10
    editor.choose_method("landing")
    assert Tuning.of(editor.loaded()) is None


@pytest.mark.parametrize(
    ("method", "tuning", "says"),
    [
        ("landing", Tuning(lr=1e-3), "Only DragGAN and FreeDrag"),
        ("draggan", Tuning(lr=0), "lr"),
        ("draggan", Tuning(mask_weight=-1), "lambda"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(method: str, tuning: Tuning, says: str) -> None:
    editor = Editor("synthface", seed=3, method="autodrag")
    with pytest.raises(InputError, match=says):
        editor.choose_method(method, None, tuning)
    assert editor.method == "autodrag"


def test_a_session_and_its_script_keep_them(tmp_path: Path) -> None:
    editor = Editor("synthface", seed=3)
    editor.choose_method("draggan", 1, Tuning(lr=5e-3))
    editor.drag(HANDLES, TARGETS)
    editor.save(tmp_path / "a.safetensors")
    loaded = Editor.load(tmp_path / "a.safetensors")
    assert (loaded.method, loaded.steps, loaded.tuning) == ("draggan", 1, Tuning(lr=5e-3))
    lines = script(editor).splitlines()
    assert lines[1] == "from autodrag.editor.tuning import Tuning"
    assert lines[4] == "editor.choose_method('draggan', 1, Tuning(lr=0.005))"
