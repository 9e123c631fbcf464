"""`scripts/bench.py generator`: its arithmetic, and a short run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autodrag.bench import generator as bench
from autodrag.bench import measure
from autodrag.bench.measure import Cost, cost, matmul_rate
from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator


def test_the_flops_of_a_512_px_image() -> None:
    g = bench.official(16, "float32", True, torch.device("cpu"))
    convolutions = 9 * 512 * 512 * (16 + 16 + 64 + 64 + 256)  # 4; 4 to 8, 8; 8 to 16, 16 px
    colours = 3 * 512 * (16 + 64 + 256)
    assert bench.convolution_gigaflops(g, "features") == pytest.approx(2e-9 * convolutions)
    assert bench.convolution_gigaflops(g, "synthesize") == pytest.approx(2e-9 * (convolutions + colours))


def test_memory_beyond_what_was_held() -> None:
    held = torch.ones(2**20)
    found = cost(lambda: torch.ones(2**24).sum() + held[0], torch.device("cpu"), repeats=2, seconds=5.0)
    assert found.repeats == 2 and found.milliseconds > 0
    assert found.peak_mib is None or found.peak_mib == pytest.approx(64, abs=16)


@pytest.mark.parametrize(("milliseconds", "size"), [(1.0, 2048), (measure.SLOW, 256)])
def test_a_matrix_product_that_is_slow_grows_no_more(
    monkeypatch: pytest.MonkeyPatch, milliseconds: float, size: int
) -> None:
    monkeypatch.setattr(measure, "cost", lambda *given, **limits: Cost(milliseconds, 1, None))
    assert matmul_rate(torch.device("cpu"), torch.float32) == pytest.approx(2000 * size**3 / milliseconds)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    overrides = ["quick=true", "sizes=[8]", "dtypes=[float32]", "device=cpu", "repeats=1", f"out={out}"]
    bench.run(typed(bench.GeneratorBench, compose("bench/generator", overrides)))
    written = json.loads(out.read_text())
    rows = written["rows"]
    assert [(r["case"]["call"], r["case"]["backward"], r["case"]["engine"]) for r in rows] == [
        (call, backward, engine)
        for call in ("synthesize", "features")
        for engine in ("plain", "fast")
        for backward in (False, True)
    ]
    assert all(r["milliseconds"] > 0 and r["speed_up"] > 0 for r in rows)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(rows) + 3 and "speed-up" in printed[2]


class OnGpu(torch.Tensor):
    """Says that it lies on a GPU."""

    is_cuda = True


def test_no_engine_is_the_graph_of_synthesize(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be timed under another name, and CUDA refuses a graph in a recording of another."""
    recorded: list[object] = []
    monkeypatch.setattr("autodrag.graphs.record_cuda", lambda work: (lambda: recorded.append(work), work()))
    monkeypatch.setattr(FrozenGenerator, "map", lambda self, z: torch.zeros(1, 4, 512).as_subclass(OnGpu))
    generator = bench.official(8, "float32", True, torch.device("cpu"))
    cases = bench._cases(generator, (1,), "float32", "channels_last", False)
    done = [(case.call, work(), work(), work()) for case, work in cases]
    assert {call for call, *_ in done} == {"synthesize", "features"} and not recorded


def test_user_errors_are_clear(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "file").touch()
    for override, words in (
        (f"out={tmp_path}/file/x.json", "cannot be created"),
        ("device=gpu", "Unknown device 'gpu'"),
        ("sizes=[100]", "no generator of 100 px"),
    ):
        with pytest.raises(InputError, match=words):
            bench.run(typed(bench.GeneratorBench, compose("bench/generator", [override])))
    done = subprocess.run(
        [sys.executable, "scripts/bench.py", "nothing"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("What to time is 'nothing': give one of ") and done.stderr.count("\n") == 1
