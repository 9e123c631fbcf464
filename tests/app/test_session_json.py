"""What a page is told of a drag."""

from autodrag.app.session_json import outcome
from autodrag.editor.session import Editor


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
