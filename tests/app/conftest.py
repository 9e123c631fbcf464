"""An editor on a tiny generator of random weights, with DragGAN, which needs none of its own; a page for it, in a
browser or without one."""

import json
import os
import re
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from socket import create_server
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from websockets.sync.client import ClientConnection, connect

from autodrag.app.hub import AppConfig
from autodrag.app.server import create_app, uvicorn_config
from autodrag.config import compose, load_dataset, typed
from autodrag.editor.model_cache import ModelCache
from autodrag.generator import FrozenGenerator

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def config() -> AppConfig:
    """The one that ships, with work and limits made small."""
    shipped = typed(AppConfig, compose("app", ["first_method=draggan", "port=0"]))
    invert = replace(shipped.invert, steps=9, starts=2, tune_steps=2)
    return replace(
        shipped, invert=invert, max_clients=11, keep_minutes=0.0, max_upload_mb=1, max_session_mb=1, max_generator_mb=1
    )


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[str]]:
    """Serves a dataset of a model cache: `with serve(config, models, dataset, port=0, prefix="") as address`."""
    return serving


@contextmanager
def serving(config: AppConfig, models: ModelCache, dataset: str, port: int = 0, prefix: str = "") -> Iterator[str]:
    """The address, http://..., of a server in a thread. prefix: of its paths, as behind a proxy."""
    app = create_app(config, models, dataset)
    if prefix:
        outer = FastAPI()
        outer.mount(prefix, app)
        app = outer
    server = uvicorn.Server(uvicorn_config(app, port=port))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (port,) = {socket.getsockname()[1] for one in server.servers for socket in one.sockets}
    yield f"http://127.0.0.1:{port}{prefix}"
    server.should_exit = True
    thread.join(timeout=120)


@pytest.fixture(scope="session")
def address(config: AppConfig, tiny: FrozenGenerator) -> Iterator[str]:
    """A server of the tiny generator."""
    models = ModelCache("cpu", closed=True)
    constants = replace(load_dataset("x.safetensors"), draggan_lr=1e-2)  # random weights are dragged with longer steps
    with serving(config, models, models.add(tiny, constants)) as address:
        yield address


@pytest.fixture
def serve_again(config: AppConfig, tiny: FrozenGenerator) -> Callable[[], AbstractContextManager[str]]:
    """Serves the tiny generator, each time by another server of the same address."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def again() -> AbstractContextManager[str]:
        models = ModelCache("cpu", closed=True)
        return serving(replace(config, keep_minutes=1.0), models, models.add(tiny), port)

    return again


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
        message = self.socket.recv(timeout=120)
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


@pytest.fixture(scope="session")
def page_of() -> type[Page]:
    """A page on a socket: `page_of(socket)`."""
    return Page


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


class View:
    """The page as a user handles it. Positions are pixels of the picture."""

    def __init__(self, page: Any, address: str, expect: Any) -> None:
        self.page, self._expect = page, expect
        self.wrong: list[str] = []
        self.server_stops = False  # on purpose: then the browser reports lost connections until the page is closed
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._reported)
        self.open(address)

    def _reported(self, message: Any) -> None:
        lost = any(word in message.text for word in ("ERR_CONNECTION", "WebSocket"))
        if not (lost and self.server_stops):
            self.wrong.append(message.text)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self._expect(self.page.locator("#seed")).to_have_value(re.compile(r"\d+"), timeout=120_000)
        self.settle()

    def settle(self) -> None:
        """Wait until the picture of the session is there and nothing is under way."""
        self._expect(self.page.locator("body[data-shown=still]")).to_have_count(1, timeout=120_000)
        self._expect(self.page.locator("#job")).to_be_hidden(timeout=120_000)

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("#overlay").bounding_box()
        size = self.page.locator("#picture").evaluate("canvas => [canvas.width, canvas.height]")
        return box["x"] + (x + 0.5) * box["width"] / size[0], box["y"] + (y + 0.5) * box["height"] / size[1]

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 6) -> None:
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=steps)
        self.page.mouse.up()

    def frames(self, count: int) -> None:
        """Wait until the motion has this many steps, or more."""
        pattern = re.compile("|".join(f"^{n}$" for n in range(count, 200)))
        self._expect(self.page.locator("#scrub")).to_have_attribute("max", pattern, timeout=120_000)
        self.settle()

    @property
    def dataset(self) -> str:
        """Name of the generator."""
        return str(self.page.locator("#dataset").input_value())

    @property
    def picture(self) -> np.ndarray:
        """What the canvas shows, [H, W, 3]."""
        script = """canvas => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height)
                .getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, Array.from(data.data)];
        }"""
        height, width, data = self.page.locator("#picture").evaluate(script)
        return np.array(data, np.uint8).reshape(height, width, 4)[:, :, :3]

    @property
    def points(self) -> np.ndarray:
        """Where the handles, then the pins, of the drag are, [N, 2]."""
        text = self.page.evaluate("() => document.body.dataset.points")
        return np.array([[float(v) for v in point.split(",")] for point in text.split()]).reshape(-1, 2)

    def becomes(self, picture: np.ndarray) -> None:
        """Wait until this picture is shown."""
        for _ in range(2400):
            if np.array_equal(self.picture, picture):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("the picture did not come")

    def leaves(self, picture: np.ndarray) -> None:
        """Wait until another picture than this one is shown."""
        for _ in range(2400):
            if not np.array_equal(self.picture, picture):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("the picture stays the same")

    def changes_from(self, picture: np.ndarray) -> np.ndarray:
        """Wait until another picture than this one is shown, and nothing is under way; it is returned."""
        self.leaves(picture)
        self.settle()
        return self.picture


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture
def open_view(browser: Any) -> Iterator[Callable[..., View]]:
    """Opens a page: `open_view(address, phone=False, **more)`, with whatever else Playwright's `new_page` takes."""
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)  # a busy machine is no failure
    views = []

    def open_one(address: str, phone: bool = False, **more: Any) -> View:
        screen = {"viewport": {"width": 1280, "height": 820}}
        hand = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
        page = browser.new_page(**((hand | {"has_touch": True} if phone else screen) | more))
        page.set_default_timeout(120_000)
        views.append(View(page, address, expect))
        return views[-1]

    yield open_one
    for view in views:
        view.page.close()
    assert not [error for view in views for error in view.wrong]
