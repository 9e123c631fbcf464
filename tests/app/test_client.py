"""A session whose program fails: the page is told one sentence, and goes on."""

import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from autodrag.app.controller import Controller
from autodrag.app.events import Work
from autodrag.editor.session import Editor


def test_an_error_of_the_program_is_a_sentence_and_a_traceback_in_the_log(
    page: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a job raises, at the order, on the way or in a picture: the page stays open and keeps its session."""
    page.say(type="picture", seed=5, psi=1.0, style=None, amend=False, settled=True)
    page.until("main", final=True)
    chosen = page.pictures["main"]

    def broken(*_: Any, **__: Any) -> None:
        raise struct.error("ushort format requires 0 <= number <= 65535")

    for place, order in (("undo", "undo"), ("choose_method", "method"), ("render", "redo")):
        with monkeypatch.context() as context:
            context.setattr(Editor, place, broken)
            page.say(type=order, **({"name": "draggan", "steps": 3} if order == "method" else {}))
            page.until("note")
        assert "the server's log has it" in page.notes[-1] and "ushort" not in page.notes[-1]
    assert caplog.text.count("A job of the editor failed.\nTraceback") == 3 and "struct.error: ushort" in caplog.text
    page.say(type="invert_mask")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], chosen)
    page.say(type="undo")
    page.until("main", final=True)
    assert not np.array_equal(page.pictures["main"], chosen)


def test_a_failure_while_the_page_is_told_of_a_failure_is_a_sentence_too(
    page: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Iterator[Work]:
        yield Work("drag", 1, 2)
        raise MemoryError

    def broken_too(_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Controller, "_release", broken)
    monkeypatch.setattr(Controller, "failed", broken_too)
    arrow = {"handles": [[20, 20]], "targets": [[30, 20]], "pins": [], "again": False}
    page.say(type="release", gesture=1, time=0.0, **arrow)
    page.until("note")
    page.say(type="undo")
    page.until("main", final=True)
    assert caplog.text.count("A job of the editor failed.\nTraceback") == 2


def test_an_export_that_fails_is_a_sentence(address: str, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Editor, "export", broken)
    answer = httpx.get(f"{address}/export/{page.told['welcome']['token']}/autodrag.gif")
    assert answer.status_code == 400 and "the server's log has it" in answer.json()["error"]
