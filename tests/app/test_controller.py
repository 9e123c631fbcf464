"""One client's editing without a server: what pages are told where orders fail, overlap or come late."""

import numpy as np

from autodrag.app import protocol
from autodrag.app.controller import Controller
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.generator import FrozenGenerator


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
