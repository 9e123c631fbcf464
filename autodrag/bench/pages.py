"""Simulated browser pages that drag at the editor's server, in a separate process without torch."""

import json
import math
import multiprocessing
import struct
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np
from websockets.sync.client import ClientConnection, connect

from autodrag.errors import InputError

PATIENCE = 120.0  # seconds until a page gives up that has too few pictures
WARM_UP, LEAST = 2, 2  # pictures that are not counted, and that are


@dataclass(frozen=True)
class Pulls:
    """Result of one page. delays: milliseconds from a pointer move to its decoded image, for moves with an image."""

    delays: list[float]
    seconds: float


def pull_all(address: str, resolution: tuple[int, int], pages: int, rate: float, seconds: float) -> list[Pulls]:
    """Open pages at ws://..., which drag concurrently with `rate` pointer moves per second each.

    Raises InputError if a page gets no first picture, or too few of its drag, in PATIENCE seconds.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_pull_in_threads, address, resolution, pages, rate, seconds).result()


def _pull_in_threads(address: str, resolution: tuple[int, int], pages: int, rate: float, seconds: float) -> list[Pulls]:
    def one(number: int) -> Pulls:
        with connect(address, max_size=None) as socket:
            return _pull(socket, resolution, rate, seconds)

    with ThreadPoolExecutor(pages) as threads:
        return list(threads.map(one, range(pages)))


def _pull(socket: ClientConnection, resolution: tuple[int, int], rate: float, seconds: float) -> Pulls:
    """Drag a point near the centre in a circle, for longer than `seconds` if fewer than LEAST images come by then."""
    height, width = resolution
    middle = [width / 2, height / 2]
    delays: list[float] = []
    begin = perf_counter()
    while _picture(socket, 1.0) is None:
        _check_patience(begin)
    begin = last = perf_counter()
    while perf_counter() - begin < seconds or len(delays) < WARM_UP + LEAST:
        if len(delays) < WARM_UP + LEAST:
            _check_patience(begin)
        if perf_counter() - last >= 1 / rate:
            last = perf_counter()
            angle = (last - begin) * 2
            target = [middle[0] + width / 16 * math.cos(angle), middle[1] + height / 16 * math.sin(angle)]
            drag = {"handles": [middle], "targets": [target], "pins": [], "again": False}
            socket.send(json.dumps({"type": "pull", "gesture": 1, "time": last * 1000, **drag}))
        sent = _picture(socket, max(0.0, 1 / rate - (perf_counter() - last)))
        if sent:
            delays.append(perf_counter() * 1000 - sent)
            if len(delays) == WARM_UP:
                begin = perf_counter()
    return Pulls(delays[WARM_UP:], perf_counter() - begin)


def _check_patience(begin: float) -> None:
    if perf_counter() - begin > PATIENCE:
        raise InputError(
            f"The editor sent too few pictures of a drag in {PATIENCE:g} s: read above what it said, or choose a "
            "smaller generator=."
        )


def _picture(socket: ClientConnection, seconds: float) -> float | None:
    """Wait for a message: the send time of the pull that an image responds to, 0 for other images; None: no image."""
    try:
        message = socket.recv(timeout=seconds)
    except TimeoutError:
        return None
    if isinstance(message, str):
        return None
    (size,) = struct.unpack("<I", message[:4])
    header = json.loads(message[4 : 4 + size])
    cv2.imdecode(np.frombuffer(message[4 + size :], np.uint8), cv2.IMREAD_COLOR)
    socket.send('{"type":"shown"}')
    return float(header.get("time", 0))
