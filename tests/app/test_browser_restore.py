"""In a real Chromium: the page's copy of a session is kept until a server has it again."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

Server = Callable[[], AbstractContextManager[str]]


def copied(view: Any, version: int) -> None:
    """Wait until the page has a copy of this version of its session."""
    sync_api.expect(view.page.locator(f"body[data-copied='{version}']")).to_have_count(1)


def noted(view: Any, text: str) -> None:
    sync_api.expect(view.page.locator(".note", has_text=text)).to_be_visible()


def opened(view: Any, generator: Path) -> None:
    """Open a generator's file."""
    before = view.picture
    view.page.locator("#generator-load").set_input_files(generator)
    sync_api.expect(view.page.locator("#dataset")).to_have_value(generator.stem)
    view.changes_from(before)


def chosen(view: Any) -> np.ndarray:
    """Another picture."""
    before = view.picture
    view.page.keyboard.press("r")
    return view.changes_from(before)


def test_a_session_waits_for_its_generator(serve_again: Server, open_view: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    network = FrozenGenerator.random(resolution=(32, 32), w_dim=16, seed=5).trainable_copy()
    write_safetensors(mine, network.config, network.state_dict())
    with serve_again() as address:
        view = open_view(address)
        view.server_stops = True
        opened(view, mine)
        lost = chosen(view)
        copied(view, 2)
    with serve_again() as address:
        noted(view, "'mine'")
        noted(view, "stays in this browser")
        opened(view, mine)
        other = chosen(view)
        chosen(view)
        view.page.keyboard.press("Control+z")
        view.becomes(other)
        copied(view, 4)
        view.open(address)
        noted(view, "Your work was brought back")
        view.becomes(lost)
        view.page.keyboard.press("Control+z")
        view.becomes(other)
        copied(view, 6)
        view.open(address)  # nothing is owed any more
        view.becomes(other)
        assert not view.page.locator(".note").count()
    refused = [text for text in view.wrong if re.search("status of 400", text)]
    assert len(refused) == 1
    view.wrong.remove(refused[0])


def test_a_new_tab_opens_the_sessions_of_closed_ones(serve_again: Server, open_view: Any) -> None:
    with serve_again() as address:
        view = open_view(address)
        pictures = []
        for _ in range(2):
            view.open(address)
            view.page.evaluate("() => sessionStorage.clear()")  # as in another tab
            view.open(address)
            pictures.append(chosen(view))
            copied(view, 1)
        view.page.evaluate("() => sessionStorage.clear()")
        view.open(address)
        for picture in reversed(pictures):
            view.page.locator("#earlier").click()
            view.becomes(picture)
        view.page.locator("#earlier").click()
        noted(view, "no further session")
        view.page.keyboard.press("Control+z")
        view.becomes(pictures[1])


def sent(view: Any, asked: list[Any], count: int) -> None:
    """Wait until the page has sent this many copies."""
    while len(asked) < count:
        view.page.wait_for_timeout(50)


@pytest.mark.parametrize("fails", [True, False])
def test_a_copy_that_did_not_arrive_is_sent_again(serve_again: Server, open_view: Any, fails: bool) -> None:
    """fails: the page hears so and is used; otherwise it is loaded anew while it sends."""
    asked: list[Any] = []
    with serve_again() as address:
        view = open_view(address)
        view.server_stops = True
        lost = chosen(view)
        copied(view, 1)
        view.page.route("**/upload/**", lambda route: asked.append(route))
    with serve_again() as address:
        sent(view, asked, 1)
        if fails:
            asked[0].abort("connectionreset")
            noted(view, "stays in this browser")
            chosen(view)
            chosen(view)
            copied(view, 2)
        view.open(address)
        sent(view, asked, 2)
        asked[1].continue_()
        noted(view, "Your work was brought back")
        view.becomes(lost)
