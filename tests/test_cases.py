"""Files of users that once failed, from ../shared/cases: pictures, masks, lists of edits and checkpoints."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autodrag import load_generator
from autodrag.config import compose, typed
from autodrag.dragging import DragConfig, run
from autodrag.edits import read_edits
from autodrag.errors import InputError
from autodrag.masks import read_mask
from autodrag.pictures import read_picture

SHARED = os.environ.get("AUTODRAG_GOLDEN") or Path(__file__).parents[2] / "shared" / "golden"
CASES = Path(SHARED).parent / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")


def picture_of(name: str) -> torch.Tensor:
    generator = load_generator(str(CASES / name))
    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.synthesize(generator.map(z, psi=0.7))


def test_a_photograph_with_wrong_exif_is_read_and_turned() -> None:
    with Image.open(CASES / "exif_gps_srational.jpg") as image:
        turned = np.rot90(np.asarray(image), -1)  # orientation 6
    assert np.array_equal(read_picture(CASES / "exif_gps_srational.jpg"), turned)


def test_a_16_bit_photograph_keeps_its_tones() -> None:
    with Image.open(CASES / "grey16_photo.png") as image:
        tones = np.asarray(image) / 257
    read = read_picture(CASES / "grey16_photo.png")
    assert np.abs(read - tones[..., None]).max() < 1.01 and read.std() > 40


def test_a_mask_is_turned_as_its_exif_says() -> None:
    with Image.open(CASES / "mask_exif6.jpg") as image:
        turned = np.rot90(np.asarray(image), -1)
    mask = read_mask(CASES / "mask_exif6.jpg", (256, 256)).numpy()
    assert np.abs(mask - turned / 255).mean() < 0.01 and 0.2 < mask.mean() < 0.24


def test_white_strokes_on_a_transparent_layer_are_what_may_change() -> None:
    with Image.open(CASES / "mask_white_on_transparent.png") as image:
        strokes = np.asarray(image)[..., 3]
    mask = read_mask(CASES / "mask_white_on_transparent.png", (256, 256)).numpy()
    assert np.abs(mask - strokes / 255).max() < 0.01 and mask.min() == 0


def test_a_list_of_a_spreadsheet_with_a_byte_order_mark() -> None:
    (edit,) = read_edits(CASES / "edits_bom_two_points.csv")
    assert (edit.name, edit.seed) == ("x", 3)
    assert [*zip(edit.handles, edit.targets, strict=True)] == [((120, 150), (140, 138)), ((100, 100), (105, 100))]


def test_the_wrong_edit_of_ten_is_named_before_any_is_made(tmp_path: Path) -> None:
    given = [f"edits={CASES / 'edits_tenth_is_outside.json'}", f"out={tmp_path / 'out'}", "frames=0"]
    with pytest.raises(InputError, match="edit-0010"):
        run(typed(DragConfig, compose("drag", given)))
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:The file")
def test_one_generator_in_two_files_is_one_generator() -> None:
    a, b = (picture_of(f"nvidia_{name}") for name in ("D_holds_torch_nn.pkl", "state_dict_in_G_ema.pt"))
    assert a.shape == (1, 3, 64, 64) and torch.allclose(a, b, atol=1e-4)
    a, b = (picture_of(name) for name in ("rosinality_latent_avg_1xD.pt", "psp_e4e_decoder.pt"))
    assert a.shape == (1, 3, 64, 64) and torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("nvidia_grey_1_channel.pkl", (64, 64)),
        ("nvidia_landscape.pkl", (64, 128)),
        ("rosinality_without_noises.pt", (64, 64)),
    ],
)
@pytest.mark.filterwarnings("ignore:The file")
def test_unusual_generators_make_images_and_are_dragged(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    image = picture_of(name)
    assert image.shape == (1, 3, *shape) and 0.3 < image.std() < 3
    if "grey" in name:
        assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])
    out = tmp_path / "edited.png"
    points = ["handles=[[30,30]]", "targets=[[34,32]]", "method.options.max_steps=2"]
    run(
        typed(
            DragConfig, compose("drag", [f"dataset={CASES / name}", "method=draggan", "seed=1", *points, f"out={out}"])
        )
    )
    with Image.open(out) as edited:
        assert edited.size == shape[::-1]
