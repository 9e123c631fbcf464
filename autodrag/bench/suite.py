"""`scripts/bench.py suite`: all benchmarks, the GPU tests and a short training, summarised in one table."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch

from autodrag.bench.measure import device_name, write_record
from autodrag.devices import pick_device
from autodrag.errors import InputError
from autodrag.files import make_folder

TAIL = 12  # lines of output shown of a failed part


@dataclass(frozen=True)
class Part:
    """One command of the suite."""

    command: str  # arguments of `python`
    seconds: float  # time limit


@dataclass(frozen=True)
class SuiteBench:
    """`configs/bench/suite.yaml`."""

    device: str
    out: str  # output folder
    parts: dict[str, Part]  # in order


@dataclass(frozen=True)
class Outcome:
    """Result of a part."""

    name: str
    command: str
    state: str  # done | failed | out of time
    seconds: float
    figures: dict[str, float]  # numbers by name
    said: str  # last lines of its output


def run(config: SuiteBench) -> None:
    """Run all parts, even if some fail, and write suite.md and suite.json to `out`.

    Raises InputError if the device is not available, on Windows, outside a checkout, for a folder name with blanks, and
    at the end if a part failed.
    """
    device = pick_device(config.device)
    if not hasattr(os, "killpg"):
        raise InputError(
            "The suite needs the process groups of Linux or macOS to end its parts: run its commands one by one, as in "
            "configs/bench/suite.yaml."
        )
    if not Path("scripts/bench.py").is_file():
        raise InputError("The suite runs scripts and tests of a checkout: start it in the root of the repository.")
    if shlex.split(config.out) != [config.out]:
        raise InputError(f"out={config.out} becomes part of commands: choose a folder without blanks or quotes.")
    out = make_folder(Path(config.out))
    outcomes = []
    for name, part in config.parts.items():
        outcomes.append(run_part(name, part, out))
        print(f"{name}: {outcomes[-1].state} after {outcomes[-1].seconds:.0f} s", flush=True)
        write_record(out / "suite.json", device, config, {"parts": [asdict(outcome) for outcome in outcomes]})
        (out / "suite.md").write_text(table(outcomes, device), encoding="utf-8")
    print(f"Wrote {out / 'suite.md'}.")
    if undone := [outcome.name for outcome in outcomes if outcome.state != "done"]:
        raise InputError(f"These parts failed: {', '.join(undone)}; see their output in {out / 'suite.md'}.")


def run_part(name: str, part: Part, out: Path) -> Outcome:
    """Run one command, which is killed with all its processes after `part.seconds`. Output: `out`/NAME.txt."""
    said = out / f"{name}.txt"
    record = out / f"{name}.json"
    record.unlink(missing_ok=True)
    start = perf_counter()
    with said.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(part.command)], stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            state = "done" if process.wait(part.seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            state = "out of time"
        finally:
            _end(process)
    seconds = perf_counter() - start
    lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    return Outcome(name, part.command, state, seconds, figures(record, out / name), "\n".join(lines[-TAIL:]))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and its children."""
    with suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def figures(record: Path, folder: Path) -> dict[str, float]:
    """The numbers of a benchmark's JSON, or the last ones logged in run folders; empty if there are neither."""
    if record.is_file():
        numbers = json.loads(record.read_text(encoding="utf-8"))
        return dict(_flat({key: value for key, value in numbers.items() if key not in ("config", "device", "torch")}))
    last: dict[str, float] = {}
    for stats in sorted(folder.rglob("stats.jsonl")):
        run_folder = str(stats.parent.relative_to(folder)).replace("/", ".")
        for line in stats.read_text(encoding="utf-8").splitlines():
            last |= _flat(json.loads(line), "" if run_folder == "." else run_folder)
    return last


def _flat(value: object, name: str = "") -> dict[str, float]:
    """The numbers in nested lists and dictionaries, by path."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(i), item) for i, item in enumerate(value)]
    else:
        return {name: float(value)} if isinstance(value, (int, float)) and not isinstance(value, bool) else {}
    found: dict[str, float] = {}
    for key, item in items:
        found |= _flat(item, f"{name}.{key}" if name else key)
    return found


def table(outcomes: list[Outcome], device: torch.device) -> str:
    """Markdown: a row per part, then the numbers of each, then the output of failed ones."""
    where = device_name(device) if device.type == "cuda" else f"{device_name(device)}. **Not run on a GPU**"
    total = sum(outcome.seconds for outcome in outcomes)
    lines = [
        f"{where}, torch {torch.__version__}, {total:.0f} s",
        "",
        "| part | state | s | said |",
        "|---|---|---|---|",
    ]
    for o in outcomes:
        last = o.said.splitlines()[-1].replace("|", "/") if o.said else ""
        lines.append(f"| {o.name} | {o.state} | {o.seconds:.0f} | {last} |")
    for o in outcomes:
        lines += ["", f"## {o.name}", "", f"`python {o.command}`", ""]
        if o.figures:
            lines += [
                "| figure | value |",
                "|---|---|",
                *(f"| {key} | {value:.6g} |" for key, value in o.figures.items()),
            ]
        if o.state != "done" or not o.figures:
            lines += ["", "```", o.said, "```"]
    return "\n".join(lines) + "\n"
