"""The files that ship for synthface match their model card and work."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autodrag import load_generator
from autodrag.config import ASSET_DIR, MODEL_DIR, compose, typed
from autodrag.domains.synthface import Z_DIM, card, parameters, render, report
from autodrag.domains.synthface.make import MakeSynthfaceConfig
from autodrag.generator import FrozenGenerator
from autodrag.seeding import rng
from autodrag.vision.detectors import LandmarkDetector, load_detector
from third_party.stylegan2.readers import convert

FOLDER = ASSET_DIR / "synthface"


@pytest.fixture(scope="module")
def detector() -> LandmarkDetector:
    return load_detector("synthface", MODEL_DIR)


def test_the_card_is_written_from_the_measurements_of_these_files():
    record = json.loads((FOLDER / "report.json").read_text())
    assert (FOLDER / "README.md").read_text() == card.model_card(record)
    for name, digest in record["files"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", ["generator.safetensors", "landmarks.dat"])
def test_files_are_small_enough_for_git(name: str):
    assert (FOLDER / name).stat().st_size <= 8 * 2**20


def test_the_average_latent_is_the_average_face(synthface: FrozenGenerator):
    z = torch.randn(16, Z_DIM, generator=rng(9, "test/average"))
    assert torch.allclose(synthface.map(z, psi=0.0), synthface.w_avg.expand(16, synthface.num_ws, -1))
    middle = render(*(torch.zeros(1, p.shape[1]) for p in parameters(z))).image
    average = synthface.synthesize(synthface.w_avg.expand(1, synthface.num_ws, -1))
    assert (average - middle).abs().mean() / 2 < 0.04


def test_the_generator_reproduces_renders(synthface: FrozenGenerator):
    numbers = report.fidelity(synthface, 16)
    assert numbers["mae"] <= 0.04 and 0.75 <= numbers["sharpness"] <= 1.25


def test_geometry_is_in_rows_0_to_5(synthface: FrozenGenerator, detector: LandmarkDetector):
    numbers = report.swaps(synthface, detector, 8)
    assert numbers["moved_by_rows_6"] <= 1.5 and numbers["missed_by_rows_0_5"] <= 2.5  # of 8 pairs; the card has more


def test_other_programs_get_the_same_pictures(synthface: FrozenGenerator, tmp_path: Path):
    path = tmp_path / "synthface.pt"
    convert(FOLDER / "generator.safetensors", path)
    ws = synthface.map(torch.randn(1, Z_DIM, generator=rng(9, "test/convert")))
    again = load_generator(path)
    torch.testing.assert_close(again.synthesize(ws), synthface.synthesize(ws), rtol=0, atol=1e-3)


def test_landmarks_are_found_where_the_renderer_has_them(synthface: FrozenGenerator, detector: LandmarkDetector):
    numbers = report.landmark_error(synthface, detector, 16)
    assert numbers["landmark_error"] <= 1.9 and numbers["not_found"] == 0  # of 16 images; the card has 500


def test_frames_of_a_trajectory_match_where_they_should(synthface: FrozenGenerator):
    settings = typed(MakeSynthfaceConfig, compose("make_synthface"))
    made = compose("trajectories", ["experiment=synthface_trajectories"]).trajectory
    assert {key: made[key] for key in ("n", "handle_px", "motion_px")} == {
        key: getattr(settings.frames, key) for key in ("n", "handle_px", "motion_px")
    }
    assert tuple(made.angle) == settings.frames.angle
    numbers = report.frame_matches(synthface, settings.match, replace(settings.frames, pairs=2))
    assert numbers["steps_error"] <= 1.3 and numbers["ends_error"] <= 2.5  # of 2 trajectories; the card has 24
    assert numbers["steps_matches"] > 50 and numbers["ends_matches"] > 50
