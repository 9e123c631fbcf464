"""Strokes of the brush in a real Chromium: long ones, and ones that something else interrupts."""

from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

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
