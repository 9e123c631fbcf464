"""Downloads of published generator files: resumable, verified and atomic, with a progress bar."""

import bz2
import hashlib
import http.client
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from autodrag.config import DatasetConfig, Source
from autodrag.errors import InputError

if sys.platform != "win32":
    import fcntl

DRIVE_DOWNLOAD = "https://drive.usercontent.google.com/download?id={}&export=download"
DRIVE_PAGE = "https://drive.google.com/file/d/{}/view"
RETRIES = 4  # after the server has responded once
RETRY_SECONDS = 2.0
TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 20
_PACKED = ".bz2"
_Response: TypeAlias = http.client.HTTPResponse | urllib.error.HTTPError
_MAX_PAGE = 1 << 20

#: dlib's predictor of 68 landmarks for photographs. The download is compressed; the hash is of the unpacked file.
PHOTO_PREDICTOR = Source(
    file="shape_predictor_68_face_landmarks.dat",
    url="https://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2",
    drive_id=None,
    sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    licence="non-commercial",
)


@dataclass(frozen=True)
class DownloadConfig:
    """`configs/download.yaml`."""

    dataset: DatasetConfig  # whose generator to download
    landmarks: bool  # also dlib's landmark predictor


def run(cfg: DownloadConfig) -> None:
    """Download and verify the files, and print their paths and licences."""
    for source in (cfg.dataset.source, *([PHOTO_PREDICTOR] if cfg.landmarks else [])):
        path = fetch(source)
        verify(source)
        print(f"{path} ({source.licence})")


def fetch(source: Source) -> Path:
    """The local path of the file of `source`, which is downloaded first if missing.

    An interrupted download is resumed (`.part` beside the target). If several processes request the same file, one
    downloads it and the others wait. Files from a `.bz2` URL are unpacked unless their own name ends in .bz2.

    Raises InputError if it cannot be downloaded, with the URL and the folder to put the file into.
    """
    target = source.path
    if target.is_file() or not source.remote:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target.with_name(f"{target.name}.lock")):
            if not target.is_file():
                _download(source, target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({_reason(error)}); free some space or set AUTODRAG_MODELS."
        ) from error
    return target


def verify(source: Source) -> None:
    """Raises InputError if the file is missing or, if its hash is known, not the published one."""
    if not source.path.is_file():
        raise InputError(f"{source.path} does not exist; it ships with the package, so reinstall the package.")
    if not _is_right(source.path, source.sha256):
        raise InputError(
            f"{source.path} is not the published file (its SHA-256 differs); delete it and download it again."
        )


def address(source: Source) -> str:
    """The URL of the file to show to users."""
    return source.url or DRIVE_PAGE.format(source.drive_id)


class _UnavailableError(Exception):
    """The server does not provide the file; the message says why."""


class _BrokenError(_UnavailableError):
    """The connection failed or ended early; a retry may succeed."""


def _download(source: Source, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    resumed = _size(part) > 0
    packed = source.url is not None and source.url.endswith(_PACKED) and not target.name.endswith(_PACKED)
    try:
        _receive(source, part)
        right = _finished(part, packed, source.sha256)
        if resumed and not right:  # the partial file may be of an older version, or damaged
            part.unlink()
            _receive(source, part)
            right = _finished(part, packed, source.sha256)
    except _UnavailableError as error:
        raise InputError(
            f"{source.file} cannot be downloaded from {address(source)} ({error}); "
            f"download it on another machine and put it into {target.parent}."
        ) from error
    if not right:
        part.unlink()
        raise InputError(
            f"The download from {address(source)} is not the published {source.file} (its SHA-256 differs) and was "
            f"deleted; try again, or put the right file into {target.parent}."
        )
    part.replace(target)


def _finished(part: Path, packed: bool, sha256: str | None) -> bool:
    """Unpack a bz2 archive in place; whether the file is whole and the published one. Raises OSError (disk)."""
    if not packed:
        return _is_right(part, sha256)
    whole = part.with_name(f"{part.name}.unpacked")
    try:
        with bz2.open(part) as archive, whole.open("wb") as file:
            shutil.copyfileobj(archive, file, _CHUNK)
    except (EOFError, OSError) as error:
        whole.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return False  # cut short, or no archive
    whole.replace(part)
    return _is_right(part, sha256)


def _receive(source: Source, part: Path) -> None:
    """Download the file into `part`, which may hold its beginning. Raises _UnavailableError, OSError (disk)."""
    patience = 0  # retries left; none if the server never responded
    while True:
        before = _size(part)
        try:
            return _continue(source, part)
        except _BrokenError:
            patience = RETRIES if _size(part) > before else patience - 1
            if patience < 0:
                raise
            time.sleep(RETRY_SECONDS)


def _continue(source: Source, part: Path) -> None:
    """Request the rest of `part` in one connection."""
    offset = _size(part)
    with closing(_response(source, offset)) as response:
        if response.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("Content-Range", "").endswith(f"/{offset}"):
                return None  # already complete
            part.unlink()  # longer than the published file
            return _continue(source, part)
        if response.status != http.client.PARTIAL_CONTENT:
            offset = 0  # the server does not support ranges
        length = response.headers.get("Content-Length")
        total = None if length is None else offset + int(length)
        with (
            part.open("ab" if offset else "wb") as file,
            tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=source.file, file=sys.stderr) as bar,
        ):
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) < total:
        raise _BrokenError("the connection ended early")
    return None


def _read(response: _Response) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_reason(error)) from error


def _response(source: Source, offset: int) -> _Response:
    """The response with the file from byte `offset`, after Google Drive's confirmation page for large files."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    url = source.url or DRIVE_DOWNLOAD.format(source.drive_id)
    response = _open(opener, url, offset)
    if source.drive_id is not None and _is_page(response):
        with closing(response):
            confirmed = _confirmation(url, _read(response)[:_MAX_PAGE].decode("utf-8", "replace"))
        if confirmed is None:
            raise _UnavailableError("Google Drive shows a page without a download; its quota may be exceeded")
        response = _open(opener, confirmed, offset)
    if _is_page(response):
        response.close()
        raise _UnavailableError("the server sent a web page instead of the file")
    return response


def _open(opener: urllib.request.OpenerDirector, url: str, offset: int) -> _Response:
    headers = {"User-Agent": "autodrag", "Accept-Encoding": "identity"} | (
        {"Range": f"bytes={offset}-"} if offset else {}
    )
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise _UnavailableError("the address is not http or https")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (its scheme is checked above)
    try:
        response: _Response = opener.open(request, timeout=TIMEOUT_SECONDS)
        return response
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        raise _UnavailableError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_reason(error)) from error


def _is_page(response: _Response) -> bool:
    return response.headers.get_content_type() == "text/html" and "Content-Disposition" not in response.headers


class _Form(HTMLParser):
    """Parses the URL of a page's download form or confirmation link."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.link: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects the action of a form and its fields."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = found.get("action")
        elif tag == "input" and "name" in found:
            self.fields[found["name"]] = found.get("value", "")
        elif tag == "a" and "confirm=" in found.get("href", ""):
            self.link = found["href"]


def _confirmation(url: str, page: str) -> str | None:
    """The URL behind Google Drive's warning about large files; None if the page has none."""
    form = _Form()
    form.feed(page)
    if form.action is not None and "confirm" in form.fields:
        return f"{urllib.parse.urljoin(url, form.action)}?{urllib.parse.urlencode(form.fields)}"
    return None if form.link is None else urllib.parse.urljoin(url, form.link)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """A lock between processes; no effect on Windows, whose locks do not wait."""
    if sys.platform == "win32":
        yield
        return
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_right(path: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return True
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: BaseException) -> str:
    """The reason of an error in one line."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = getattr(error, "strerror", None) or inner or error
    return " ".join(str(text).split()) or type(error).__name__
