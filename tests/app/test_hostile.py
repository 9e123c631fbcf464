"""Nothing that a client sends ends the server, is answered with a traceback, or is written anywhere."""

import json
import os
import random
import struct
import zlib
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from autodrag.app.hub import AppConfig
from autodrag.config import compose, typed
from autodrag.editor.model_cache import ModelCache
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator

MESSAGES = 3000

NUMBERS: list[Any] = [
    0,
    1,
    -1,
    20,
    63.5,
    1e300,
    -1e300,
    2**31,
    10**40,
    0.1,
    None,
    True,
    "7",
    [],
    {},
    float("nan"),
    float("inf"),
]
TEXTS = [
    "",
    "draggan",
    "none",
    "../../etc/passwd",
    "C:\\x",
    "random-0",
    "ffhq",
    "\u0000",
    "é" * 70,
    "/dev/zero",
    "a" * 70_000,
]
KINDS = ["picture", "style", "dataset", "method", "pull", "release", "compare", "take", "brush", "show", "shown"]
KINDS += ["undo", "redo", "reset", "stop", "cancel", "clear_mask", "invert_mask", "drop", "eval", ""]
FIELDS = ["seed", "psi", "style", "amend", "settled", "name", "steps", "handles", "targets", "pins", "again", "gesture"]
FIELDS += ["time", "methods", "method", "points", "radius", "paint", "index", "__proto__"]


def value(draw: random.Random, depth: int = 0) -> Any:
    """Something, sensible or not."""
    kind = draw.randrange(6 if depth < 3 else 3)
    if kind < 2:
        return draw.choice(NUMBERS)
    if kind == 2:
        return draw.choice(TEXTS)
    if kind == 3:
        return [[draw.choice(NUMBERS[:8]), draw.uniform(-9, 70)] for _ in range(draw.choice([0, 1, 2, 65, 1100]))]
    if kind == 4:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return draw.choice([True, False, "change", "keep", draw.uniform(0, 64), draw.randrange(100)])


def proper(draw: random.Random) -> dict[str, Any]:
    """A message of the right form with points anywhere, most of them outside."""
    points = [[draw.uniform(-100, 200), draw.uniform(-100, 200)] for _ in range(draw.randrange(1, 4))]
    drag = {"handles": points, "targets": points[::-1], "pins": [], "again": draw.random() < 0.5}
    return draw.choice(
        [
            {"type": "release", "gesture": draw.randrange(10**6), "time": 0.0, **drag},
            {"type": "pull", "gesture": draw.randrange(10**6), "time": -1e9, **drag},
            {"type": "compare", "methods": ["draggan", "magic"], **drag},
            {"type": "brush", "points": points * 9, "radius": draw.uniform(0.01, 1e5), "paint": "keep"},
            {"type": "show", "index": draw.randrange(2**31)},
            {"type": "method", "name": "draggan", "steps": draw.randrange(1, 4)},
            {"type": "dataset", "name": draw.choice(TEXTS[:10])},
            {
                "type": "picture",
                "seed": draw.randrange(2**31),
                "psi": 2.0,
                "style": None,
                "amend": True,
                "settled": True,
            },
            {"type": draw.choice(KINDS[11:18])},
        ]
    )


def message(draw: random.Random) -> str | bytes:
    """Any message: half of them readable."""
    kind = draw.random()
    if kind < 0.4:
        return json.dumps(proper(draw))
    if kind < 0.8:
        fields = {name: value(draw) for name in draw.sample(FIELDS, draw.randrange(8))}
        return json.dumps({"type": draw.choice(KINDS), **fields})
    if kind < 0.9:
        text = json.dumps(proper(draw))
        place = draw.randrange(len(text))
        return text[:place] + draw.choice(["", "\u0000", "}", "[[[[", "NaN", '"']) + text[place + 1 :]
    if kind < 0.95:
        return draw.randbytes(draw.randrange(200))
    return draw.choice(["[" * 5000, "", "null", '"', "{}", "1e999", r'"\ud83d"', "{" + '"a":' * 2000])


def test_thousands_of_messages(address: str, open_page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    memory = []
    sent = 0
    while sent < MESSAGES:
        with connect(address.replace("http", "ws") + "/socket", max_size=None, close_timeout=0.5) as socket:
            sent += annoy(socket, draw)  # it does not wait until the server has read all of it
        memory.append(resident())
    assert not list(tmp_path.iterdir())
    assert memory[-1] - memory[len(memory) // 4] < 60, memory
    page = open_page()
    page.say(type="undo")
    page.until("main", final=True)


def annoy(socket: Any, draw: random.Random) -> int:
    """Up to 500 messages; the server may close the connection, but not because it failed."""
    count = 0
    try:
        while count < 500:
            count += 1
            socket.send(message(draw))
            for _ in range(8):
                heard = hear(socket, 0.02 if count % 50 == 0 else 0)
                if heard is None:
                    break
                if isinstance(heard, str):
                    assert "Traceback" not in heard
                    assert 'File "' not in heard
                else:
                    socket.send('{"type":"shown"}')
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        assert closed.rcvd.code != 1011, "the server failed"
    return count


def resident() -> float:
    """MB of memory in use; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if status.exists() else 0.0


def hear(socket: Any, seconds: float) -> str | bytes | None:
    """What comes within this time."""
    try:
        return socket.recv(timeout=seconds)
    except TimeoutError:
        return None


def test_messages_are_bounded(address: str) -> None:
    with connect(address.replace("http", "ws") + "/socket", max_size=None) as socket, pytest.raises(ConnectionClosed):
        socket.send(json.dumps({"type": "undo", "more": "x" * 10_000_000}))  # it is cut off here or below
        while True:
            socket.recv(timeout=120)


def bomb() -> bytes:
    """100 KB that say they are a picture of 3 600 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_uploads_are_bounded_and_bombs_are_not_unpacked(address: str, page: Any) -> None:
    token = page.told["welcome"]["token"]
    for what in ("image", "session"):
        answer = httpx.post(f"{address}/upload/{token}/{what}", content=b"x" * (3 * 2**20), timeout=120)
        assert answer.status_code == 400
        assert "larger than 1 MB" in answer.json()["error"]
    before = resident()
    for data in (bomb(), b"\x80\x04\x95cos\nsystem\n", b"", b"\xff\xd8\xff" * 99):
        for what in ("image", "session"):
            httpx.post(f"{address}/upload/{token}/{what}", content=data)
            page.until("note")
            assert "Traceback" not in page.notes[-1]
    assert resident() - before < 100
    page.say(type="undo")
    page.until("main", final=True)


def test_paths_and_tokens_lead_nowhere_else(address: str, page: Any) -> None:
    token = page.told["welcome"]["token"]
    for path in (
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2f..%2fgenerator.py",
        "/export/../../etc/passwd",
        f"/export/{token}/autodrag.pkl",
        f"/export/{token}/autodrag.png/../../x",
        f"/export/{token}/..%2fx.png",
        "/docs",
        "/openapi.json",
    ):
        with closing(HTTPConnection(urlsplit(address).netloc, timeout=120)) as client:
            client.request("GET", path)  # as it is: httpx would remove the dots
            answer = client.getresponse()
            assert answer.status in (400, 404, 422), path
            assert b"import" not in answer.read()
    assert httpx.get(f"{address}/export/other/autodrag.png").json()["error"].startswith("The session of this page")
    assert httpx.post(f"{address}/upload/{token}/image?steps=1000000", content=b"").status_code == 422


def test_other_origins_and_hosts_are_refused(address: str, page: Any) -> None:
    token = page.told["welcome"]["token"]
    evil = {"Origin": "http://evil.example"}
    assert httpx.post(f"{address}/upload/{token}/image", content=b"", headers=evil).status_code == 403
    with pytest.raises(InvalidStatus), connect(address.replace("http", "ws") + "/socket", origin="http://evil.example"):
        pass
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400
    fine = httpx.get(address)
    assert fine.status_code == 200
    assert "script-src 'self'" in fine.headers["content-security-policy"]


def test_a_proxy_may_call_the_server_by_another_name(config: AppConfig, tiny: FrozenGenerator, serve: Any) -> None:
    """The page's origin is one of `hosts`; the proxy's request has the name of the machine behind it."""
    models = ModelCache("cpu", closed=True)
    with serve(replace(config, hosts=("demo.example",)), models, models.add(tiny)) as address:
        with connect(address.replace("http", "ws") + "/socket", origin="https://demo.example") as socket:
            token = json.loads(socket.recv(timeout=20))["token"]
            sent = httpx.post(f"{address}/upload/{token}/mask", content=b"", headers={"Origin": "https://demo.example"})
            assert sent.status_code == 200
        with pytest.raises(InvalidStatus), connect(address.replace("http", "ws") + "/socket", origin="http://evil.x"):
            pass


def test_impossible_settings_of_a_server_are_refused() -> None:
    for setting in ("port=-1", "port=99999", "max_clients=0", "workers=0"):
        with pytest.raises(InputError, match=f"Config key '{setting.partition('=')[0]}' is"):
            typed(AppConfig, compose("app", [setting]))
