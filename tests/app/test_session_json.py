"""What a page is told of a session and of a drag."""

import numpy as np
import pytest

from autodrag.app import session_json
from autodrag.app.session_json import describe, outcome
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.generator import FrozenGenerator


def test_a_session_is_heavy_where_its_file_is(
    models: ModelCache, tiny: FrozenGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    config = InvertConfig(steps=1, starts=1)
    editor = Editor.invert(image, tiny.name, config=config, models=models, method="draggan")
    editor.choose_method("draggan", 2)
    editor.drag([(20, 30)], [(28, 30)], mask=np.eye(64))
    size = len(next(editor.export("safetensors")))
    for limit, heavy in ((size, False), (size * 0.98, True)):
        monkeypatch.setattr(session_json, "COPIED", limit)
        assert describe(editor, 0)["heavy"] is heavy


def test_an_outcome_says_how_far_handle_and_pins_came_and_whether_the_drag_stopped_short() -> None:
    editor = Editor("synthface", seed=3, method="landing")
    edit = editor.begin(((120.0, 190.0),), ((128.0, 90.0),))
    list(edit.toward(((124.0, 192.0),)))
    near = outcome(edit)
    assert near["short"] is False and near["distance"] < 1.5 < near["asked"] and near["drift"] < 3
    list(edit.toward(((250.0, 20.0),)))
    far = outcome(edit)
    assert far["short"] is True and far["distance"] > 30


def test_an_optimiser_cannot_tell_whether_it_stopped_short() -> None:
    edit = Editor("synthface", seed=3, method="draggan", steps=1).begin(((120.0, 190.0),))
    list(edit.toward(((124.0, 192.0),)))
    assert outcome(edit)["short"] is None and outcome(edit)["drift"] is None
