"""A session as Python: the code runs, and makes the picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from autodrag import load_generator
from autodrag.config import load_dataset
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.script import script
from autodrag.editor.session import Editor
from autodrag.editor.state import Arrows
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

HANDLES, TARGETS = ((20.0, 30.0),), ((28.0, 30.0),)
PLANNED = Arrows(((28.0, 30.0),), ((30.0, 34.0),), ((40.0, 40.0),))


def drags(editor: Editor) -> list[str]:
    return [line for line in script(editor).splitlines() if ".drag(" in line]


def test_a_script_names_picture_and_drag() -> None:
    editor = Editor("synthface", seed=3, psi=1.0, method="draggan", steps=3)
    editor.drag(HANDLES, TARGETS, pins=[(40, 40)])
    lines = script(editor).splitlines()
    assert lines[:3] == [
        "from autodrag import Editor",
        "",
        "editor = Editor('synthface', seed=3, psi=1, method='draggan', steps=3)",
    ]
    assert lines[3] == "editor.drag([(20, 30)], [(28, 30)], pins=[(40, 40)])"
    editor.drag(HANDLES, TARGETS)
    assert "Editor.load" in script(editor)  # two drags are in no five lines


def test_the_drag_of_the_picture_comes_before_planned_arrows(editor: Editor) -> None:
    editor.drag(HANDLES, TARGETS)
    made, planned = "editor.drag([(20, 30)], [(28, 30)])", "editor.drag([(28, 30)], [(30, 34)], pins=[(40, 40)])"
    for plan, wanted in ((Arrows(), [made]), (Arrows(pins=PLANNED.pins), [made]), (PLANNED, [made, planned])):
        editor.plan(plan)
        assert drags(editor) == wanted


@pytest.fixture
def opened(tmp_path: Path, tiny: FrozenGenerator) -> Editor:
    """A session of a server that was started with dataset=FILE."""
    network, path = tiny.trainable_copy(), tmp_path / "mine.safetensors"
    write_safetensors(path, network.config, network.state_dict())
    models = ModelCache("cpu", closed=True)
    name = models.add(load_generator(path), load_dataset(str(path)))
    return Editor(name, seed=3, method="draggan", steps=2, models=models)


@pytest.mark.parametrize("loads", [False, True])
def test_the_code_makes_the_picture_with_a_generator_of_a_file(
    opened: Editor, loads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.drag(HANDLES, TARGETS, mask=np.eye(64) if loads else None)
    opened.save(tmp_path / "autodrag.session.safetensors")
    opened.plan(PLANNED)
    monkeypatch.chdir(tmp_path)
    text = script(opened)
    assert ("Editor.load" in text) == loads
    exec(text, {})  # noqa: S102 (the code of this package)
    opened.drag(PLANNED.handles, PLANNED.targets, pins=PLANNED.pins)
    assert np.array_equal(cv2.imread("edited.png")[:, :, ::-1], opened.image)


def test_a_generator_without_a_file_is_asked_for(editor: Editor) -> None:
    assert "models.add(load_generator('random-0.safetensors'))  # the generator's file" in script(editor)
