"""The commands: `autodrag NAME key=value ...` once installed, `python scripts/NAME.py ...` in a checkout."""

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from autodrag import config
from autodrag.threads import share_cores


@dataclass(frozen=True)
class Command:
    """A command. Its modules are imported lazily, because importing torch takes seconds."""

    about: str  # one line
    settings: str  # MODULE:NAME of the config dataclass
    run: str  # MODULE:NAME of the function called with it


def _bench(name: str, about: str) -> Command:
    module = f"autodrag.bench.{name}"
    return Command(about, f"{module}:{name.title()}Bench", f"{module}:run")


COMMANDS = {
    "app": Command("the editor in a browser", "autodrag.app.hub:AppConfig", "autodrag.app.server:serve"),
    "drag": Command("drag one image or many", "autodrag.dragging:DragConfig", "autodrag.dragging:run"),
    "train": Command("train a stage", "autodrag.training.build:TrainConfig", "autodrag.training.run:run"),
    "trajectories": Command("make training samples", "autodrag.data.make:TrajectoriesConfig", "autodrag.data.make:run"),
    "eval": Command(
        "evaluate a method on a task", "autodrag.evaluation.run:EvalConfig", "autodrag.evaluation.run:evaluate"
    ),
    "tables": Command(
        "make tables and figures from evaluations",
        "autodrag.evaluation.report:ReportConfig",
        "autodrag.evaluation.report:make_report",
    ),
    "download": Command("get a published generator", "autodrag.download:DownloadConfig", "autodrag.download:run"),
    "convert": Command("rewrite a generator file", "autodrag.converting:Conversion", "autodrag.converting:run"),
    "demo": Command("train and drag on synthface, in minutes", "autodrag.demo:DemoConfig", "autodrag.demo:run"),
    "make_synthface": Command(
        "make what synthface ships",
        "autodrag.domains.synthface.make:MakeSynthfaceConfig",
        "autodrag.domains.synthface.make:make",
    ),
    "bench data": _bench("data", "time training samples"),
    "bench drag": _bench("drag", "time drags"),
    "bench editor": _bench("editor", "time the editor while a pointer pulls"),
    "bench generator": _bench("generator", "time images and features"),
    "bench invert": _bench("invert", "time inversions and measure their quality"),
    "bench suite": _bench("suite", "all of these and the GPU tests, in one table"),
    "bench train": _bench("train", "time a step of stage 2"),
}


def run(name: str) -> None:
    """Run a command with the key=value arguments in `sys.argv`."""
    if name == "bench":
        name = f"bench {sys.argv.pop(1)}" if len(sys.argv) > 1 else name
    if name not in COMMANDS:
        sys.exit(print(_unknown(name), file=sys.stderr) or 2)
    command = COMMANDS[name]
    if name in {"app", "bench editor"}:
        share_cores()  # before torch is imported
    config.run(name.replace(" ", "/"), _named(command.settings), _named(command.run))


def main() -> None:
    """Entry point of the console command `autodrag COMMAND ...`."""
    if len(sys.argv) < 2 or sys.argv[1] in {"-h", "--help"}:
        print("autodrag COMMAND [key=value ...]; --help after a command prints its keys.\n")
        print("\n".join(f"  {name:16} {command.about}" for name, command in COMMANDS.items()))
        return
    name = sys.argv.pop(1)
    run(name)


def _unknown(name: str) -> str:
    bench = name.startswith("bench")
    known = [other.removeprefix("bench ") for other in COMMANDS if other.startswith("bench ") == bench]
    what = "What to time" if bench else "The command"
    return f"{what} is {name.removeprefix('bench').strip()!r}: give one of {', '.join(known)}."


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    main()
