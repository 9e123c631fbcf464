"""A drag while the pointer moves, and what it has come to when the pointer is lifted."""

import torch

from autodrag.editor.session import Editor

HANDLES, PINS = ((120.0, 190.0),), ((128.0, 90.0),)


def test_landing_follows_the_pointer_and_ends_as_if_it_had_not() -> None:
    editor = Editor("synthface", seed=3, method="landing")
    edit = editor.begin(HANDLES, PINS)
    for x in (122.0, 125.0, 127.0):
        (reached,) = edit.toward(((x, 192.0),), quick=True)
        assert len(edit.frames) == 1 and abs(reached.frame.points[0][0] - x) < 2
    followed = edit.reached.ws
    (done,) = edit.toward(((127.0, 192.0),))
    assert len(edit.frames) == 5 and torch.allclose(followed, done.frame.ws, atol=0.2)
    plain = Editor("synthface", seed=3, method="landing", models=editor.models)
    plain.drag(HANDLES, ((127.0, 192.0),), pins=PINS)
    assert torch.allclose(done.frame.ws, plain.ws, atol=1e-5)


def test_a_drag_under_a_mask_takes_all_steps_when_the_pointer_is_lifted() -> None:
    mask = torch.zeros(256, 256)
    mask[128:] = 1
    editor = Editor("synthface", seed=3, method="autodrag", mask=mask)
    edit = editor.begin(HANDLES)
    for quick, steps in ((True, 1), (False, 5)):
        list(edit.toward(((126.0, 192.0),), quick=quick))
        assert len(edit.frames) == steps
