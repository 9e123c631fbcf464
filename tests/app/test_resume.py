"""A session outlives its page's connection and is found again by its token."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from autodrag.app.hub import AppConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.generator import FrozenGenerator

DRAG = {"handles": [[20, 30]], "targets": [[28, 30]], "pins": [], "again": False}


@pytest.fixture
def place(config: AppConfig, serve: Any, tiny: FrozenGenerator, request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that keeps sessions for a minute, and two pages at most, or as many as the test's parameter says."""
    models = ModelCache("cpu", closed=True)
    limits = {"keep_minutes": 1.0, "max_clients": getattr(request, "param", 2)}
    with serve(replace(config, **limits), models, models.add(tiny)) as address:
        yield address


@pytest.fixture
def come(place: str, page_of: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page of a token: `come(token, fresh=True)`."""
    with ExitStack() as sockets:

        def open_one(token: str = "", fresh: bool = True) -> Any:
            asked = f"/socket?token={token}{'&fresh=' if fresh else ''}"
            page = page_of(sockets.enter_context(connect(place.replace("http", "ws") + asked, max_size=None)))
            page.until("main", final=True)
            return page

        yield open_one


def dragged(page: Any) -> np.ndarray:
    """The picture after a short drag."""
    page.say(type="method", name="draggan", steps=2)
    page.say(type="release", gesture=7, time=0, **DRAG)
    page.until("main", final=True)
    return page.pictures["main"]


def test_a_page_that_comes_back_finds_its_session_and_its_history(come: Any) -> None:
    page = come()
    first, after = page.pictures["main"], dragged(page)
    token = page.told["welcome"]["token"]
    assert not page.told["welcome"]["known"]
    page.socket.close()
    again = come(token)
    assert again.told["welcome"]["known"]
    assert again.told["session"]["gesture"] == 7  # its next pull is a newer one
    assert np.array_equal(again.pictures["main"], after)
    again.say(type="undo")
    again.until("main", final=True)
    assert np.array_equal(again.pictures["main"], first)


def test_a_pull_that_was_under_way_is_kept_for_a_page_loaded_anew(come: Any) -> None:
    page = come()
    page.say(type="method", name="draggan", steps=2)
    page.say(type="pull", gesture=1, time=0, **DRAG)
    page.until("main")
    page.socket.close()
    again = come(page.told["welcome"]["token"])
    assert again.told["session"]["frames"] > 1


def test_the_newest_page_of_a_session_has_it(come: Any) -> None:
    page = come()
    again = come(page.told["welcome"]["token"], fresh=False)
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            page.socket.recv(timeout=120)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4001
    again.say(type="undo")
    again.until("session")


def test_sessions_that_wait_take_no_place_and_the_longest_waiting_is_forgotten(come: Any) -> None:
    tokens = []
    for _ in range(4):  # two more than may be open
        page = come()
        tokens.append(page.told["welcome"]["token"])
        page.socket.close()
    assert come(tokens[-1]).told["welcome"]["known"]
    assert not come(tokens[0]).told["welcome"]["known"]


@pytest.mark.parametrize(("place", "count"), [(1, 1), (2, 2)], indirect=["place"])
def test_a_page_that_returns_ends_no_session_that_waits(come: Any, count: int) -> None:
    pages = [come() for _ in range(count)]
    for page in pages:
        page.socket.close()
    for page in pages[::-1]:
        again = come(page.told["welcome"]["token"])
        assert again.told["welcome"]["known"]
        again.socket.close()


def restored(page: Any, place: str, copy: bytes) -> httpx.Response:
    """What a page does that has a copy of an earlier session."""
    address = f"{place}/upload/{page.told['welcome']['token']}/session?copy=key"
    return httpx.post(address, content=copy, timeout=120)


def test_a_copy_is_handed_to_a_server_that_does_not_know_the_session(come: Any, place: str) -> None:
    page = come()
    after = dragged(page)
    token = page.told["welcome"]["token"]
    copy = httpx.get(f"{place}/export/{token}/autodrag.safetensors", timeout=120).content
    other = come("unknown")
    assert other.told["session"]["copy"] is None
    assert restored(other, place, copy).json() == {"ok": True}
    other.until("main", final=True)
    assert np.array_equal(other.pictures["main"], after)
    assert other.told["session"]["copy"] == "key"
    assert not other.told["session"]["undo"]
    assert other.told["session"]["version"] == 0


def test_a_copy_that_comes_late_can_be_undone(come: Any, place: str) -> None:
    page = come()
    token = page.told["welcome"]["token"]
    copy = httpx.get(f"{place}/export/{token}/autodrag.safetensors", timeout=120).content
    after = dragged(page)
    restored(page, place, copy)
    page.until("main", final=True)
    assert page.told["session"]["copy"] == "key"
    page.say(type="undo")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], after)


def test_a_copy_that_cannot_be_opened_is_refused(come: Any, place: str) -> None:
    other = FrozenGenerator.random((32, 32), w_dim=16, seed=5)
    other.name = "elsewhere"
    models = ModelCache("cpu")
    models.add(other)
    page = come()
    answer = restored(page, place, next(Editor("elsewhere", models=models).export("safetensors")))
    assert answer.status_code == 400
    assert "elsewhere" in answer.json()["error"]
    page.say(type="undo")
    page.until("session")
    assert page.told["session"]["copy"] is None
