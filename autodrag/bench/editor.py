"""`scripts/bench.py editor`: frame rate and latency of live drags, through the server and its socket."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import sleep

import torch
import uvicorn

from autodrag.app.hub import AppConfig
from autodrag.app.server import create_app, uvicorn_config
from autodrag.bench.measure import device_name, write_record
from autodrag.bench.models import autodrag_weights, generator_loader
from autodrag.bench.pages import pull_all
from autodrag.config import compose, load_dataset, typed
from autodrag.devices import in_passing, pick_device
from autodrag.editor.model_cache import ModelCache
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.models import ModelConfig


@dataclass(frozen=True)
class EditorBench:
    """`configs/bench/editor.yaml`, where the keys are described."""

    generator: str
    drag_method: str
    weights: str | None
    model: ModelConfig
    pages: int
    busy: int
    rate: float
    seconds: float
    dtype: str
    device: str
    out: str


def run(config: EditorBench) -> None:
    """Print one line and write its numbers to `config.out`. Raises InputError if too few pictures come."""
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    generator = in_passing(generator_loader(config.generator, config.dtype, device))
    with tempfile.TemporaryDirectory() as folder:
        models = ModelCache(config.device, generator.dtype, closed=True, weights=config.weights)
        trained = in_passing(lambda: _provide(models, generator, config, Path(folder)))
        with _serving(models, generator.name, config) as address, _beside(config.busy):
            pulls = pull_all(address, generator.resolution, config.pages, config.rate, config.seconds)
    delays = sorted(delay for page in pulls for delay in page.delays)
    rates = [len(page.delays) / page.seconds for page in pulls]
    numbers = {
        "frames_a_second_and_page": sum(rates) / len(rates),
        "frames_a_second_of_the_slowest_page": min(rates),
        "delay_ms_median": median(delays),
        "delay_ms_95": quantiles(delays, n=20)[-1],
    }
    print(f"{device_name(device)}, torch {torch.__version__}")
    name = config.drag_method if trained else f"{config.drag_method} (random weights)"
    beside = f" beside {config.busy} busy loop(s)" if config.busy else ""
    print(
        f"{config.generator} {generator.resolution[0]} px {config.dtype}, {name}, {config.pages} page(s){beside}: "
        f"{numbers['frames_a_second_and_page']:.1f} pictures per second, "
        f"{numbers['delay_ms_median']:.0f} ms from pointer to picture ({numbers['delay_ms_95']:.0f} ms for 19 of 20)"
    )
    write_record(config.out, device, config, {"trained": trained, **numbers})


def _provide(models: ModelCache, generator: FrozenGenerator, config: EditorBench, folder: Path) -> bool:
    """Add the generator, with a random AutoDrag if it has none. Returns whether the method is trained."""
    name = models.add(generator, None if generator.name != config.generator else load_dataset(config.generator))
    if config.drag_method != "autodrag":
        models.method(config.drag_method, generator, name)
        return True
    models.weights, trained = autodrag_weights(generator, config.model, config.weights, folder)
    return trained


@contextmanager
def _serving(models: ModelCache, dataset: str, config: EditorBench) -> Iterator[str]:
    """Run the editor's server in a thread; yields its address, ws://..."""
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


@contextmanager
def _beside(loops: int) -> Iterator[None]:
    """Run other processes at the same time, each of which keeps one core busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
