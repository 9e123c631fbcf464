"""Uploads and downloads: images, sessions, films. A token names the session."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request, Response

from autodrag.app.hub import Hub
from autodrag.app.orders import GeneratorFile, MaskFile, OwnImage, SessionFile
from autodrag.app.views import preview
from autodrag.editor.photo import Crop
from autodrag.errors import InputError

MEDIA = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "safetensors": "application/octet-stream",
    "mask": "image/png",
    "py": "text/x-python",
}


def add_routes(app: FastAPI) -> None:
    """Add the routes of uploads and downloads; `app.state.hub` holds the sessions."""
    app.add_api_route("/upload/{token}/preview", _upload_preview, methods=["POST"], response_class=Response)
    app.add_api_route("/upload/{token}/image", _upload_image, methods=["POST"])
    app.add_api_route("/upload/{token}/session", _upload_session, methods=["POST"])
    app.add_api_route("/upload/{token}/mask", _upload_mask, methods=["POST"])
    app.add_api_route("/upload/{token}/generator", _upload_generator, methods=["POST"])
    app.add_api_route("/export/{token}/autodrag.{kind}", _export, methods=["GET"], response_class=Response)


async def _upload_preview(request: Request, token: str) -> Response:
    """What the user crops: browsers know fewer formats, and other metadata that turns an image."""
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    data = await _body(request, hub.config.max_upload_mb)
    return Response(await client.run(preview, data), media_type="image/jpeg")


async def _upload_image(
    request: Request,
    token: str,
    steps: Annotated[int, Query(ge=1, le=2000)] = 0,
    tune: Annotated[int, Query(ge=0, le=1000)] = 0,
    align: bool = True,
    crop: Annotated[str | None, Query(max_length=120)] = None,
) -> dict[str, bool]:
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    data = await _body(request, hub.config.max_upload_mb)
    usual = hub.config.invert
    config = replace(usual, steps=steps or usual.steps, tune_steps=tune, align=align and usual.align)
    client.inbox.put(OwnImage(data, config, None if crop is None else _crop(crop)))
    return {"ok": True}


def _crop(text: str) -> Crop:
    """Parse "x,y,width,turn" as a crop. Raises InputError unless it lies on the photograph."""
    try:
        x, y, width, turn = map(float, text.split(","))
    except ValueError:
        raise InputError("The crop is no four numbers: x, y, width, turn.") from None
    if not (-1 <= x <= 2 and -20 <= y <= 20 and 0.005 <= width <= 40 and -360 <= turn <= 360):
        raise InputError("The crop lies nowhere on the picture: move it there.")
    return Crop(x, y, width, turn)


async def _upload_session(
    request: Request, token: str, copy: Annotated[str | None, Query(max_length=64)] = None
) -> dict[str, bool]:
    """copy: the page's key of this session, if it is the one that the page had before."""
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    data = await _body(request, hub.config.max_session_mb, "max_session_mb")
    if copy is None:
        client.inbox.put(SessionFile(data))
    else:
        await client.restore(data, copy)
    return {"ok": True}


async def _upload_mask(request: Request, token: str) -> dict[str, bool]:
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    client.inbox.put(MaskFile(await _body(request, hub.config.max_upload_mb)))
    return {"ok": True}


async def _upload_generator(
    request: Request, token: str, name: Annotated[str, Query(max_length=255)]
) -> dict[str, bool]:
    hub: Hub = request.app.state.hub
    client = hub.client(token)
    most = hub.config.max_generator_mb
    if not most:
        raise InputError("This server opens no generator files.")
    client.inbox.put(GeneratorFile(await _body(request, most, "max_generator_mb"), name))
    return {"ok": True}


async def _body(request: Request, most_mb: int, key: str = "max_upload_mb") -> bytes:
    """The uploaded bytes, read up to the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_mb * 2**20:
            raise InputError(f"The file is larger than {most_mb} MB: give a smaller one, or raise {key}.")
        parts.append(part)
    return b"".join(parts)


async def _export(
    request: Request,
    token: str,
    kind: Literal["png", "jpg", "gif", "mp4", "safetensors", "mask", "py"],
    frame: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    hub: Hub = request.app.state.hub
    data = await hub.client(token).export(kind, frame)
    return Response(
        data, media_type=MEDIA[kind], headers={"Content-Disposition": f'attachment; filename="autodrag.{kind}"'}
    )
