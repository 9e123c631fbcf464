"""README and docs/reproduce.md: every command runs, on a tiny generator that stands for all; code runs as it is."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from autodrag import demo
from autodrag.commands import COMMANDS, _named
from autodrag.config import CONFIG_DIR, compose, load_dataset, typed
from autodrag.errors import InputError
from autodrag.evaluation import run as evaluation
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import LandmarkDetector
from autodrag.weights import find_weights
from third_party.stylegan2.readers import write_safetensors

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Command:
    """A line as it is typed, with `$D` replaced."""

    script: str
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name among all commands."""
        return self.script.replace("/", " ")

    @property
    def text(self) -> str:
        return " ".join((self.script, *self.overrides))


def commands(text: str) -> list[Command]:
    """All commands of a Markdown text, with options in brackets, and with the first value of a sweep."""
    found = []
    for script, rest in re.findall(r"scripts/(\w+)\.py([^`\n#|]*)", text):
        words = re.sub(r" \[(.*?)\](?= |$)", r" \1", rest.replace("$D", "dog")).split()
        if words[:1] == ["..."] or script == "demo":
            continue
        if script == "bench":
            script = f"bench/{words.pop(0)}"
        overrides = [
            OverridesParser.create().parse_override(word) for word in words if "=" in word and "hydra/" not in word
        ]
        first = [next(iter(o.sweep_string_iterator())) if o.is_sweep_override() else None for o in overrides]
        given = (f"{o.key_or_group}={f}" if f else o.input_line for o, f in zip(overrides, first, strict=True))
        found.append(Command(script, tuple(str(g) for g in given)))
    return found


README = "\n".join((REPOSITORY / name).read_text() for name in ("README.md", "docs/reproduce.md"))
HOSTING = (REPOSITORY / "docs" / "hosting.md").read_text()


#: What is run with the generator and the weights that ship.
SHIPPED = [command for command in commands(README) if "out=drag.gif" in command.overrides]


def test_the_readme_has_commands() -> None:
    assert {"drag", "eval", "tables", "train", "trajectories", "download"} <= {c.script for c in commands(README)}
    assert len(commands(README)) > 25


@pytest.mark.parametrize("command", commands(README + HOSTING), ids=lambda command: command.text)
def test_every_command_has_keys_that_exist(command: Command) -> None:
    typed(_named(COMMANDS[command.name].settings), compose(command.script, command.overrides))


#: What makes them small.
LOW = [
    *("trajectory.handle_px=4", "trajectory.step_px=2", "trajectory.psi=0.8", "trajectory.match.resolution=256"),
    *("trajectory.match.features=400", "trajectory.match.edge_px=8", "trajectory.match.gms_factor=2"),
    *("trajectory.match.return_px=6", "trajectory.match.consistency_px=20", "trajectory.match.consistency_count=2"),
    *("trajectory.match.max_px=300", "trajectory.match.feature_ratio=2", "count=6", "workers=0", "seed=5"),
    *("calibration.lam=[0.3]", "calibration.psi=[0.8]", "calibration.draws=2", "device=cpu", "dtype=float32"),
]
SIZES = [
    *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
    *(f"model.{n}.{part}_layers=1" for n in ("predictor", "regularizer") for part in ("encoder", "decoder")),
    *("model.predictor.mlp_ratio=2", "model.regularizer.mlp_ratio=2", "model.predictor.grid=8"),
]
SMALL: dict[str, list[str]] = {
    "bench/editor": [*SIZES, "seconds=1", "device=cpu"],
    "download": [],
    "trajectories": LOW,
    "drag": ["frames=2", "device=cpu"],
    "tables": [],
    "train": [
        *(*SIZES, "model.feature_block=4", "stage2.drag_block=4", "device=cpu", "loop.precision=float32"),
        *(f"{stage}.budget.epochs=1" for stage in ("stage1", "motion", "aim", "stage2", "encoder")),
        *(f"{stage}.budget.samples=8" for stage in ("stage1", "motion", "aim", "stage2", "encoder")),
        *(f"{stage}.budget.batch=4" for stage in ("stage1", "motion", "aim", "stage2", "encoder")),
        *(f"{stage}.validation=2" for stage in ("stage1", "motion", "aim", "stage2", "encoder", "latent_transformer")),
        *(f"{stage}.metric_latents=1" for stage in ("motion", "aim", "stage2")),
        *("motion.network.width=16", "encoder.network.size=16", "encoder.network.width=8", "encoder.network.hidden=16"),
        *("encoder.pictures.count=128", "encoder.jacobian_latents=8", "encoder.network.directions=8"),
        *("latent_transformer.budget.samples=4", "latent_transformer.network.width=16", "latent_transformer.flow=dis"),
        *("latent_transformer.network.heads=4", "latent_transformer.network.layers=1"),
    ],
    "eval": ["task.count=1", "task.max_steps=1", "batch=1", "timed=1", "download=false", "device=cpu"],
    "demo": ["samples=8", "epochs=[1,1,1,1]", "epoch_samples=8", "faces=1"],
}
TASKS = {
    "landmarks": [],
    "mdd": ["task.psi=1", "task.motion_px=1", "task.flow=dis"],
    "paired": ["task.points=4", "task.flow=dis"],
}
AIM = ["model.predictor.aim.width=16", "model.predictor.aim.grid=4"]
ORDER = ["download", "trajectories", "train", "eval", "drag", "tables", "bench/editor"]


class Grid(LandmarkDetector):
    """Stands for a face detector on images without faces."""

    fingerprint = "grid"

    def __init__(self) -> None:
        pass

    def __call__(self, images) -> list[torch.Tensor]:
        grid = torch.stack(torch.meshgrid(torch.arange(17.0), torch.arange(4.0), indexing="ij"), 2).flatten(0, 1)
        return [2 * grid + image.mean() / 25.5 for image in images]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, where one tiny generator is every dataset's, and none has weights."""
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    monkeypatch.setattr("autodrag.config.MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr("autodrag.config.ASSET_DIR", tmp_path / "assets")
    shutil.copytree(CONFIG_DIR, tmp_path / "configs")
    for config in (tmp_path / "configs" / "dataset").glob("*.yaml"):
        text = re.sub(r"^resolution: .*", "resolution: [64, 64]", config.read_text(), flags=re.MULTILINE)
        config.write_text(re.sub(r"sha256: .*", "sha256: null", text))
    monkeypatch.setattr("autodrag.config.CONFIG_DIR", tmp_path / "configs")
    for name in ("synthface", "ffhq"):
        path = load_dataset(name).source.path
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "tiny.safetensors")
    for module in ("evaluation.tasks", "data.workers", "demo"):
        monkeypatch.setattr(f"autodrag.{module}.load_detector", lambda *_: Grid())
    monkeypatch.setattr(evaluation, "load_metric_networks", lambda *_: MetricNetworks(None, None, [], {}))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(README)
    return tmp_path


def small(command: Command) -> list[str]:
    """The overrides of a command, for the tiny generator: `ffhq` stands for all published ones."""
    given = [re.sub(r"^dataset=(?!synthface$).*", "dataset=ffhq", override) for override in command.overrides]
    experiment = next(
        (CONFIG_DIR / "experiment" / f"{o[11:]}.yaml" for o in given if o.startswith("experiment=")), None
    )
    about = {} if experiment is None else OmegaConf.load(experiment)
    swept = about.get("hydra", {}).get("sweeper", {}).get("params", {})
    given += [f"{key}={str(values).partition(',')[0]}" for key, values in swept.items() if key != "method"]
    task = compose(command.script, given).task.name if command.script == "eval" else ""
    aim = AIM if command.script == "train" and any("synthface" in o for o in given if "experiment" in o) else []
    again = ["out=runs/sweep"] if "seed=1" in given else []  # whose folder would carry the seed
    return [*given, *SMALL[command.script], *TASKS.get(task, []), *aim, *again]


def work(command: Command, overrides: Sequence[str] | None = None) -> None:
    """Run it in this process, with these overrides or small ones."""
    listed = COMMANDS[command.name]
    config = compose(command.script, small(command) if overrides is None else overrides)
    _named(listed.run)(typed(_named(listed.settings), config))


def test_every_command_runs(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finds what the ones before it have written."""
    ready = [c for c in dict.fromkeys(commands(README)) if c not in SHIPPED and "landmarks=true" not in c.overrides]
    for command in sorted(ready, key=lambda c: ORDER.index(c.script)):
        work(command)
    assert "Set trajectory.lam=[0.3,0.3]" in capsys.readouterr().out
    results = {path.parent.relative_to("runs/eval") for path in Path("runs/eval").glob("**/summary.json")}
    assert results >= {Path("ffhq") / task / "autodrag" for task in ("mdd", "landmarks", "paired")}
    assert Path("synthface/landmarks/mine") in results
    assert (stand_in / "drag.gif").is_file() and list(Path("docs/results").glob("table1-ffhq*"))


def test_a_failed_download_gives_a_clear_error(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that downloads, without a network."""
    (command,) = {c for c in commands(README) if c.overrides == ("landmarks=true",)}
    monkeypatch.setattr("urllib.request.OpenerDirector.open", _no_network)
    with pytest.raises(InputError, match=rf"cannot be downloaded from http.* put it into {stand_in}/models"):
        work(command)


def _no_network(*_: Any, **__: Any) -> None:
    raise OSError("no network")


def test_the_demo_runs(stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`make demo`, with its commands in this process."""

    def command(words: Sequence[str]) -> None:
        work(Command(Path(words[0]).stem, tuple(words[1:])))

    monkeypatch.setattr(demo, "_command", command)
    trained = partial(find_weights, "synthface")
    monkeypatch.setattr(demo, "weights_path", lambda *_: trained("landing.safetensors") or pytest.fail("untrained"))
    monkeypatch.setattr("autodrag.weights.RUNS", Path("runs/linked"))
    Path("runs/linked").mkdir(parents=True)
    Path("runs/linked/synthface-stagemotion").symlink_to(Path("../demo/stagemotion"))
    work(Command("demo", ()))
    said = capsys.readouterr().out
    assert all(f"stage {stage}: mean loss " in said for stage in (1, "motion", "aim", 2))
    assert "face 1:" in said and Path("runs/demo/drags.gif").is_file() and Path("runs/demo/drags.png").is_file()


def test_commands_and_code_of_the_shipped_domain_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first command and the Python code, unchanged."""
    monkeypatch.chdir(tmp_path)
    for command in SHIPPED:
        work(command, [*command.overrides, "frames=2"])
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102
    assert names["image"].shape == (1, 3, 256, 256) and names["step"].index == 5
    assert Path("drag.gif").is_file() and Path("edited.png").is_file()
