"""`scripts/bench.py editor`: pictures a second and delay while a pointer pulls, through the server and its socket."""

import json
import math
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, sleep

import cv2
import numpy as np
import torch
import uvicorn
from websockets.sync.client import ClientConnection, connect

from autodrag.app.hub import AppConfig
from autodrag.app.server import create_app, uvicorn_config
from autodrag.bench.measure import device_name, write_record
from autodrag.bench.models import autodrag_weights, generator_loader
from autodrag.config import compose, load_dataset, typed
from autodrag.devices import in_passing, pick_device
from autodrag.editor.model_cache import ModelCache
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.models import ModelConfig


@dataclass(frozen=True)
class EditorBench:
    """What is timed; see configs/bench/editor.yaml."""

    generator: str
    drag_method: str
    weights: str | None
    model: ModelConfig
    pages: int
    rate: float
    seconds: float
    dtype: str
    device: str
    out: str


@dataclass(frozen=True)
class Pulls:
    """Of one page. delays: milliseconds from each move of the pointer that was answered to its decoded picture."""

    delays: list[float]
    seconds: float


def run(config: EditorBench) -> None:
    """Prints one line and writes its numbers to `config.out`."""
    device = pick_device(config.device)
    generator = in_passing(generator_loader(config.generator, config.dtype, device))
    with tempfile.TemporaryDirectory() as folder:
        models = ModelCache(config.device, generator.dtype, closed=True, weights=config.weights)
        trained = in_passing(lambda: _provide(models, generator, config, Path(folder)))
        with _serving(models, generator.name, config) as address:
            pulls = _pull_all(address, generator.resolution, config)
    delays = sorted(delay for page in pulls for delay in page.delays)
    if len(delays) < 2:
        raise InputError(f"Fewer than two pictures came in {config.seconds:g} s: give more seconds.")
    numbers = {
        "frames_a_second_and_page": sum(len(page.delays) / page.seconds for page in pulls) / len(pulls),
        "delay_ms_median": median(delays),
        "delay_ms_95": quantiles(delays, n=20)[-1],
    }
    print(f"{device_name(device)}, torch {torch.__version__}")
    name = config.drag_method if trained else f"{config.drag_method} (random weights)"
    print(
        f"{config.generator} {generator.resolution[0]} px {config.dtype}, {name}, {config.pages} page(s): "
        f"{numbers['frames_a_second_and_page']:.1f} pictures a second, "
        f"{numbers['delay_ms_median']:.0f} ms from pointer to picture ({numbers['delay_ms_95']:.0f} ms for 19 of 20)"
    )
    write_record(config.out, device, config, {"trained": trained, **numbers})


def _provide(models: ModelCache, generator: FrozenGenerator, config: EditorBench, folder: Path) -> bool:
    """Offer the generator, with a random AutoDrag where it has none. Returns whether the method is a trained one."""
    name = models.add(generator, None if generator.name != config.generator else load_dataset(config.generator))
    if config.drag_method != "autodrag":
        models.method(config.drag_method, generator, name)
        return True
    models.weights, trained = autodrag_weights(generator, config.model, config.weights, folder)
    return trained


@contextmanager
def _serving(models: ModelCache, dataset: str, config: EditorBench) -> Iterator[str]:
    """The address of the editor's server, ws://..., in a thread."""
    shipped = typed(AppConfig, compose("app"))
    app = create_app(replace(shipped, first_method=config.drag_method, max_clients=config.pages), models, dataset)
    server = uvicorn.Server(uvicorn_config(app, port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    (port,) = {listening.getsockname()[1] for one in server.servers for listening in one.sockets}
    try:
        yield f"ws://127.0.0.1:{port}/socket"
    finally:
        server.should_exit = True
        thread.join()


def _pull_all(address: str, resolution: tuple[int, int], config: EditorBench) -> list[Pulls]:
    results: list[Pulls] = []

    def one() -> None:
        with connect(address, max_size=None) as socket:
            results.append(_pull(socket, resolution, config))

    threads = [threading.Thread(target=one) for _ in range(config.pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _pull(socket: ClientConnection, resolution: tuple[int, int], config: EditorBench) -> Pulls:
    """Pull a point of the middle round in a circle; the first two pictures warm up and do not count."""
    height, width = resolution
    middle = [width / 2, height / 2]
    delays: list[float] = []
    while _picture(socket, 60.0) is None:
        pass
    begin = last = perf_counter()
    while perf_counter() - begin < config.seconds or len(delays) < 2:
        if perf_counter() - last >= 1 / config.rate:
            last = perf_counter()
            angle = (last - begin) * 2
            target = [middle[0] + width / 16 * math.cos(angle), middle[1] + height / 16 * math.sin(angle)]
            drag = {"handles": [middle], "targets": [target], "pins": [], "again": False}
            socket.send(json.dumps({"type": "pull", "gesture": 1, "time": last * 1000, **drag}))
        sent = _picture(socket, max(0.0, 1 / config.rate - (perf_counter() - last)))
        if sent:
            delays.append(perf_counter() * 1000 - sent)
            if len(delays) == 2:
                begin = perf_counter()
    return Pulls(delays[2:], perf_counter() - begin)


def _picture(socket: ClientConnection, seconds: float) -> float | None:
    """Wait for a message: when the pull that a picture answers was sent, 0 for other pictures; None: no picture."""
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
