"""Fixtures that many tests share."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN = REPOSITORY / "tests" / "data" / "golden"
LARGER = Path(os.environ.get("AUTODRAG_GOLDEN") or REPOSITORY.parent / "shared" / "golden")


def pytest_configure() -> None:
    """Small tensors: more threads than this only wait for each other. Worker processes (-n) share the cores."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, min(4, torch.get_num_threads() // workers)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """command(name, *arguments): runs it in this process; its exit status and what it printed, and said on stderr."""
    from autodrag.commands import run

    def call(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", [name, *arguments])
        capsys.readouterr()
        try:
            run(name)
            status = 0
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def files_of_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """files_of_at_most(size): a context in which files cannot grow beyond so many bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows has no limits of this kind")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    return limited


@pytest.fixture
def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """golden(name): a file of tests/data/golden, or one too large for it; the test is skipped where that is missing."""

    def find(name: str) -> Path:
        for folder in (GOLDEN, LARGER):
            if (folder / name).is_file():
                return folder / name
        pytest.skip(f"the reference output {name} is neither in {GOLDEN} nor, as a larger one, in {LARGER}")

    return find


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


@pytest.fixture(scope="session")
def models(tiny):
    """A ModelCache that knows the tiny generator."""
    from autodrag.editor.model_cache import ModelCache

    models = ModelCache("cpu")
    models.add(tiny)
    return models


@pytest.fixture
def editor(models, tiny):
    """A fresh editing session on the tiny generator, with DragGAN, which needs no weights of its own."""
    from autodrag import Editor

    return Editor(tiny.name, seed=3, psi=1.0, method="draggan", steps=3, models=models)
