"""Drafts get rougher while pictures are late and finer again when there is time; at rest the picture is whole."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from autodrag.app.client import Client
from autodrag.app.controller import Controller
from autodrag.app.events import Event, Look
from autodrag.app.pace import MOST, PERIOD, Pace
from autodrag.app.turns import Turns
from autodrag.editor.renderer import Renderer
from autodrag.editor.state import Frame
from autodrag.generator import FrozenGenerator
from autodrag.pictures import read_picture


def kept_up(pace: Pace, seconds: float, pictures: int = 30) -> int:
    for _ in range(pictures):
        pace.took(seconds)
    return pace.less


def test_drafts_follow_what_pictures_cost() -> None:
    pace = Pace()
    assert kept_up(pace, 3 * PERIOD) == MOST
    assert kept_up(pace, PERIOD / 10) == 0
    assert kept_up(pace, PERIOD * 0.8) == 0  # late by nothing, early by too little: no change
    assert kept_up(pace, 2 * PERIOD, pictures=8) >= 1


class Pulled(Controller):
    """A controller that shows one draft, black, of a picture that is white, and has nothing else to do."""

    def __init__(self) -> None:
        """Without a session."""

    def welcome(self) -> Iterator[Event]:
        white = np.full((8, 8, 3), 255, np.uint8)
        yield Look("main", lambda: white, False, {"time": 1.0}, draft=lambda less: np.zeros((8, 8, 3), np.uint8))


def test_a_pointer_at_rest_gets_the_whole_picture() -> None:
    async def converse() -> list[bytes]:
        sent: list[bytes] = []

        async def send(data: bytes) -> None:
            sent.append(data)

        turns = Turns(1)
        client = Client(turns)
        await client.open(Pulled)
        telling = asyncio.ensure_future(client.tell(send, send))
        for _ in range(2400):
            await asyncio.sleep(0.05)
            if len(sent) == 2:
                break
        await asyncio.sleep(0.4)
        telling.cancel()
        client.close()
        turns.close()
        return sent

    with ThreadPoolExecutor(1) as thread:
        draft, whole = thread.submit(asyncio.run, converse()).result()
    pixels = [read_picture(data[4 + int.from_bytes(data[:4], "little") :]) for data in (draft, whole)]
    assert pixels[0].max() < 10
    assert pixels[1].min() > 245
    assert b'"time"' in draft and b'"time"' not in whole


def test_a_renderer_drafts_what_a_whole_picture_taught(tiny: FrozenGenerator) -> None:
    ws = tiny.map(torch.randn(2, tiny.z_dim, generator=torch.Generator().manual_seed(1)))
    first = Frame(ws[:1])
    moved = Frame(torch.cat([torch.lerp(ws[:1, :6], ws[1:, :6], 0.3), ws[:1, 6:]], dim=1))
    renderer = Renderer(tiny)
    whole = renderer(moved)
    assert np.array_equal(Renderer(tiny).draft(moved, 1), whole)  # nothing has taught it yet
    renderer(first)
    draft = renderer.draft(moved, 1)
    assert not np.array_equal(draft, whole)
    assert np.abs(draft.astype(int) - whole).mean() < np.abs(renderer(first).astype(int) - whole).mean()
    assert np.array_equal(renderer.draft(Frame(ws[1:]), 1), Renderer(tiny)(Frame(ws[1:])))  # another style
    assert np.array_equal(renderer.draft(first, 0), Renderer(tiny)(first))


def test_threads_wait_briefly_in_the_editor(repository: Path) -> None:
    code = (
        "import sys; from autodrag.threads import share_cores; share_cores(); "
        "import os; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    environment["PYTHONPATH"] = str(repository)
    for given, found in ((environment, "10000 False"), (environment | {"GOMP_SPINCOUNT": "7"}, "7 False")):
        done = subprocess.run([sys.executable, "-c", code], env=given, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == found
    code = """if True:
        import os, sys
        from autodrag import commands
        commands._named = lambda place: sys.exit(print(os.environ["GOMP_SPINCOUNT"], "torch" in sys.modules) or 0)
        commands.run("app")
    """
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["10000", "False"]
