"""GIF and MP4 play the whole motion."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from autodrag.editor import export
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.photo import Photo
from autodrag.editor.session import Editor
from autodrag.editor.state import Frame
from autodrag.generator import FrozenGenerator
from autodrag.images import fitted


@pytest.fixture
def dragged(editor: Editor) -> Editor:
    editor.drag([(20, 30)], [(28, 30)])
    editor.drag([(40, 30)], [(48, 30)])
    return editor


def test_a_gif_begins_and_ends_with_the_motion(dragged: Editor, tmp_path) -> None:
    dragged.save(tmp_path / "x.gif")
    film = Image.open(tmp_path / "x.gif")
    count = film.n_frames
    length = 0
    pictures = []
    for index in range(count):
        film.seek(index)
        length += film.info["duration"]
        pictures.append(np.asarray(film.convert("RGB"), np.int32))
    assert 2500 < length < 4000  # the motion and two holds
    assert film.info["loop"] == 0
    first, last = dragged.render(dragged.state.motion[0]), dragged.image
    assert np.abs(pictures[0] - first).mean() < 12
    assert np.abs(pictures[-1] - last).mean() < 12
    assert np.abs(pictures[-1] - last).mean() < np.abs(pictures[0] - last).mean()


def test_an_mp4_begins_and_ends_with_the_motion(dragged: Editor, tmp_path) -> None:
    path = tmp_path / "x.mp4"
    dragged.save(path)
    film = cv2.VideoCapture(str(path))
    pictures = []
    while (read := film.read())[0]:
        pictures.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).astype(np.int32))
    assert len(pictures) == 2 * 24 - 1 + 2 * round(0.6 * 24)
    blurred = [cv2.GaussianBlur(p, (0, 0), 2) for p in (dragged.render(dragged.state.motion[0]), dragged.image)]
    for picture, wanted in zip((pictures[0], pictures[-1]), blurred, strict=True):
        shown = cv2.GaussianBlur(picture.astype(np.uint8), (0, 0), 2)
        assert np.abs(shown.astype(np.int32) - wanted).mean() < 8  # noise suffers from compression, its means do not
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_odd_sizes_and_single_pictures(tmp_path) -> None:
    picture = np.zeros((31, 17, 3), np.uint8)
    frame = Frame(torch.zeros(1, 2, 2))
    for kind in ("gif", "mp4"):
        (tmp_path / f"x.{kind}").write_bytes([*export.film(kind, (frame,), lambda side: lambda frame: picture)][-1])
    assert Image.open(tmp_path / "x.gif").size == (17, 31)
    film = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert (film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (18, 32)


def test_large_pictures_become_smaller_films() -> None:
    picture = np.zeros((3000, 1000, 3), np.uint8)
    data = [*export.film("gif", (Frame(torch.zeros(1, 2, 2)),), lambda side: lambda frame: picture)][-1]
    assert Image.open(io.BytesIO(data)).size == (171, 512)


def test_a_film_of_a_photograph_pastes_at_its_own_size(
    models: ModelCache, tiny: FrozenGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8), (1600, 1200))
    config = InvertConfig(steps=1, starts=1)
    editor = Editor.invert(image, tiny.name, config=config, models=models, method="draggan")
    editor.choose_method("draggan", 2)
    editor.drag([(20, 30)], [(28, 30)])
    paste, pasted = Photo.with_picture, []

    def watched(photo: Photo, picture: np.ndarray) -> np.ndarray:
        pasted.append(paste(photo, picture))
        return pasted[-1]

    monkeypatch.setattr(Photo, "with_picture", watched)
    list(editor.export("gif"))
    assert {picture.shape for picture in pasted} == {(384, 512, 3)}
    last = pasted[-1]
    assert np.abs(last.astype(int) - fitted(editor.photo, 512)).mean() < 1


def test_steps_are_interpolated_but_not_across_masks() -> None:
    def frame(value: float, under: Frame | None = None) -> Frame:
        return Frame(torch.full((1, 2, 2), float(value)), (), under, None if under is None else torch.ones(4, 4))

    a, b = frame(0), frame(1)
    assert [float(f.ws[0, 0, 0]) for f in export.sampled([a, b], 5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [float(f.ws[0, 0, 0]) for f in export.sampled([a], 3)] == [0, 0, 0]
    c = frame(2, under=b)
    values = list(export.sampled([a, b, c], 9))
    assert [f.under for f in values] == [None] * 5 + [b] * 4
    d = frame(3, under=a)
    assert [float(f.ws[0, 0, 0]) for f in export.sampled([c, d], 5)] == [2, 2, 3, 3, 3]


def test_the_whole_motion_is_played_over_masks(editor: Editor) -> None:
    left, right = np.zeros((64, 64)), np.zeros((64, 64))
    left[:, :32], right[:, 32:] = 1, 1
    editor.drag([(20, 30)], [(28, 30)], mask=left)
    editor.drag([(44, 30)], [(50, 30)], mask=right)
    seen: list[np.ndarray] = []

    def render(frame: Frame) -> np.ndarray:
        seen.append(editor.render(frame))
        return seen[-1]

    list(export.film("gif", editor.state.motion, lambda side: render))
    assert np.array_equal(seen[0], editor.render(editor.state.motion[0]))
    assert np.array_equal(seen[-1], editor.image)
