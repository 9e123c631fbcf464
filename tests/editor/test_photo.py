"""Cutting a picture out of a photograph and pasting it back; masks from brushes and files."""

import cv2
import numpy as np
import pytest
import torch

from autodrag.editor import user_photo
from autodrag.editor.masks import paint
from autodrag.editor.photo import Crop, centred, cropped, face
from autodrag.editor.user_photo import find_photo
from autodrag.errors import InputError
from autodrag.images import fitted
from autodrag.masks import read_mask
from autodrag.vision import detectors


def smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(0, 255, (height, width, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip((noise - 127) * 8 + 127, 0, 255).astype(np.uint8)


def test_a_photograph_of_the_right_size_is_itself() -> None:
    image = smooth(64, 64)
    photo = centred(image, (64, 64))
    assert np.array_equal(photo.picture((64, 64)), image)
    assert np.array_equal(photo.with_picture(image), image)


@pytest.mark.parametrize(("size", "resolution"), [((200, 300), (64, 64)), ((90, 60), (64, 32)), ((40, 40), (64, 64))])
def test_what_is_cut_out_fits_where_it_is_pasted(size: tuple[int, int], resolution: tuple[int, int]) -> None:
    image = smooth(*size)
    photo = centred(image, resolution)
    picture = photo.picture(resolution)
    assert picture.shape[:2] == resolution
    back = photo.with_picture(picture)
    assert back.shape == image.shape
    assert np.abs(back.astype(int) - image).mean() < 4
    marked = photo.with_picture(np.zeros_like(picture))
    changed = (np.abs(marked.astype(int) - image).max(axis=2) > 8).nonzero()
    middle = [(axis.min() + axis.max()) / 2 for axis in changed]
    assert np.allclose(middle, [(size[0] - 1) / 2, (size[1] - 1) / 2], atol=2)


def test_a_shrunk_photograph_looks_like_the_whole_one() -> None:
    """Also where it is much coarser than the image: unchanged parts of it leave no trace."""
    image = smooth(600, 900)
    photo = cropped(image, (64, 64), Crop(0.4, 0.3, 0.2, turn=20.0))
    picture = photo.picture((64, 64))
    marked = picture.copy()
    marked[20:40, 20:40] = 0
    for side in (301, 90):
        small = photo.shrunk(side, (64, 64))
        assert np.array_equal(small.with_picture(picture), fitted(image, side))
        wanted = fitted(photo.with_picture(marked), side).astype(int)
        unmarked = np.abs(fitted(image, side).astype(int) - wanted).mean()
        assert np.abs(small.with_picture(marked).astype(int) - wanted).mean() < 0.15 * unmarked


def test_a_turned_face_is_cut_out_upright() -> None:
    """Landmarks of FFHQ's own mean place, moved through a rotation and scale, come back to the same pixels."""
    upright = np.full((68, 2), 0.0)
    upright[36:42], upright[42:48] = (98, 120), (158, 120)
    upright[48], upright[54] = (104, 180), (152, 180)
    angle, scale = 0.3, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = smooth(500, 500)
    straight, turned = (face(image, points, 256) for points in (upright, upright @ turn.T + 40))
    for photo, points in ((straight, upright), (turned, upright @ turn.T + 40)):
        places = np.stack([points[36], points[42], points[48]])
        inverse = np.linalg.inv(photo.place[:, :2])
        seen = (places - photo.place[:, 2]) @ inverse.T
        if photo is straight:
            wanted = seen
        assert np.allclose(seen, wanted, atol=1e-6)
    half = max(2 * 60, 1.8 * 60)
    assert np.allclose(wanted[1] - wanted[0], [60 * 256 / (2 * half), 0])


def test_faces_of_aligned_datasets_are_looked_for(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = smooth(300, 400)
    monkeypatch.setattr(detectors, "find_spec", lambda name: None)  # the extra `faces` may be installed
    assert np.array_equal(find_photo(image, "ffhq", (64, 64)).place, centred(image, (64, 64)).place)  # no predictor
    (tmp_path / detectors.PHOTO_PREDICTOR.file).write_bytes(b"")
    assert not user_photo.alignable("ffhq")
    monkeypatch.setattr(user_photo, "MODEL_DIR", tmp_path)
    assert user_photo.alignable("ffhq")
    assert not user_photo.alignable("lion")
    points = np.random.default_rng(0).uniform(100, 200, (68, 2)).astype(np.float32)
    monkeypatch.setattr(user_photo, "load_detector", lambda dataset, folder: lambda images: [torch.from_numpy(points)])
    assert np.allclose(find_photo(image, "ffhq", (64, 64)).place, face(image, points.astype(float), 64).place)
    assert np.array_equal(find_photo(image, "ffhq", (64, 64), align=False).place, centred(image, (64, 64)).place)
    assert np.array_equal(find_photo(image, "lion", (64, 64)).place, centred(image, (64, 64)).place)
    monkeypatch.setattr(user_photo, "load_detector", lambda dataset, folder: lambda images: [None])
    with pytest.raises(InputError, match="No face"):
        find_photo(image, "ffhq", (64, 64))


def test_a_part_is_cut_out_where_the_user_says() -> None:
    image = smooth(100, 200)
    same = cropped(image, (64, 64), Crop(0.5, 0.25, 0.5))  # the largest square in the middle
    assert np.allclose(same.place, centred(image, (64, 64)).place)
    left = cropped(image, (64, 64), Crop(0.16, 0.25, 0.32))
    assert np.array_equal(left.picture((64, 64)), image[18:82, 0:64])
    turned = cropped(image, (64, 64), Crop(0.5, 0.25, 0.32, turn=90.0))
    assert np.abs(turned.picture((64, 64)).astype(int) - np.rot90(image[18:82, 68:132], 1)).max() <= 1


def test_very_large_photographs_are_kept_smaller() -> None:
    photo = find_photo(np.zeros((100, 9000, 3), np.uint8), "synthface", (64, 64))
    assert photo.image.shape == (46, 4096, 3)


def test_the_first_stroke_decides_about_the_rest() -> None:
    change = paint(None, ((32.0, 32.0),), 8, "change", (64, 64))
    keep = paint(None, ((32.0, 32.0), (40.0, 32.0)), 8, "keep", (64, 64))
    assert change[32, 32] == 1
    assert change[0, 0] == 0
    assert keep[32, 40] == 0
    assert keep[0, 0] == 1
    assert abs(float(change.sum()) - np.pi * 64) < 40  # OpenCV draws half a pixel more
    assert torch.equal(paint(change, ((32.0, 32.0),), 12, "keep", (64, 64)), torch.zeros(64, 64))
    far = paint(None, ((-1e5, 1e5), (1e5, -1e5)), 1e5, "change", (64, 32))
    assert far.shape == (64, 32)


def test_masks_from_files_and_arrays(tmp_path) -> None:
    grey = np.zeros((128, 128), np.uint8)
    grey[:, 64:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), grey)
    mask = read_mask(tmp_path / "mask.png", (64, 64))
    assert torch.equal(mask[:, :32], torch.zeros(64, 32))
    assert torch.equal(mask[:, 32:], torch.ones(64, 32))
    assert read_mask(grey > 0, (128, 128)).sum() == 64 * 128
    for wrong in (grey, np.full((64, 64), np.nan), "nothing.png", object(), np.full((64, 64), -0.1)):
        with pytest.raises(InputError):
            read_mask(wrong, (64, 64))
