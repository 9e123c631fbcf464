"""Fixtures that many tests share."""

from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN = REPOSITORY.parent / "shared" / "golden"


def pytest_configure() -> None:
    """Small tensors: more threads than this only wait for each other."""
    torch.set_num_threads(min(4, torch.get_num_threads()))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference outputs (`../shared/golden` beside the checkout); without it the test is skipped."""
    if not GOLDEN.is_dir():
        pytest.skip(f"the reference outputs are not at {GOLDEN}")
    return GOLDEN


@pytest.fixture(scope="session")
def tiny():
    """A 64 px FrozenGenerator of random weights: 10 rows of 32, five blocks."""
    from autodrag.generator import FrozenGenerator

    return FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=0)


@pytest.fixture(scope="session")
def synthface():
    """The generator that ships."""
    from autodrag import load_generator

    return load_generator("synthface")
