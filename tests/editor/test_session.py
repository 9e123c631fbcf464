"""The editing session: what it holds, what undo brings back, what a mask keeps."""

import numpy as np
import pytest
import torch

from autodrag import Editor
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.state import Arrows
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator

HANDLES, TARGETS = [(20.0, 30.0)], [(28.0, 30.0)]


def test_the_three_lines_of_the_readme(tiny: FrozenGenerator, tmp_path) -> None:
    editor = Editor(tiny, seed=3, method="draggan", steps=2)
    editor.drag(handles=[(20, 30)], targets=[(28, 30)])
    editor.save(tmp_path / "edited.png")
    assert (tmp_path / "edited.png").read_bytes().startswith(b"\x89PNG")
    assert editor.image.shape == (64, 64, 3)
    assert editor.image.dtype == np.uint8
    assert editor.ws.shape == (1, 10, 32)
    assert editor.points.shape == (1, 2)


def test_a_drag_changes_the_edited_rows_only_and_records_the_motion(editor: Editor) -> None:
    before = editor.ws
    editor.drag(HANDLES, TARGETS)
    assert len(editor.state.motion) == 4
    assert not torch.equal(editor.ws[:, :6], before[:, :6])
    assert torch.equal(editor.ws[:, 6:], before[:, 6:])
    editor.drag(HANDLES, TARGETS)
    assert len(editor.state.motion) == 7
    assert editor.state.base == 3


def test_pins_stay_and_are_no_handles(editor: Editor) -> None:
    editor.drag(HANDLES, TARGETS, pins=[(40, 40)])
    assert editor.points.shape == (1, 2)
    assert len(editor.state.frame.points) == 2
    assert editor.state.arrows.pins == ((40.0, 40.0),)


def test_undo_redo_reset(editor: Editor) -> None:
    first = editor.image
    assert not editor.undo()
    editor.drag(HANDLES, TARGETS)
    second = editor.image
    assert editor.undo()
    assert np.array_equal(editor.image, first)
    assert editor.redo()
    assert np.array_equal(editor.image, second)
    assert not editor.redo()
    editor.reset()
    assert np.array_equal(editor.image, first)
    assert editor.undo()
    assert np.array_equal(editor.image, second)
    editor.undo()
    editor.drag(HANDLES, [(20, 20)])
    assert not editor.can_redo


def test_reset_keeps_the_mask(editor: Editor) -> None:
    mask = np.zeros((64, 64))
    mask[16:48, 8:40] = 1
    editor.protect(mask, grow=True)
    editor.drag(HANDLES, TARGETS)
    editor.reset()
    assert torch.equal(editor.mask, torch.from_numpy(mask).float())
    assert editor.state.grow
    assert len(editor.state.motion) == 1


def test_a_drag_again_starts_where_the_last_one_did(editor: Editor) -> None:
    editor.drag(HANDLES, TARGETS)
    once = editor.image
    edit = editor.begin(HANDLES, again=True)
    assert edit.start is editor.state.motion[0]
    for _ in edit.toward(((28.0, 30.0),)):
        pass
    editor.keep(edit)
    assert np.array_equal(editor.image, once)
    assert len(editor.state.motion) == 4


def test_an_optimiser_goes_on_when_its_target_moves(editor: Editor) -> None:
    edit = editor.begin(HANDLES)
    list(edit.toward(((28.0, 30.0),)))
    reached = edit.reached
    list(edit.toward(((28.0, 36.0),)))
    assert edit.frames[2] is reached
    assert len(edit.frames) == 6


def test_the_handles_of_freedrag_are_looked_for_in_its_pictures(editor: Editor) -> None:
    editor.choose_method("freedrag", 3)
    edit = editor.begin(HANDLES, [(50, 50)])
    (_, _, last) = edit.toward(((28.0, 30.0),))
    assert last.frame.points[0] != (28.0, 30.0)
    assert np.linalg.norm(np.subtract(last.frame.points[1], (50, 50))) < 8


def test_a_style_changes_rows_from_6_on_under_the_same_drag(editor: Editor) -> None:
    editor.drag(HANDLES, TARGETS)
    head, motion = editor.ws[:, :6], len(editor.state.motion)
    editor.restyle(9)
    assert torch.equal(editor.ws[:, :6], head)
    assert len(editor.state.motion) == motion
    same = Editor(editor.scene.dataset, seed=9, psi=1.0, method="draggan", models=editor.models)
    assert torch.equal(editor.ws[:, 6:], same.ws[:, 6:])
    editor.restyle(None)
    editor.undo()
    editor.undo()
    assert editor.state.origin.style is None


def test_moving_a_slider_is_one_step_of_undo(editor: Editor) -> None:
    editor.choose(4, 1.0)
    for psi in (0.9, 0.8, 0.7):
        editor.choose(4, psi, amend=True)
    editor.undo()
    assert editor.state.origin.seed == 3


def test_the_outside_of_a_mask_stays_bit_for_bit(editor: Editor) -> None:
    before = editor.image
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 8:40] = 1
    editor.drag(HANDLES, TARGETS, mask=mask)
    after = editor.image
    assert np.array_equal(after[mask == 0], before[mask == 0])
    assert not np.array_equal(after[mask == 1], before[mask == 1])


def test_several_masks_keep_what_each_of_them_found(editor: Editor) -> None:
    left, right = np.zeros((64, 64)), np.zeros((64, 64))
    left[:, :32], right[:, 32:] = 1, 1
    editor.drag(HANDLES, TARGETS, mask=left)
    first = editor.image
    editor.drag([(44, 30)], [(50, 30)], mask=right)
    second = editor.image
    assert np.array_equal(second[:, :32], first[:, :32])
    editor.drag([(50, 30)], [(44, 30)])
    assert editor.state.frame.layers == 2  # the same mask again lays nothing more
    assert np.array_equal(editor.image[:, :32], first[:, :32])


def test_an_equal_mask_lays_nothing_more(editor: Editor) -> None:
    mask = np.zeros((64, 64))
    mask[16:48, 8:40] = 1
    for _ in range(20):
        editor.drag(HANDLES, TARGETS, mask=mask)
    editor.protect(mask, grow=True)
    editor.drag(HANDLES, TARGETS)
    assert editor.state.frame.layers == 1
    assert len({id(frame.drawn) for frame in editor.state.motion[1:]}) == 1  # and is not stored again


def test_what_a_user_gets_wrong_is_one_sentence(editor: Editor, models: ModelCache, tmp_path) -> None:
    with pytest.raises(InputError, match="outside the image"):
        editor.drag([(70, 3)], [(3, 3)])
    with pytest.raises(InputError, match="1 handles but 2 targets"):
        editor.drag([(7, 3)], [(3, 3), (4, 4)])
    with pytest.raises(InputError, match="pairs"):
        editor.drag([(7, 3, 1)], [(3, 3)])
    with pytest.raises(InputError, match="mask"):
        editor.mask = np.zeros((3, 3))
    with pytest.raises(InputError, match="Unknown method"):
        editor.choose_method("magic")
    with pytest.raises(InputError, match="no kind of file"):
        editor.save(tmp_path / "x.bmp")
    with pytest.raises(InputError, match="cannot be written"):
        editor.save(tmp_path / "no" / "x.png")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError):
        Editor("nowhere", models=models)


@pytest.mark.parametrize("resolution", [(64, 32), (512, 512)])
def test_other_shapes_are_dragged_under_a_mask_saved_and_loaded(resolution: tuple[int, int]) -> None:
    height, width = resolution
    channels = {2**i: 4 for i in range(2, height.bit_length())}
    models = ModelCache("cpu")
    name = models.add(FrozenGenerator.random(resolution, w_dim=8, channels=channels))
    editor = Editor(name, method="draggan", steps=1, models=models)
    before = editor.image
    mask = np.zeros(resolution)
    mask[: height // 2] = 1
    editor.drag([(width / 4, height / 4)], [(width / 2, height / 4)], mask=mask)
    assert editor.image.shape == (height, width, 3)
    assert np.array_equal(editor.image[height // 2 :], before[height // 2 :])
    assert not np.array_equal(editor.image, before)
    again = Editor.load(next(editor.export("safetensors")), models=models)
    assert np.array_equal(again.image, editor.image)


def test_arrows_that_are_planned_are_steps_of_undo(editor: Editor) -> None:
    one, two = (
        Arrows(((20.0, 30.0),), ((28.0, 30.0),)),
        Arrows(((20.0, 30.0), (40.0, 30.0)), ((28.0, 30.0), (44.0, 30.0))),
    )
    editor.plan(one)
    editor.plan(two)
    editor.undo()
    assert editor.state.plan == one
    editor.redo()
    editor.drag(two.handles, two.targets)
    assert editor.state.plan is None
    editor.undo()
    assert editor.state.plan == two
    assert len(editor.state.motion) == 1


def test_another_generator_or_session_is_a_step_of_undo(editor: Editor, models: ModelCache) -> None:
    editor.drag(HANDLES, TARGETS)
    before = editor.image
    other = FrozenGenerator.random(resolution=(32, 32), w_dim=16, seed=4)
    other.name = "other"
    models.add(other)
    editor.adopt(Editor("other", method="draggan", models=models))
    assert editor.image.shape == (32, 32, 3)
    assert editor.undo()
    assert np.array_equal(editor.image, before)
    assert editor.redo()
    assert editor.scene.dataset == "other"


def test_a_drag_goes_on_from_a_frame_of_the_motion(editor: Editor) -> None:
    editor.drag(HANDLES, TARGETS)
    middle = editor.state.motion[2]
    edit = editor.begin(HANDLES, at=2)
    assert edit.start is middle
    list(edit.toward(((24.0, 36.0),)))
    editor.keep(edit)
    assert editor.state.motion[2] is middle
    assert editor.state.base == 2
    assert len(editor.state.motion) == 6


def test_a_mask_grows_with_what_is_dragged_out_of_it(editor: Editor) -> None:
    before = editor.image
    mask = np.zeros((64, 64), np.float32)
    mask[24:36, 14:26] = 1
    editor.protect(mask, grow=True)
    editor.drag(HANDLES, [(34.0, 30.0)])
    frame = editor.state.frame
    assert frame.mask[24:36, 14:40].min() == 1  # all the way
    assert frame.mask.sum() == 12 * 26
    assert torch.equal(editor.mask, torch.from_numpy(mask))  # what was painted is what it was
    assert np.array_equal(editor.image[frame.mask == 0], before[frame.mask == 0])
    again = Editor.load(next(editor.export("safetensors")), models=editor.models)
    assert np.array_equal(again.image, editor.image)
    editor.drag([(34.0, 30.0)], [(34.0, 40.0)])
    assert editor.state.frame.layers == 1  # the same mask lays nothing more
    assert editor.state.frame.mask[24:36, 14:40].min() == 1


def test_the_pictures_of_a_drag_share_the_mask_that_grows(editor: Editor) -> None:
    mask = np.zeros((64, 64))
    mask[24:36, 14:26] = 1
    editor.protect(mask, grow=True)
    edit = editor.begin(HANDLES)
    for x in (28.0, 31.0, 34.0):
        list(edit.toward(((x, 30.0),)))
    editor.keep(edit)
    _, *frames = editor.state.motion
    assert len(frames) == 9
    assert all(frame.mask is frames[0].mask for frame in frames)
    assert frames[0].mask.sum() == 12 * 26
