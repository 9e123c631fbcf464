"""The web side of the editor: a page, a socket for it, uploads, downloads. It knows sessions by their desks only."""

import asyncio
import os
import socket as socket_module
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import torch
import uvicorn
from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware

from autodrag.app.client import Client
from autodrag.app.desk import Desk, OwnImage, SessionFile
from autodrag.app.events import Note
from autodrag.app.invert import InvertConfig
from autodrag.app.protocol import MAX_POINTS, MAX_SEED, MAX_STROKE, MAX_TEXT, Shown, read_message
from autodrag.app.session import Editor
from autodrag.app.studio import Studio
from autodrag.config import DatasetConfig
from autodrag.devices import in_passing
from autodrag.errors import InputError
from autodrag.generator import load_generator

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
MEDIA = {
    "png": "image/png",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "safetensors": "application/octet-stream",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class AppConfig:
    """`configs/app.yaml`. hosts: names beside the loopback's that the page may be opened under."""

    dataset: DatasetConfig
    first_method: str | None
    weights: str | None
    host: str
    port: int
    hosts: tuple[str, ...]
    device: str
    dtype: Literal["float32", "bfloat16", "float16"]
    workers: int
    max_clients: int
    max_upload_mb: int
    invert: InvertConfig
    open_browser: bool


class Hub:
    """The pages that are connected, by their tokens, and what they share."""

    def __init__(self, config: AppConfig, studio: Studio, dataset: str) -> None:
        self.config, self.studio, self.dataset = config, studio, dataset
        self.executor = ThreadPoolExecutor(config.workers, thread_name_prefix="autodrag")
        self.clients: dict[str, Client] = {}

    def client(self, token: str) -> Client:
        """The page of a token. Raises InputError where it is gone."""
        if token not in self.clients:
            raise InputError("The page of this address is closed: open it again.")
        return self.clients[token]

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Client]:
        """A new page with a session of its own, forgotten at the end. Raises InputError where there are too many."""
        if len(self.clients) >= self.config.max_clients:
            raise InputError(f"{self.config.max_clients} pages are open already: close one, or raise max_clients.")
        client = Client(self.executor)
        self.clients[client.token] = client  # it counts from now on, though its session takes a while
        try:
            await client.open(self._desk)
            yield client
        finally:
            del self.clients[client.token]

    def _desk(self) -> Desk:
        method = self.studio.usable(self.config.first_method, self.dataset)
        return Desk(self.studio, Editor(self.dataset, method=method, studio=self.studio))


def create_app(config: AppConfig, studio: Studio, dataset: str) -> FastAPI:
    """The web application, for a studio that holds the generator `dataset`."""
    hub = Hub(config, studio, dataset)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        hub.executor.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="autodrag", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.hub = hub
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *config.hosts, config.host])
    app.middleware("http")(_with_headers)
    app.add_exception_handler(InputError, _refused)
    app.add_api_route("/", _page, methods=["GET"], response_class=FileResponse)
    app.add_api_route("/upload/{token}/image", _upload_image, methods=["POST"])
    app.add_api_route("/upload/{token}/session", _upload_session, methods=["POST"])
    app.add_api_route("/export/{token}/autodrag.{kind}", _export, methods=["GET"], response_class=Response)
    app.add_api_websocket_route("/socket", _socket)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    if request.method != "GET" and not _same_origin(request.headers):
        return JSONResponse({"error": "Only the editor's own page may do this."}, 403)
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


def _same_origin(headers: Headers) -> bool:
    """Whether a browser's request comes from a page of this server; what is no browser sends no origin."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


async def _upload_image(
    request: Request,
    token: str,
    steps: Annotated[int, Query(ge=1, le=2000)] = 0,
    tune: Annotated[int, Query(ge=0, le=1000)] = 0,
    align: bool = True,
) -> dict[str, bool]:
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    data = await _body(request, hub.config.max_upload_mb)
    usual = hub.config.invert
    config = replace(usual, steps=steps or usual.steps, tune_steps=tune, align=align and usual.align)
    client.inbox.put(OwnImage(data, config))
    return {"ok": True}


async def _upload_session(request: Request, token: str) -> dict[str, bool]:
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    client.inbox.put(SessionFile(await _body(request, hub.config.max_upload_mb)))
    return {"ok": True}


async def _body(request: Request, most_mb: int) -> bytes:
    """What is uploaded, read no further than the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_mb * 2**20:
            raise InputError(f"The file is larger than {most_mb} MB: give a smaller one, or raise max_upload_mb.")
        parts.append(part)
    return b"".join(parts)


async def _export(request: Request, token: str, kind: Literal["png", "gif", "mp4", "safetensors"]) -> Response:
    hub: Hub = request.app.state.hub
    data = await hub.client(token).export(kind)
    return Response(
        data, media_type=MEDIA[kind], headers={"Content-Disposition": f'attachment; filename="autodrag.{kind}"'}
    )


async def _socket(socket: WebSocket) -> None:
    hub: Hub = socket.app.state.hub
    if not _same_origin(socket.headers):
        await socket.close(1008)
        return
    await socket.accept()
    try:
        async with hub.page() as client:
            await _converse(socket, client)
    except InputError as error:
        await socket.send_json({"type": "refused", "text": str(error)})
        await socket.close(1013)


async def _converse(socket: WebSocket, client: Client) -> None:
    """Listen, work and tell, until the page is gone or one of them fails."""
    tasks = [asyncio.ensure_future(task) for task in (_listen(socket, client), _tell(socket, client), client.work())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except WebSocketDisconnect:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: WebSocket, client: Client) -> None:
    """Take what the page says, until it is gone."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        try:
            order = read_message(message.get("text") or "")
            if isinstance(order, Shown):
                client.outbox.shown()
            else:
                client.inbox.put(order)
        except InputError as error:
            client.outbox.put(Note(str(error)))


async def _tell(socket: WebSocket, client: Client) -> None:
    """Say hello, then send whatever comes, until the page is gone."""
    hub: Hub = socket.app.state.hub
    datasets = [{"name": offer.name, "missing": offer.missing} for offer in hub.studio.datasets()]
    invert = {"steps": hub.config.invert.steps, "tune": hub.config.invert.tune_steps}
    limits = {"points": MAX_POINTS, "stroke": MAX_STROKE, "seed": MAX_SEED, "upload_mb": hub.config.max_upload_mb}
    await socket.send_json(
        {"type": "welcome", "token": client.token, "datasets": datasets, "invert": invert, "limits": limits}
    )
    await client.tell(socket.send_text, socket.send_bytes)


def serve(config: AppConfig) -> None:
    """Load the generator, say where the page is, and serve it until interrupted. Raises InputError where it cannot."""
    studio = Studio(config.device, DTYPES[config.dtype], closed=True, weights=config.weights)
    listening = _bind(config.host, config.port)
    name = in_passing(lambda: studio.add(load_generator(config.dataset, studio.device, studio.dtype), config.dataset))
    address = f"http://{config.host}:{listening.getsockname()[1]}"
    print(f"The editor is at {address} (stop it with Ctrl+C).", file=sys.stderr, flush=True)
    if config.host not in LOOPBACK:
        print(f"Everyone who reaches {config.host} can use it, and this machine's time.", file=sys.stderr, flush=True)
    if config.open_browser:
        webbrowser.open(address)
    uvicorn.Server(uvicorn_config(create_app(config, studio, name))).run(sockets=[listening])


def uvicorn_config(app: FastAPI, port: int = 8000) -> uvicorn.Config:
    """How the application is run: quietly, with bounded messages; a page that does not answer for 40 s is gone."""
    return uvicorn.Config(
        app,
        port=port,
        log_level="warning",
        ws_max_size=4 * MAX_TEXT,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=2,
    )


def _bind(host: str, port: int) -> socket_module.socket:
    try:
        return socket_module.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be served ({os.strerror(error.errno or 0)}): choose another host or port."
        ) from None
