"""How much of a session undo remembers."""

from dataclasses import replace

import numpy as np
import torch

from autodrag import Editor
from autodrag.editor.history import History, Moment
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.generator import FrozenGenerator


def test_a_few_fine_tuned_generators_are_remembered(editor: Editor) -> None:
    history = History(Moment(editor.scene, editor.state))
    for index in range(5):
        tuned = replace(editor.scene, tuned={"w": torch.full((1,), float(index))})
        history.push(Moment(tuned, editor.state))
        history.push(Moment(tuned, editor.state))
    assert [int(moment.scene.tuned["w"]) for moment in history.moments] == [2, 2, 3, 3, 4, 4]


def test_toggling_the_detail_of_a_fine_tuned_session_forgets_nothing(models: ModelCache, tiny: FrozenGenerator) -> None:
    config = InvertConfig(steps=1, starts=1, tune_steps=1)
    editor = Editor.invert(np.zeros((64, 64, 3), np.uint8), tiny.name, config=config, models=models, method="draggan")
    for _ in range(6):
        editor.detail = not editor.detail
    assert editor.scene.tuned
    assert len(editor.history.moments) == 7


def test_history_and_motion_stay_bounded(editor: Editor) -> None:
    for index in range(60):
        editor.choose(index, 1.0)
    count = 0
    while editor.undo():
        count += 1
    assert count == 49
    state = editor.state
    for _ in range(30):
        start = state.frame
        frames = tuple(replace(start) for _ in range(200))
        state = state.dragged(len(state.motion) - 1, frames, state.arrows)
        assert state.motion[state.base] is start
        assert state.frame is frames[-1]
    assert len(state.motion) <= 512
