"""Downloads, against a server on this machine."""

import bz2
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

from autodrag import config, download
from autodrag.config import Source
from autodrag.download import fetch, verify
from autodrag.errors import InputError

DATA = bytes(range(256)) * 1200
SHA = hashlib.sha256(DATA).hexdigest()

WARNING = """<!DOCTYPE html><html><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{action}" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="ID"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="1-2"></form></body></html>"""
LINK = '<html><a id="uc-download-link" href="/drive?id=ID&amp;confirm=t&amp;uuid=1-2">Download anyway</a></html>'
QUOTA = "<!DOCTYPE html><html><body>Too many users have viewed or downloaded this file recently.</body></html>"


class Handler(http.server.BaseHTTPRequestHandler):
    """`/whole` knows no ranges, `/ranges` does, `/breaks` stops after a third, `/drive` asks for confirmation first."""

    def log_message(self, *_):
        """Quiet."""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.server.requests.append((url.path, self.headers.get("Range")))
        if url.path == "/missing":
            self.send_error(404)
        elif url.path == "/page":
            self.page(QUOTA)
        elif url.path in ("/drive", "/link", "/quota") and query.get("confirm") != "t":
            self.page(
                {"/drive": WARNING.format(action="/drive"), "/link": LINK, "/quota": QUOTA}[url.path], cookie=True
            )
        elif url.path == "/drive" and "download_warning=x" not in self.headers.get("Cookie", ""):
            self.send_error(403)
        else:
            self.file(url.path)

    def page(self, text, cookie=False):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if cookie:
            self.send_header("Set-Cookie", "download_warning=x")
        self.end_headers()
        self.wfile.write(text.encode())

    def file(self, path):
        data = bz2.compress(DATA) if path.endswith(".bz2") else DATA
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(start[1]) if start and path != "/whole" else 0
        if begin >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        third = len(data) // 3 + 1
        self.wfile.write(data[begin : begin + third] if path == "/breaks" else data[begin:])


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        running.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """The models folder, empty; the server's list of requests is empty, too."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(config, "MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(download, "DRIVE_DOWNLOAD", server.address + "/{}?id=ID&export=download")
    server.requests.clear()
    return tmp_path / "models"


def source(server, path="/ranges", sha256=SHA, file="g.pkl"):
    return Source(file, url=server.address + path, drive_id=None, sha256=sha256, licence="none")


def drive(kind, sha256=SHA):
    return Source("g.pkl", url=None, drive_id=kind, sha256=sha256, licence="none")


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("path", ["/whole", "/ranges"])
def test_a_file_arrives_whole_and_only_once(server, folder, path, capsys):
    wanted = source(server, path)
    assert fetch(wanted) == folder / "g.pkl"
    assert (folder / "g.pkl").read_bytes() == DATA
    assert left(folder) == ["g.pkl"]
    assert "g.pkl: 100%" in capsys.readouterr().err
    fetch(wanted)
    assert server.requests == [(path, None)]
    verify(wanted)


@pytest.mark.parametrize(("path", "begun"), [("/ranges", 1000), ("/whole", 1000), ("/ranges", len(DATA))])
def test_an_interrupted_download_continues(server, folder, path, begun):
    folder.mkdir()
    (folder / "g.pkl.part").write_bytes(DATA[:begun])
    assert fetch(source(server, path)).read_bytes() == DATA
    assert server.requests == [(path, f"bytes={begun}-")]
    assert left(folder) == ["g.pkl"]


@pytest.mark.parametrize("begun", [b"other" * 10, b"other" * len(DATA)])
def test_the_beginning_of_another_file_is_dropped(server, folder, begun):
    folder.mkdir()
    (folder / "g.pkl.part").write_bytes(begun)
    assert fetch(source(server)).read_bytes() == DATA
    assert server.requests[-1] == ("/ranges", None)


def test_a_broken_connection_is_resumed(server, folder):
    assert fetch(source(server, "/breaks")).read_bytes() == DATA
    third = len(DATA) // 3 + 1
    assert server.requests == [("/breaks", None), ("/breaks", f"bytes={third}-"), ("/breaks", f"bytes={2 * third}-")]


@pytest.mark.parametrize("kind", ["drive", "link"])
def test_google_drives_confirmation_is_followed(server, folder, kind):
    assert fetch(drive(kind)).read_bytes() == DATA
    assert [path for path, _ in server.requests] == [f"/{kind}", "/drive"]
    assert left(folder) == ["g.pkl"]


def test_an_archive_is_unpacked(server, folder):
    assert fetch(source(server, "/packed.bz2", file="p.dat")).read_bytes() == DATA
    assert fetch(source(server, "/packed.bz2", sha256=None, file="p.bz2")).read_bytes() == bz2.compress(DATA)
    assert left(folder) == ["p.bz2", "p.dat"]


@pytest.mark.parametrize("begun", [b"other" * 10, bz2.compress(DATA)[:40] + bytes(60), b"other" * len(DATA)])
def test_an_archive_with_a_wrong_beginning_is_downloaded_again(server, folder, begun):
    folder.mkdir()
    (folder / "p.dat.part").write_bytes(begun)
    assert fetch(source(server, "/packed.bz2", file="p.dat")).read_bytes() == DATA
    assert left(folder) == ["p.dat"]


def refused(wanted, *words):
    with pytest.raises(InputError) as caught:
        fetch(wanted)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert all(str(word) in text for word in words), text


def test_another_file_than_the_published_one(server, folder):
    wanted = source(server, sha256="0" * 64)
    refused(wanted, server.address, "SHA-256", folder)
    assert left(folder) == []
    (folder / "g.pkl").write_bytes(DATA)
    assert fetch(wanted).is_file()  # the user put it there
    with pytest.raises(InputError, match="SHA-256"):
        verify(wanted)


def test_refusals_of_a_server_give_a_clear_error(server, folder):
    refused(source(server, "/missing"), "404", server.address, folder)
    refused(source(server, "/page"), "web page", server.address, folder)
    refused(drive("quota"), "https://drive.google.com/file/d/quota/view", "quota", folder)
    assert left(folder) == []


def test_an_offline_machine_gets_the_address_and_the_folder(server, folder):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        address = f"http://127.0.0.1:{closed.server_port}/g.pkl"
    wanted = Source("g.pkl", url=address, drive_id=None, sha256=SHA, licence="none")
    refused(wanted, address, folder, "refused")
    assert left(folder) == []
    refused(Source("g.pkl", url="file:///etc/hosts", drive_id=None, sha256=None, licence=""), "not http or https")


def test_a_folder_that_cannot_be_written(server, folder):
    folder.write_text("a file")
    refused(source(server), folder, "cannot be written")


def test_two_at_once_download_once(server, folder):
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(source(server)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [folder / "g.pkl"] * 4
    assert len(server.requests) == 1
    assert left(folder) == ["g.pkl"]


def test_local_files_are_not_downloaded(folder):
    shipped = Source("/nowhere/mine.pkl", url=None, drive_id=None, sha256=None, licence="mine")
    assert fetch(shipped) == Path("/nowhere/mine.pkl")
    with pytest.raises(InputError, match="does not exist"):
        verify(shipped)


def test_command_line(repository, tmp_path):
    environment = os.environ | {"AUTODRAG_MODELS": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    command = [sys.executable, "scripts/download.py", "dataset=shhq"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "https://drive.google.com/file/d/1dlFEHbu-WzQWJl7nBBZYcTyo000H9hVm/view" in done.stderr
    assert str(tmp_path) in done.stderr
