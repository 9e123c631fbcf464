"""The bench of drags times both methods and writes what it printed."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autodrag.bench.drag import DragBench, run
from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods.autodrag import AutoDragMethod
from autodrag.methods.draggan import DragGAN
from third_party.stylegan2.readers import write_safetensors

SMALL = [f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")]


def test_both_methods_are_timed(
    tiny: FrozenGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Tensor]] = {"ours": [], "draggan": []}
    for name, kind in (("ours", AutoDragMethod), ("draggan", DragGAN)):
        drag = kind.drag
        monkeypatch.setattr(kind, "drag", lambda *given, d=drag, n=name: seen[n].append(given[1]) or d(*given))
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    places = [f"generator={tmp_path / 'tiny.safetensors'}", f"out={tmp_path / 'out.json'}", "device=cpu"]
    small = ["points=[1,3]", "draggan_steps=2", "batch=2", "repeats=0"]
    run(typed(DragBench, compose("bench/drag", [*SMALL, *places, *small])))
    numbers = json.loads((tmp_path / "out.json").read_text())
    assert [row["points"] for row in numbers["rows"]] == [1, 3] and not numbers["trained"]
    assert all(row["latents_ms"] > 0 and row["image_ms"] > 0 for row in numbers["rows"])
    assert 1 <= numbers["against"]["draggan_steps"] <= 2
    printed = capsys.readouterr().out
    ours, draggan = (torch.cat(each).unique(dim=0) for each in seen.values())
    assert len(draggan) == 2 and all((ours == ws).all(dim=(1, 2)).any() for ws in draggan)  # both edit new images
    assert "(random weights)" in printed and "2 edits together" in printed


@pytest.mark.parametrize("height", ["x", "100", "-8"])
def test_heights_that_are_none_are_refused(height: str, tmp_path: Path) -> None:
    given = [f"generator=official-{height}", f"out={tmp_path / 'out.json'}", "device=cpu"]
    with pytest.raises(InputError, match="choose one of 8, 16"):
        run(typed(DragBench, compose("bench/drag", given)))
