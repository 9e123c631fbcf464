"""The measurements of synthface, on cases with known results."""

import pytest
import torch

from autodrag.domains.synthface import Z_DIM, card, report
from autodrag.domains.synthface.landmark_predictor import labelled_faces
from autodrag.generator import FrozenGenerator


@pytest.fixture(scope="module")
def blank() -> FrozenGenerator:
    """A generator of the right sizes that has learned nothing."""
    return FrozenGenerator.random((256, 256), w_dim=8, z_dim=Z_DIM, channels={2**i: 4 for i in range(2, 9)})


def test_sharpness_of_a_ramp_is_its_slope():
    ramp = torch.linspace(-1, 1, 9).expand(1, 3, 9, 9)
    assert report.sharpness(ramp) == pytest.approx(0.125)
    assert report.sharpness(torch.zeros(1, 3, 4, 4)) == 0


def test_a_generator_that_learned_nothing_is_far_from_the_renderer(blank: FrozenGenerator):
    assert report.fidelity(blank, 4, batch=2)["mae"] > 0.1


def test_a_walk_starts_and_ends_at_its_faces(blank: FrozenGenerator):
    z = torch.randn(2, Z_DIM)
    images, renders = report.walk(blank, z, 3)
    assert images.shape == renders.shape == (3, 3, 256, 256)
    ends = blank.synthesize(blank.map(z)).clamp(-1, 1)
    torch.testing.assert_close(images[[0, 2]], ends, rtol=0, atol=1e-4)


def test_half_of_the_labelled_faces_are_renders(blank: FrozenGenerator):
    pictures, landmarks = labelled_faces(blank, 4, seed=0, batch=2)
    assert pictures.shape == (4, 256, 256, 3) and landmarks.shape == (4, 68, 2)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    assert report.sharpness(images[2:]) != pytest.approx(report.sharpness(images[:2]), rel=0.05)


def test_the_card_has_every_number():
    record = {
        "numbers": {key: 0.5 for _, key, _, _ in card.BARS},
        "history": "One run.",
        "files": {"generator.safetensors": "0" * 64},
        "generator": {"stages": [{"name": "32"}]},
    }
    text = card.model_card(record)
    assert text.count("| 0.5") >= len(card.BARS) - 4 and "0" * 64 in text
