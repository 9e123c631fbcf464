"""Strokes of the brush in a real Chromium: long ones, and ones that something else interrupts."""

from collections.abc import Iterator
from typing import Any

import pytest

from autodrag.app.controller import Controller
from autodrag.app.events import Event
from autodrag.errors import InputError

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

SETUP = """() => (async () => {
    const { Tools } = await import(new URL("static/tools.js", document.baseURI));
    const { Arrows } = await import(new URL("static/arrows.js", document.baseURI));
    const stage = { overlay: document.createElement("canvas"), size: [64, 64], scale: 10, redraw() {} };
    const sent = [];
    const nothing = () => {};
    const act = { ready: () => true, touched: nothing, scrubbed: () => null, present: nothing, plan: nothing };
    const tools = new Tools(stage, new Arrows(), { ...act, brush: (message) => sent.push(structuredClone(message)) });
    tools.choose("change");
"""


def test_a_stroke_longer_than_a_message_goes_on(open_view: Any, address: str) -> None:
    draw = """
        tools.begin(1, [0, 0], 1, false);
        for (let i = 1; i < 1500; i += 1) tools.proceed(1, [i, i % 2]);
        tools.end(1);
        return sent.map(({ points }) => [points.length, points[0][0], points.at(-1)[0]]);
    })()"""
    assert open_view(address).page.evaluate(SETUP + draw) == [[1000, 0, 999], [501, 999, 1499]]


def test_another_tool_ends_the_stroke_with_its_own(open_view: Any, address: str) -> None:
    draw = """
        tools.begin(1, [5, 5], 1, false);
        tools.proceed(1, [9, 5]);
        tools.choose("pull");
        tools.proceed(1, [20, 20]);
        tools.end(1);
        return sent.map(({ points, paint }) => [points, paint]);
    })()"""
    assert open_view(address).page.evaluate(SETUP + draw) == [[[[5, 5], [9, 5]], "change"]]


DRAWN = """([x, y]) => {
    const overlay = document.querySelector("#overlay");
    const box = overlay.getBoundingClientRect();
    const scale = overlay.width / box.width;
    const copy = new OffscreenCanvas(1, 1).getContext("2d");
    copy.drawImage(overlay, (box.x - x) * scale, (box.y - y) * scale);
    return copy.getImageData(0, 0, 1, 1).data[3] > 0;
}"""


def test_a_stroke_that_is_refused_does_not_stay(open_view: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Iterator[Event]:
        yield from ()
        raise InputError("Your picture is being prepared.")

    monkeypatch.setattr(Controller, "_brush", refused)
    view = open_view(address)
    page, middle = view.page, list(view.at(30, 30))
    page.keyboard.press("b")
    page.mouse.move(*view.at(10, 30))
    page.mouse.down()
    page.mouse.move(*view.at(50, 30), steps=8)
    page.wait_for_function(DRAWN, arg=middle)
    page.mouse.up()
    page.wait_for_function(f"point => !({DRAWN})(point)", arg=middle)
    sync_api.expect(page.locator("#mask-clear")).to_be_disabled()
