"""In a real Chromium: work survives reloads, breaks and restarts; keys work after clicks; a scroll moves no slider."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autodrag.app.hub import AppConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.generator import FrozenGenerator

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

AXE = os.environ.get("AXE")  # node_modules/axe-core/axe.min.js


@pytest.fixture
def place(config: AppConfig, serve: Any, tiny: FrozenGenerator) -> Iterator[str]:
    """A server that keeps sessions for a minute."""
    models = ModelCache("cpu", closed=True)
    with serve(replace(config, keep_minutes=1.0), models, models.add(tiny)) as address:
        yield address


@pytest.fixture
def view(place: str, open_view: Any) -> Any:
    view = open_view(place)
    slow(view)
    return view


def slow(view: Any) -> None:
    """Optimisers in three steps."""
    script = "element => { element.value = 3; element.dispatchEvent(new Event('change')); }"
    view.page.locator("#steps").evaluate(script)


def dragged(view: Any) -> np.ndarray:
    """The picture after a drag, of which the page has its copy."""
    view.drag((20, 30), (26, 30))
    view.frames(3)
    sync_api.expect(view.page.locator("body[data-copied]")).to_have_count(1, timeout=120_000)
    return view.picture


def test_a_reload_loses_nothing(view: Any, place: str) -> None:
    first, after = view.picture, dragged(view)
    view.open(place)
    view.becomes(after)
    view.page.keyboard.press("Control+z")
    view.becomes(first)


def test_a_new_server_is_handed_the_copy(
    config: AppConfig, tiny: FrozenGenerator, open_view: Any, serve_again: Any
) -> None:
    with serve_again() as address:
        view = open_view(address)
        view.server_stops = True
        slow(view)
        after = dragged(view)
        view.page.mouse.move(*view.at(40, 40))
        view.page.mouse.down()
        view.page.mouse.move(*view.at(44, 40), steps=3)
    sync_api.expect(view.page.locator("body[data-connection=closed]")).to_have_count(1, timeout=120_000)
    view.page.mouse.up()
    assert view.page.locator("#line").inner_text().startswith("The connection is lost")
    assert not view.page.locator(".note.wrong").count()
    with serve_again():
        sync_api.expect(view.page.locator("body[data-connection=open]")).to_have_count(1, timeout=120_000)
        view.frames(4)  # the copy, and on top of it the pull that nobody heard the end of
        view.changes_from(after)
        view.page.keyboard.press("Control+z")
        view.becomes(after)


CUT = """() => {
    const sockets = [];
    window.cut = false;
    window.WebSocket = class extends WebSocket {
        constructor(address) {
            super(window.cut ? new URL("nobody", address) : address);
            sockets.push(this);
        }
    };
    window.cutLine = () => {
        window.cut = true;
        for (const socket of sockets) socket.close();
    };
}"""


def test_a_minute_without_the_line_loses_nothing(place: str, open_view: Any) -> None:
    view = open_view(place)
    view.server_stops = True
    view.page.clock.install()
    view.page.add_init_script(f"({CUT})()")
    view.open(place)
    slow(view)
    first = view.picture
    view.page.mouse.move(*view.at(20, 30))
    view.page.mouse.down()
    view.page.mouse.move(*view.at(26, 30), steps=4)
    view.leaves(first)
    view.page.evaluate("() => cutLine()")
    sync_api.expect(view.page.locator("body[data-connection=closed]")).to_have_count(1, timeout=120_000)
    view.page.mouse.up()
    assert view.page.locator("#line").inner_text() == "The connection is lost. Your work is kept; trying again."
    for _ in range(6):
        view.page.clock.run_for(10_000)
    assert view.page.locator("body").get_attribute("data-connection") == "closed"
    assert not view.page.locator(".note.wrong").count()
    view.page.evaluate("() => { window.cut = false; }")
    for _ in range(40):
        view.page.clock.run_for(1000)
        if view.page.locator("body").get_attribute("data-connection") == "open":
            break
        view.page.wait_for_timeout(100)
    view.frames(3)
    assert len(view.points) == 1
    view.page.keyboard.press("Control+z")
    view.becomes(first)


def test_a_session_stays_with_the_tab_that_took_it(view: Any, place: str, open_view: Any) -> None:
    token = view.page.evaluate("() => sessionStorage.token")
    other = open_view(place)
    other.page.evaluate("token => { sessionStorage.token = token; }", token)
    other.open(place)
    sync_api.expect(view.page.locator("body[data-connection=taken]")).to_have_count(1)
    view.page.evaluate("() => dispatchEvent(new Event('online'))")  # the network of both was away for a moment
    view.page.wait_for_timeout(1000)
    assert other.page.locator("body").get_attribute("data-connection") == "open"
    assert view.page.locator("body").get_attribute("data-connection") == "taken"
    view.open(place)
    assert view.page.locator("body").get_attribute("data-connection") == "open"


LANE = """async () => {
    const { Pictures } = await import(new URL("static/pictures.js", document.baseURI));
    const drawn = [];
    let shown = 0;
    const pictures = new Pictures(() => (shown += 1), ({ number }) => drawn.push(number));
    const good = await new Promise((resolve) => document.createElement("canvas").toBlob(resolve));
    for (const [number, blob] of [new Blob(["no picture"]), good].entries()) {
        await pictures.take({ lane: "main", number }, blob).catch(() => {});
    }
    return [drawn, shown];
}"""


def test_a_picture_that_cannot_be_decoded_does_not_block_the_next(view: Any) -> None:
    assert view.page.evaluate(LANE) == [[1], 2]


def test_another_picture_after_ones_own_can_be_undone(view: Any, tmp_path: Path) -> None:
    photo = np.full((64, 96, 3), 90, np.uint8)
    photo[20:50, 30:70] = (200, 120, 40)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    view.page.locator("#upload").set_input_files(tmp_path / "photo.png")
    view.page.get_by_role("button", name="Use this part").click()
    sync_api.expect(view.page.locator("#seed")).to_have_value("", timeout=120_000)
    view.settle()
    with_detail = view.picture  # before the first drag, the photograph itself
    view.page.locator("#detail").uncheck()
    own = view.changes_from(with_detail)
    view.page.keyboard.down("o")  # the photograph, as long as the key is held
    photograph = view.changes_from(own)
    assert np.abs(photograph[32, 32].astype(int) - (200, 120, 40)).max() < 3
    view.page.keyboard.up("o")
    view.becomes(own)
    view.page.keyboard.press("r")
    sync_api.expect(view.page.locator("#seed")).not_to_have_value("", timeout=120_000)
    view.page.keyboard.press("Control+z")
    view.becomes(own)


SELECTED = """async () => {
    const { Arrows } = await import(new URL("static/arrows.js", document.baseURI));
    const arrows = new Arrows();
    const state = { gesture: 0, revision: 0, motion: 0, handles: [], targets: [], pins: [], plan: null, points: [] };
    arrows.follow(state);
    arrows.plan(1, [20, 30], 5);
    arrows.move(1, [28, 30]);
    arrows.drop(1);
    const { revision, handles, targets, pins } = structuredClone(arrows.setting());
    arrows.plan(1, [28, 30], 5);
    arrows.drop(1); // a tap before the server's answer
    arrows.follow({ ...state, revision, plan: { handles, targets, pins } });
    const answered = arrows.selected;
    arrows.follow({ ...state, revision, motion: 1, handles, targets, points: targets });
    const dragged = arrows.selected;
    arrows.grab(1, [28, 30], 5, false, null);
    arrows.drop(1);
    arrows.forget(); // a tap is no drag: the page takes what the server has
    arrows.follow({ ...state, revision, motion: 1, handles, targets, points: targets });
    return [answered, dragged, arrows.selected];
}"""


def test_an_arrow_stays_selected_when_the_server_answers_late(view: Any) -> None:
    assert view.page.evaluate(SELECTED) == [0, None, 0]


def test_one_arrow_is_deleted_and_brought_back(view: Any) -> None:
    view.page.keyboard.press("a")
    view.drag((20, 30), (28, 30))
    view.drag((44, 30), (36, 40))
    view.page.mouse.click(*view.at(28, 30))
    sync_api.expect(view.page.locator("#clear")).to_have_text("Remove")
    view.page.keyboard.press("Delete")
    sync_api.expect(view.page.locator("#clear")).to_have_text("Clear")
    view.page.locator("#run").click()
    view.frames(3)
    assert len(view.points) == 1
    view.page.keyboard.press("Control+z")  # the drag
    view.page.keyboard.press("Control+z")  # the deletion
    now = view.page.locator(".history [aria-current]")
    sync_api.expect(now).to_have_attribute("aria-label", "Step 3 of the history")
    view.page.locator("#run").click()
    view.frames(3)
    assert len(view.points) == 2


def test_shortcuts_work_after_clicks(view: Any) -> None:
    view.page.locator("[data-tool=pin]").click()
    view.page.keyboard.press("a")
    sync_api.expect(view.page.locator("[data-tool=arrow]")).to_have_attribute("aria-pressed", "true")
    view.page.locator("#methods [aria-checked=true]").focus()
    view.page.keyboard.press("ArrowRight")
    sync_api.expect(view.page.locator("#methods [aria-checked=true]")).to_be_focused()


def test_a_key_that_is_held_asks_for_no_more_than_can_be_done(view: Any) -> None:
    for key in ("r", "Control+z"):
        *held, last = key.split("+")
        for name in held:
            view.page.keyboard.down(name)
        for _ in range(60):  # the first goes down, the others are repeats
            view.page.keyboard.down(last)
        for name in (last, *held):
            view.page.keyboard.up(name)
    view.settle()
    assert not view.page.locator(".note").count()


def test_a_scroll_over_a_slider_does_not_move_it(place: str, open_view: Any) -> None:
    view = open_view(place, phone=True)
    slider = view.page.locator("#psi")
    slider.scroll_into_view_if_needed()
    before, scrolled = slider.input_value(), view.page.evaluate("scrollY")
    box = slider.bounding_box()
    x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2
    touch = view.page.context.new_cdp_session(view.page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 9):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 15 * step}]})
        view.page.wait_for_timeout(30)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    view.page.wait_for_function("before => scrollY > before", arg=scrolled)
    sync_api.expect(slider).to_have_value(before)


@pytest.mark.skipif(AXE is None, reason="AXE names no axe.min.js of axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_issue_of_access(place: str, open_view: Any, scheme: str) -> None:
    view = open_view(place, color_scheme=scheme, bypass_csp=True)
    view.page.add_script_tag(path=AXE)
    found = view.page.evaluate("async () => (await axe.run()).violations")
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    serious = [f"{one['id']}: {node['html']}" for one in bad for node in one["nodes"]]
    assert not serious
