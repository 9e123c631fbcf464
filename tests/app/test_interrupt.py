"""Ctrl+C ends the editor in one line, with a page open and work under way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a process alone")
def test_ctrl_c_ends_the_editor_without_a_traceback(repository: Path) -> None:
    command = [sys.executable, "scripts/app.py", "port=0"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    with subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        address = said.split("http://")[1].split(" ")[0]
        with connect(f"ws://{address}/socket", max_size=None) as socket:
            assert json.loads(socket.recv(timeout=120))["type"] == "welcome"
            drag = {"handles": [[120, 150]], "targets": [[140, 138]], "pins": [], "again": False}
            socket.send(json.dumps({"type": "release", "gesture": 1, "time": 0.0, **drag}))
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert process.wait(timeout=120) == 0
    assert rest == "The editor has stopped.\n"
