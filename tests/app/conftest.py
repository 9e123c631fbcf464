"""An editor on a tiny generator of random weights, with DragGAN, which needs none of its own, and a page for it."""

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

from autodrag.app.server import AppConfig, create_app, uvicorn_config
from autodrag.app.session import Editor
from autodrag.app.studio import Studio
from autodrag.config import compose, load_dataset, typed
from autodrag.generator import FrozenGenerator


@pytest.fixture(scope="session")
def studio(tiny: FrozenGenerator) -> Studio:
    """Knows the tiny generator."""
    studio = Studio("cpu")
    studio.add(tiny)
    return studio


@pytest.fixture
def editor(studio: Studio, tiny: FrozenGenerator) -> Editor:
    """A fresh session."""
    return Editor(tiny.name, seed=3, psi=1.0, method="draggan", steps=3, studio=studio)


@pytest.fixture(scope="session")
def config() -> AppConfig:
    """The one that ships, with work and limits made small."""
    shipped = typed(AppConfig, compose("app", ["first_method=draggan", "port=0"]))
    invert = replace(shipped.invert, steps=9, starts=2, tune_steps=2)
    return replace(shipped, invert=invert, max_clients=11, max_upload_mb=1)


@pytest.fixture(scope="session")
def serve() -> Callable[[AppConfig, Studio, str], AbstractContextManager[str]]:
    """Serves a dataset of a studio: `with serve(config, studio, dataset) as address`."""
    return serving


@contextmanager
def serving(config: AppConfig, studio: Studio, dataset: str) -> Iterator[str]:
    """The address, http://..., of a server in a thread."""
    server = uvicorn.Server(uvicorn_config(create_app(config, studio, dataset), port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (port,) = {socket.getsockname()[1] for one in server.servers for socket in one.sockets}
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="session")
def address(config: AppConfig, tiny: FrozenGenerator) -> Iterator[str]:
    """A server of the tiny generator."""
    studio = Studio("cpu", closed=True)
    constants = replace(load_dataset("x.safetensors"), draggan_lr=1e-2)  # random weights are dragged with longer steps
    with serving(config, studio, studio.add(tiny, constants)) as address:
        yield address


class Page:
    """What a page does: it says it has drawn every picture it gets, and keeps what it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: dict[str, Any] = {}
        self.pictures: dict[str, np.ndarray] = {}
        self.headers: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self) -> str:
        """The type of the next message, or the lane of a picture."""
        message = self.socket.recv(timeout=20)
        if isinstance(message, str):
            told = json.loads(message)
            self.told[told["type"]] = told
            if told["type"] == "note":
                self.notes.append(told["text"])
            return str(told["type"])
        (size,) = struct.unpack("<I", message[:4])
        header = json.loads(message[4 : 4 + size])
        self.headers[header["lane"]] = header
        pixels = np.frombuffer(message[4 + size :], np.uint8)
        self.pictures[header["lane"]] = cv2.cvtColor(cv2.imdecode(pixels, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        self.say(type="shown")
        return str(header["lane"])

    def until(self, what: str, final: bool = False) -> None:
        """Hear messages up to one of this type, or to a picture of this lane, `final`: the one that stays."""
        for _ in range(500):
            heard = self.hear()
            if heard == what and (not final or self.headers[what]["final"]):
                return
        raise AssertionError(f"no {what} came")


@pytest.fixture
def open_page(address: str) -> Iterator[Callable[[], Page]]:
    """Opens pages that show their first picture; they close after the test."""
    with ExitStack() as sockets:

        def open_one() -> Page:
            page = Page(sockets.enter_context(connect(address.replace("http", "ws") + "/socket", max_size=None)))
            page.until("main", final=True)
            return page

        yield open_one


@pytest.fixture
def page(open_page: Callable[[], Page]) -> Page:
    """One page."""
    return open_page()
