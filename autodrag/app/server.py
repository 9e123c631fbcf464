"""The web server of the editor: page, socket, uploads, downloads. It uses sessions through controllers only."""

import asyncio
import os
import socket as socket_module
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import torch
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware

from autodrag.app.client import Client
from autodrag.app.events import Note
from autodrag.app.hub import AppConfig, Hub
from autodrag.app.protocol import MAX_POINTS, MAX_SEED, MAX_STROKE, MAX_TEXT, Shown, read_message
from autodrag.app.transfers import add_routes
from autodrag.devices import in_passing, pick_device
from autodrag.editor.model_cache import ModelCache
from autodrag.errors import InputError
from autodrag.loading import load_generator
from autodrag.precision import choose

CallNext = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, CallNext], Awaitable[Response]]

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
TAKEN = 4001  # code of the socket: another page has the session now
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def create_app(config: AppConfig, models: ModelCache, dataset: str) -> FastAPI:
    """The web application, for models that hold the generator `dataset`."""
    hub = Hub(config, models, dataset)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        hub.close()

    app = FastAPI(title="autodrag", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.hub = hub
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *config.hosts, config.host])
    app.middleware("http")(_guarded(config.hosts))
    app.add_exception_handler(InputError, _refused)
    app.add_api_route("/", _page, methods=["GET"], response_class=FileResponse)
    add_routes(app)
    app.add_api_websocket_route("/socket", _socket)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _guarded(hosts: tuple[str, ...]) -> Middleware:
    """Security headers for every response; requests that change anything must come from the editor's own page."""

    async def guard(request: Request, call_next: CallNext) -> Response:
        if request.method != "GET" and not _same_origin(request.headers, hosts):
            return JSONResponse({"error": "Only the editor's own page may do this."}, 403)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return guard


def _same_origin(headers: Headers, hosts: tuple[str, ...]) -> bool:
    """Whether a request comes from a page of this server. Clients other than browsers send no origin.

    hosts: names that the page is opened under, independent of a proxy's name for the server.
    """
    origin = headers.get("origin")
    page = urlsplit(origin or "")
    return origin is None or page.netloc == headers.get("host") or page.hostname in hosts


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


async def _socket(socket: WebSocket) -> None:
    hub: Hub = socket.app.state.hub
    if not _same_origin(socket.headers, hub.config.hosts):
        await socket.close(1008)
        return
    await socket.accept()
    try:
        token, fresh = socket.query_params.get("token", ""), "fresh" in socket.query_params
        async with hub.page(token, fresh) as (client, visit):
            await _converse(socket, client, visit, client.token == token)
    except InputError as error:
        await socket.send_json({"type": "refused", "text": str(error)})
        await socket.close(1013)


async def _converse(socket: WebSocket, client: Client, visit: asyncio.Event, known: bool) -> None:
    """Receive and send until the page disconnects, another page takes the session, or an error occurs."""
    parts = (_listen(socket, client), _tell(socket, client, known), visit.wait())
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait([*tasks, client.working], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if visit.is_set():
            await socket.close(TAKEN)
    except WebSocketDisconnect:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: WebSocket, client: Client) -> None:
    """Receive messages until the page disconnects. No order is dropped: a page that is too fast waits."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        try:
            order = read_message(message.get("text") or "")
            if isinstance(order, Shown):
                client.outbox.shown()
            else:
                await client.inbox.room(order)
                client.inbox.put(order)
        except InputError as error:
            client.outbox.put(Note(str(error)))


async def _tell(socket: WebSocket, client: Client, known: bool) -> None:
    """Send a greeting, then all messages, until the page disconnects. known: the page returns to its session."""
    hub: Hub = socket.app.state.hub
    datasets = [{"name": offer.name, "missing": offer.missing} for offer in hub.models.datasets()]
    invert = {"steps": hub.config.invert.steps, "tune": hub.config.invert.tune_steps}
    limits = {"points": MAX_POINTS, "stroke": MAX_STROKE, "seed": MAX_SEED, "generator_mb": hub.config.max_generator_mb}
    about = {"token": client.token, "known": known, "datasets": datasets, "invert": invert, "limits": limits}
    await socket.send_json({"type": "welcome", **about})
    await client.tell(socket.send_text, socket.send_bytes)


def serve(config: AppConfig) -> None:
    """Load the generator, print the address and serve until interrupted. Raises InputError if that is impossible."""
    device = pick_device(config.device)
    dtype = in_passing(lambda: getattr(torch, choose(config.dtype, device)))
    models = ModelCache(str(device), dtype, closed=True, weights=config.weights)
    listening = _bind(config.host, config.port)
    name = in_passing(lambda: models.add(load_generator(config.dataset, models.device, models.dtype), config.dataset))
    address = f"http://{config.host}:{listening.getsockname()[1]}"
    print(f"The editor is at {address} (stop it with Ctrl+C).", file=sys.stderr, flush=True)
    if config.host not in LOOPBACK:
        print(f"Everyone who reaches {config.host} can use it, and this machine's time.", file=sys.stderr, flush=True)
    if config.open_browser:
        webbrowser.open(address)
    with suppress(KeyboardInterrupt):  # uvicorn has stopped by then
        uvicorn.Server(uvicorn_config(create_app(config, models, name))).run(sockets=[listening])
    print("The editor has stopped.", file=sys.stderr, flush=True)


def uvicorn_config(app: FastAPI, port: int = 8000) -> uvicorn.Config:
    """Configuration of the server: quiet, limited message sizes, a timeout of 40 s for silent pages."""
    return uvicorn.Config(
        app,
        port=port,
        log_level="warning",
        ws_max_size=4 * MAX_TEXT,
        ws_per_message_deflate=False,  # pictures are compressed already
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
