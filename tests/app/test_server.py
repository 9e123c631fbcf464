"""The server: sessions of their own, the newest pictures only, uploads and downloads."""

import gc
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from autodrag.app.controller import Controller
from autodrag.app.hub import AppConfig
from autodrag.editor.session import Editor
from autodrag.generator import FrozenGenerator
from autodrag.images import encode
from autodrag.pictures import read_picture
from third_party.stylegan2.readers import write_safetensors

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


def test_a_look_at_the_history_does_not_end_a_comparison(page: Any) -> None:
    page.say(type="method", name="draggan", steps=4)
    page.say(type="compare", methods=["draggan", "freedrag"], **DRAG)
    page.until("work")
    page.say(type="glance", index=0)
    done: set[str] = set()
    while done != {"draggan", "freedrag"}:  # else nothing more comes
        lane = page.hear()
        if page.headers.get(lane, {}).get("done"):
            done.add(lane)
    assert any(lane.startswith("moment") for lane in page.pictures)


def test_arrows_masks_styles_and_seeds(page: Any) -> None:
    page.say(type="method", name="freedrag", steps=2)
    page.say(type="brush", points=[[20, 30], [28, 30]], radius=12, paint="change")
    page.until("mask")
    page.say(type="grow", on=False)
    page.until("session")
    mask = page.pictures["mask"][:, :, 0]
    assert mask[30, 24] == 255
    assert mask[60, 60] == 0
    before = page.pictures["main"]
    page.say(type="release", gesture=5, time=0, **DRAG)
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"][mask == 0], before[mask == 0])
    page.say(type="invert_mask")
    page.until("main", final=True)
    assert page.told["session"]["masked"]
    page.say(type="clear_mask")
    page.until("main", final=True)
    assert not page.told["session"]["masked"]
    assert page.notes.pop().startswith("The mask is gone: what it kept")
    page.say(type="style", style=9, amend=False, settled=True)
    page.until("main", final=True)
    assert page.told["session"]["frames"] == 3
    for index in range(20):
        page.say(type="picture", seed=5, psi=index / 20, style=None, amend=index > 0, settled=index == 19)
    page.until("main", final=True)
    assert page.told["session"]["psi"] == 0.95
    page.say(type="undo")
    page.until("main", final=True)
    assert page.told["session"]["style"] == "9"
    assert not page.notes


def test_methods_are_compared_and_one_is_taken(page: Any) -> None:
    page.say(type="method", name="draggan", steps=4)
    page.until("session")
    page.say(type="compare", methods=["draggan", "autodrag", "freedrag"], **DRAG)
    page.until("draggan", final=True)
    taken = page.pictures["draggan"]
    assert page.headers["draggan"]["done"]
    page.say(type="stop")
    page.until("main", final=True)
    page.say(type="take", method="draggan")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], taken)
    assert any("autodrag" in note or "AutoDrag" in note for note in page.notes)
    page.say(type="take", method="draggan")
    page.until("note")
    assert page.notes[-1] == "There is no such result any more: compare again."


def test_every_page_has_a_session_of_its_own(open_page: Any) -> None:
    pages = [open_page() for _ in range(10)]
    for seed, page in enumerate(pages):
        page.say(type="picture", seed=seed + 50, psi=1.0, style=None, amend=False, settled=True)
    for page in pages:
        page.until("main", final=True)
    for seed, page in enumerate(pages):
        assert page.told["session"]["seed"] == str(seed + 50)
    shown = {page.pictures["main"].tobytes() for page in pages}
    assert len(shown) == 10


def test_a_page_that_vanishes_frees_its_session(open_page: Any) -> None:
    def controllers() -> int:
        return sum(type(thing) is Controller for thing in gc.get_objects())

    before = controllers()  # those of earlier tests may still go, so this is a bound
    pages = [open_page() for _ in range(5)]
    assert controllers() >= 5
    for page in pages[:3]:
        page.say(type="release", gesture=1, time=0, **DRAG)  # and is not there to see it
        page.socket.close()
    for page in pages[3:]:
        page.socket.socket.close()  # without a goodbye
    for _ in range(2400):
        gc.collect()
        if controllers() <= before:
            return
        time.sleep(0.05)
    raise AssertionError(f"{controllers() - before} sessions are still there")


def test_too_many_pages_are_refused_until_one_closes(address: str, open_page: Any, config: AppConfig) -> None:
    pages = [open_page() for _ in range(config.max_clients)]
    with connect(address.replace("http", "ws") + "/socket") as socket:
        refused = json.loads(socket.recv(timeout=120))
    assert refused["type"] == "refused"
    assert "close one" in refused["text"]
    pages[0].socket.close()
    for _ in range(2400):
        with connect(address.replace("http", "ws") + "/socket") as socket:
            if json.loads(socket.recv(timeout=120))["type"] == "welcome":
                return
        time.sleep(0.05)
    raise AssertionError("the place was not given back")


def test_files_go_up_and_down(address: str, page: Any) -> None:
    token = page.told["welcome"]["token"]
    page.say(type="method", name="draggan", steps=2)
    page.say(type="release", gesture=1, time=0, **DRAG)
    page.until("main", final=True)
    dragged = page.pictures["main"]
    files = {}
    for kind, start in (
        ("png", b"\x89PNG"),
        ("jpg", b"\xff\xd8"),
        ("gif", b"GIF89a"),
        ("mp4", b"\0\0\0"),
        ("safetensors", b""),
    ):
        answer = httpx.get(f"{address}/export/{token}/autodrag.{kind}", timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(start)
        assert f'filename="autodrag.{kind}"' in answer.headers["content-disposition"]
        files[kind] = answer.content
    assert np.array_equal(read_picture(files["png"]), dragged)
    page.say(type="picture", seed=77, psi=1.0, style=None, amend=False, settled=True)
    page.until("main", final=True)
    httpx.post(f"{address}/upload/{token}/session", content=files["safetensors"])
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], dragged)
    assert page.told["session"]["frames"] == 3


def test_files_are_made_beside_the_server(address: str, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages wait for what runs in the thread of the server."""
    threads, export = [], Editor.export

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return export(*arguments)

    monkeypatch.setattr(Editor, "export", noted)
    token = page.told["welcome"]["token"]
    assert httpx.get(f"{address}/export/{token}/autodrag.safetensors", timeout=120).status_code == 200
    assert threads[0].startswith("autodrag")


def test_a_picture_is_inverted_taken_early_or_cancelled(address: str, page: Any) -> None:
    token = page.told["welcome"]["token"]
    picture = encode(page.pictures["main"], lossless=True)
    for ending in ("wait", "stop", "cancel"):
        steps = 5 if ending == "wait" else 900
        answer = httpx.post(f"{address}/upload/{token}/image?steps={steps}&tune=0", content=picture)
        assert answer.json() == {"ok": True}
        page.until("work")
        while page.told["work"]["what"] != "invert":
            page.until("work")
        if ending != "wait":
            page.say(type="undo")
            page.until("note")
            assert "being prepared" in page.notes[-1]
            page.say(type=ending)
        page.until("main", final=True)
        assert page.told["session"]["photo"] == (ending != "cancel")
        assert page.told["session"]["detail"] is (None if ending == "cancel" else True)
        if ending == "wait":
            detailed = page.pictures["main"]
            page.say(type="detail", on=False)
            page.until("main", final=True)
            assert page.told["session"]["detail"] is False
            assert not np.array_equal(page.pictures["main"], detailed)
        page.say(type="picture", seed=1, psi=1.0, style=None, amend=False, settled=True)
        page.until("main", final=True)
        assert not page.told["session"]["photo"]


def test_a_generator_file_is_opened_and_what_is_none_is_refused(page: Any, address: str, tmp_path: Path) -> None:
    network = FrozenGenerator.random(resolution=(32, 32), w_dim=16, seed=5).trainable_copy()
    write_safetensors(tmp_path / "mine.safetensors", network.config, network.state_dict())
    first, token = page.pictures["main"], page.told["welcome"]["token"]
    bad = httpx.post(f"{address}/upload/{token}/generator?name=bad.pkl", content=b"cos\nsystem\n(S'true'\ntR.")
    assert bad.status_code == 200
    page.until("note")
    assert "bad.pkl" in page.notes[-1]
    data = (tmp_path / "mine.safetensors").read_bytes()
    assert httpx.post(f"{address}/upload/{token}/generator?name=mine.safetensors", content=data).status_code == 200
    page.until("main", final=True)
    assert page.told["session"]["dataset"] == "mine"
    assert page.pictures["main"].shape == (32, 32, 3)
    page.say(type="undo")
    page.until("main", final=True)
    assert np.array_equal(page.pictures["main"], first)
    large = httpx.post(f"{address}/upload/{token}/generator?name=x.pkl", content=bytes(2**20 + 1))
    assert large.status_code == 400
    assert "max_generator_mb" in large.json()["error"]
