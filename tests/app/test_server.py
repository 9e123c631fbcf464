"""The server: sessions of their own, the newest pictures only, uploads and downloads."""

from typing import Any

import numpy as np

DRAG = {"handles": [[20, 30]], "targets": [[28, 30]], "pins": [], "again": False}


def test_a_pull_is_followed_and_kept(page: Any) -> None:
    first = page.pictures["main"]
    page.say(type="method", name="draggan", steps=3)
    page.say(type="pull", gesture=1, time=1, **DRAG)
    page.until("main")
    page.say(type="release", gesture=1, time=2, **DRAG)
    page.until("main", final=True)
    session = page.told["session"]
    assert session["frames"] >= 4
    assert session["undo"]
    assert session["handles"] == [[20, 30]]
    assert page.headers["main"]["points"] == session["points"]
    dragged = page.pictures["main"]
    assert not np.array_equal(first, dragged)
    page.say(type="undo")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], first)
    page.say(type="redo")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], dragged)
    page.say(type="show", index=0)
    page.until("scrub")
    assert np.array_equal(page.pictures["scrub"], first)
