"""The type that `auto` means, on simulated GPUs and processors."""

from dataclasses import dataclass

import pytest
import torch

from autodrag import precision
from autodrag.precision import choose, computes_bfloat16_fast

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gpu:
    """What torch says of one. major: of its compute capability."""

    major: int


@pytest.fixture(autouse=True)
def forgotten() -> None:
    computes_bfloat16_fast.cache_clear()


def on_processor(monkeypatch: pytest.MonkeyPatch, flags: str, ratio: float) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: set(flags.split()))
    monkeypatch.setattr(precision, "bfloat16_time", lambda device: ratio)


@pytest.mark.parametrize(
    ("flags", "ratio", "expected"),
    [
        ("avx2 amx_bf16", 0.3, "bfloat16"),
        ("avx2 amx_bf16", 2.0, "float32"),  # held to an older instruction set
        ("asimd bf16", 0.5, "bfloat16"),
        ("", 0.5, "bfloat16"),  # not Linux: timed
        ("", 3.0, "float32"),
        ("avx avx2", 0.1, "float32"),  # not timed: it could only be chance
    ],
)
def test_processors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: str, ratio: float, expected: str
) -> None:
    on_processor(monkeypatch, flags, ratio)
    assert choose("auto", CPU) == expected
    assert capsys.readouterr().err.startswith(f"Computing in {expected}: ")


@pytest.mark.parametrize(("major", "expected"), [(7, "float32"), (8, "bfloat16"), (9, "bfloat16")])
def test_gpus(monkeypatch: pytest.MonkeyPatch, major: int, expected: str) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    for name, value in (("is_available", True), ("current_device", 0), ("get_device_properties", Gpu(major))):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    assert choose("auto", torch.device("cuda:0")) == expected


def test_an_explicit_precision_is_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_processor(monkeypatch, "amx_bf16", 0.3)
    assert [choose(kind, CPU) for kind in ("float32", "bfloat16", "float16")] == ["float32", "bfloat16", "float16"]
    assert capsys.readouterr().err == ""


def test_the_precision_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[torch.device] = []
    monkeypatch.setattr(precision, "processor_flags", set)
    monkeypatch.setattr(precision, "bfloat16_time", lambda device: times.append(device) or 0.5)
    assert choose("auto", CPU) == choose("auto", CPU) == "bfloat16" and times == [CPU]


def test_a_real_processor_is_timed() -> None:
    assert 0 < precision.bfloat16_time(CPU, rounds=1) < float("inf")
