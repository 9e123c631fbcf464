"""The network that predicts parameters: it learns, round-trips, and separates geometry from appearance."""

from pathlib import Path

import pytest
import torch

from autodrag.domains.synthface import APPEARANCE, GEOMETRY, Z_DIM, render
from autodrag.domains.synthface.reader import FEATURES, Reader, reader_path
from autodrag.domains.synthface.reader_training import ReaderTraining, labelled, make_reader
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator


@pytest.fixture(scope="module")
def generator() -> FrozenGenerator:
    return FrozenGenerator.random(resolution=(64, 64), w_dim=Z_DIM)


def test_labels_are_the_renders_parameters(generator: FrozenGenerator) -> None:
    images, wanted = labelled(generator, 16, seed=0)
    assert images.shape == (16, 3, 64, 64) and wanted.shape == (16, len(GEOMETRY) + len(APPEARANCE))
    again, _ = labelled(generator, 16, seed=0)
    assert torch.equal(images, again)
    geometry, appearance = wanted[8:].split([len(GEOMETRY), len(APPEARANCE)], dim=1)
    drawn = torch.nn.functional.adaptive_avg_pool2d(render(geometry, appearance, 128).image, 64)
    assert torch.allclose(images[8:], drawn, atol=1e-5)


def test_a_short_training_reads_better_than_the_mean(
    generator: FrozenGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coloured(_: object, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Plain colours instead of faces: every parameter is one of the three channels."""
        colours = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
        parts = torch.arange(len(GEOMETRY) + len(APPEARANCE)) % 3
        return colours[:, :, None, None].expand(-1, -1, 64, 64), colours[:, parts]

    monkeypatch.setattr("autodrag.domains.synthface.reader_training.labelled", coloured)
    path = tmp_path / "reader.safetensors"
    found = make_reader(generator, path, ReaderTraining(faces=192, epochs=4, batch=16, lr=2e-3, seed=0))
    assert found["error"] < 0.5 * found["error of the mean"]
    reader = Reader.load(path, torch.device("cpu"))
    images = torch.zeros(2, 3, 256, 256)
    assert reader.appearance(images).shape == (2, len(APPEARANCE))
    assert reader.geometry(images).shape == (2, len(GEOMETRY))
    assert reader.features(images).shape == (2, FEATURES)
    assert path.stat().st_size < 2e6


def test_other_datasets_have_no_reader(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on synthface only, not on ffhq"):
        reader_path("ffhq")
    with pytest.raises(InputError, match="cannot be read"):
        Reader.load(tmp_path / "none.safetensors", torch.device("cpu"))
