"""The bench of the editor pulls through a real socket and counts the pictures."""

import json
import struct
from pathlib import Path
from time import sleep

import cv2
import numpy as np
import pytest
from websockets.sync.client import ClientConnection

from autodrag.bench import pages
from autodrag.bench.editor import EditorBench, run
from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

SMALL = [f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")]


class Silent(ClientConnection):
    """A socket to a server that sends the first picture if it is to `begin`, and then nothing."""

    def __init__(self, begin: bool) -> None:
        self._begin = begin

    def send(self, message: str) -> None:
        """Nobody answers."""

    def recv(self, timeout: float) -> bytes:
        if self._begin:
            self._begin = False
            return struct.pack("<I", 2) + b"{}" + cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        sleep(min(timeout, 0.05))
        raise TimeoutError


@pytest.mark.parametrize("begin", [False, True])
def test_a_server_without_pictures_is_not_waited_for_without_end(begin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE", 0.3, raising=False)
    with pytest.raises(InputError, match=r"sent too few pictures of a drag in 0\.3 s"):
        pages._pull(Silent(begin), (64, 64), 20.0, 1.0)


def test_pictures_are_counted(tiny: FrozenGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    places = [f"generator={tmp_path / 'tiny.safetensors'}", f"out={tmp_path / 'out.json'}"]
    run(typed(EditorBench, compose("bench/editor", [*SMALL, *places, "seconds=0.1", "pages=2", "device=cpu"])))
    numbers = json.loads((tmp_path / "out.json").read_text())
    assert numbers["frames_a_second_and_page"] > 0  # how many is the machine's affair
    assert 0 < numbers["delay_ms_median"] <= numbers["delay_ms_95"]
    assert not numbers["trained"]
    assert "(random weights), 2 page(s)" in capsys.readouterr().out
