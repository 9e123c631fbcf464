"""Masks from pictures and arrays: white may change, whatever the file's mode, orientation or size."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.masks import from_levels, read_mask, to_levels
from autodrag.methods import load_method

HALF = np.zeros((8, 8), np.uint8)
HALF[:, 4:] = 255
RIGHT = torch.zeros(8, 8)
RIGHT[:, 4:] = 1


def pictures() -> dict[str, Image.Image]:
    grey = Image.fromarray(HALF)
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:, 4:] = 255
    ghost = np.full((8, 8, 4), 255, np.uint8)  # programs may keep white under what is transparent
    ghost[:, :4, 3] = 0
    return {
        **{mode: grey.convert(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "F")},
        "32 bits": Image.fromarray(HALF.astype(np.int32) * 257),
        "white strokes on a transparent layer": Image.fromarray(clear),
        "white under what is transparent": Image.fromarray(ghost),
        "16 bits": Image.fromarray(HALF.astype(np.uint16) * 257),
        "larger": grey.resize((32, 16), Image.Resampling.NEAREST),
    }


@pytest.mark.parametrize("kind", pictures())
def test_masks_are_read_from_images(kind: str, tmp_path: Path) -> None:
    picture = pictures()[kind]
    assert torch.equal(read_mask(picture, (8, 8)), RIGHT)
    path = tmp_path / ("mask.tif" if picture.mode in "IF" else "mask.png")
    picture.save(path)
    for given in (path, str(path), path.read_bytes()):
        assert torch.equal(read_mask(given, (8, 8)), RIGHT)


def test_a_mask_of_a_camera_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its first row is the right edge
    Image.fromarray(HALF.T[::-1].copy()).resize((64, 64)).save(tmp_path / "mask.jpg", exif=exif, quality=95)
    assert (read_mask(tmp_path / "mask.jpg", (8, 8)) - RIGHT).abs().max() < 0.2


def test_soft_masks_keep_their_levels() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert torch.allclose(read_mask(Image.fromarray(ramp), (16, 16)) * 255, torch.from_numpy(ramp).float())


def test_bytes_hold_every_mask_exactly() -> None:
    soft = np.random.default_rng(0).uniform(0, 1, (64, 64)).astype(np.float32)
    large = Image.fromarray((soft * 255).astype(np.uint8)).resize((300, 300))
    for given in (soft, 1 - soft, large):
        mask = read_mask(given, (64, 64))
        assert torch.equal(from_levels(to_levels(mask)), mask)
        assert torch.equal(read_mask(mask, (64, 64)), mask)
    assert np.abs(read_mask(soft, (64, 64)).numpy() - soft).max() <= 0.5001 / 255


@pytest.mark.parametrize(
    "given",
    [
        HALF > 0,
        HALF,
        HALF // 255,
        HALF / 255,
        HALF[None],
        HALF[:, :, None],
        np.stack([HALF] * 3, axis=2),
        torch.from_numpy(HALF > 0)[None],
        RIGHT.bfloat16(),
        (HALF // 255).tolist(),
    ],
    ids=range(10),
)
def test_masks_are_read_from_arrays(given: object) -> None:
    assert torch.allclose(read_mask(given, (8, 8)), RIGHT)


@pytest.mark.parametrize(("level", "says"), [(0, "black .* every"), (255, "white every"), (99, "grey every")])
def test_a_mask_of_one_level_is_refused(level: int, says: str, tmp_path: Path) -> None:
    noisy = np.clip(level + np.random.default_rng(0).integers(-3, 4, (8, 8)), 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "mask.png"), noisy)
    with pytest.raises(InputError, match=f"mask.png is {says}"):
        read_mask(tmp_path / "mask.png", (8, 8))
    black_strokes = np.zeros((8, 8, 4), np.uint8)
    black_strokes[2:4, :, 3] = 255
    with pytest.raises(InputError, match=r"black \(or transparent\) everywhere"):
        read_mask(Image.fromarray(black_strokes), (8, 8))


def test_a_huge_mask_gives_a_clear_error() -> None:
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    for size in ((18_000, 10_000), (9_000, 9_000)):
        header = b"IHDR" + struct.pack(">II", *size) + file.getvalue()[24:29]
        huge = file.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + file.getvalue()[33:]
        with pytest.raises(InputError, match=r"^The mask has .* pixels, more than 52 million; give a smaller one"):
            read_mask(huge, (8, 8))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((8, 4)), r"shape \[8, 4\], but the image needs \[8, 8\]"),
        (np.full((8, 8), 300), "outside"),
        (np.full((8, 8), -0.1), "outside"),
        (np.full((8, 8), np.nan), "NaN"),
        (object(), "not an array of numbers"),
        ("nothing.png", "nothing.png cannot be read"),
    ],
)
def test_anything_but_a_mask_is_refused(given: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_mask(given, (8, 8))


def test_methods_accept_every_kind_of_mask(tiny: FrozenGenerator, tmp_path: Path) -> None:
    ws = tiny.map(torch.randn(2, tiny.z_dim, generator=torch.Generator().manual_seed(0)))
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    method = load_method("draggan", tiny, max_steps=2, lr=0.1)
    points = [[[20, 30]], [[20, 30]]], [[[25, 35]], [[25, 35]]]
    given = (tmp_path / "mask.png", mask, mask > 0, np.stack([mask > 0] * 2), Image.fromarray(mask))
    results = [list(method.drag(ws, *points, mask=one))[-1].ws for one in given]
    assert all(torch.allclose(result, results[0], atol=1e-5) for result in results)
    assert not torch.allclose(results[0], list(method.drag(ws, *points))[-1].ws, atol=1e-5)
