"""Configs compose, are typed strictly and have no unused keys; user errors are one sentence."""

import ast
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from omegaconf import OmegaConf

from autodrag import config
from autodrag.commands import COMMANDS, _named
from autodrag.config import CONFIG_DIR, DatasetConfig, compose, dataset_names, dump, load_dataset, load_yaml, typed
from autodrag.errors import InputError
from autodrag.typed import leaf_keys
from autodrag.weights import weights_path

REPOSITORY = Path(__file__).resolve().parent.parent
NINE = {"ffhq", "afhqcat", "shhq", "lsun_car", "lsun_cat", "lhq", "lion", "dog", "elephant"}


def test_every_dataset_has_a_config() -> None:
    assert set(dataset_names()) == NINE | {"synthface"}
    for name in dataset_names():
        dataset = load_dataset(name)
        assert dataset.name == name
        assert 0 < dataset.psi <= 1
        assert 0 < dataset.lam[0] <= dataset.lam[1] < 1
        assert dataset.source.remote == (name in NINE)
        assert dataset.source.sha256 is None or len(dataset.source.sha256) == 64


def test_dataset_files_lie_in_the_models_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "MODEL_DIR", tmp_path)
    assert load_dataset("ffhq").source.path == tmp_path / "stylegan2-ffhq-512x512.pkl"
    assert load_dataset("synthface").source.path == config.ASSET_DIR / "synthface" / "generator.safetensors"


def test_a_dataset_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "it's mine.pkl"
    assert load_dataset(str(file)).name == "it's mine"
    assert load_dataset(str(file)).source.path == file


def test_an_unknown_dataset_gives_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"^Unknown dataset 'fhq': choose one of afhqcat, .*synthface"):
        load_dataset("fhq")


def test_a_dataset_without_weights_names_the_training_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MODEL_DIR", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        weights_path("ffhq")
    for stage in (1, 2):
        command = f"python scripts/train.py stage={stage} dataset=ffhq"
        assert f"`{command}`" in str(caught.value)
    trained = Path(compose("train", ["stage=2", "dataset=ffhq"]).out) / "weights.safetensors"
    assert f"which writes {trained}" in str(caught.value)
    for script, key in (
        ("eval", "method.options.weights=FILE"),
        ("drag", "method.options.weights=FILE"),
        ("app", "weights=FILE"),
    ):
        assert key in str(caught.value)
        compose(script, [key])  # raises for a key that is none
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert weights_path("ffhq") == trained
    (tmp_path / "ffhq").mkdir()
    (tmp_path / "ffhq" / "autodrag.safetensors").touch()
    assert weights_path("ffhq") == tmp_path / "ffhq" / "autodrag.safetensors"


def test_dump_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump(load_dataset("shhq")))
    assert load_yaml(file, DatasetConfig) == load_dataset("shhq")
    with pytest.raises(InputError, match="There is no config at"):
        load_yaml(tmp_path / "none.yaml", DatasetConfig)


PATHS = (
    "mask (1).png",
    "視頻.gif",
    "run=3/a.gif",
    r"C:\new\x.gif",
    r"\\server\share\a.gif",
    'it\'s "mine".gif',
    "[1].gif",
    "{a: b}.gif",
    "a,b.gif",
    "range(1,3)",
    "123",
    "true",
    " a .gif",
    "ends in \\",
    "a\\'b.gif",
    "$HOME #1 & 100%.gif",
    "~me.gif",
    "-x.gif",
    "null.gif",
    "e\u0301mile\u00a0\U0001f600.gif",
)


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_taken_literally(path: str) -> None:
    cfg = compose("drag", [f"out={path}", f"mask={path}", f"++method.options.weights={path}"])
    assert [cfg.out, cfg.mask, cfg.method.options.weights] == [path] * 3
    assert compose("train", [f"encoder.folder={path}"]).encoder.folder == path
    assert compose("bench/drag", [f"generator={path}"]).generator == path
    assert load_dataset(f"{path}.PKL").source.file == str(Path(f"{path}.PKL").resolve())
    assert compose("drag", [f"dataset={path}.PKL"]).dataset.source.file == str(Path(f"{path}.PKL").resolve())


def test_a_path_may_be_at_home_null_quoted_or_made_of_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert compose("drag", ["out=~/a.gif"]).out == "/home/me/a.gif"
    assert compose("drag", ["out=a~/b.gif"]).out == "a~/b.gif"
    assert compose("drag", ["mask=null"]).mask is None
    assert compose("drag", ["out='a b.gif'"]).out == "a b.gif"
    assert compose("drag", ["out=runs/${dataset.name}.gif"]).out == "runs/synthface.gif"
    assert config._expanded(["-m", "out=a,b"]) == ["-m", "out=a,b"]


def test_every_key_that_takes_a_path_exists_and_every_file_is_known() -> None:
    known = set().union(*(leaf_keys(OmegaConf.to_container(compose(name))) for name in CLASSES))
    assert known >= config.PATH_KEYS
    files = {key for key in known if key.rpartition(".")[2] in {"start", "weights", "aim", "motion", "file", "folder"}}
    assert files - {"model.predictor.aim"} <= config.PATH_KEYS  # a size, not a file
    for suffix in (".pkl", ".PKL", ".ckpt", ".pt", ".Pth", ".safetensors"):
        assert load_dataset(f"/x/net{suffix}").source.path == Path(f"/x/net{suffix}")


# --- the command line -----------------------------------------------------------------------------------------------

SCRIPT = """
from dataclasses import dataclass
from autodrag.config import DatasetConfig, run
from autodrag.errors import InputError
from autodrag.typed import leaf_keys

@dataclass(frozen=True)
class Config:
    lr: float
    out: str
    folder: str
    dataset: DatasetConfig

def main(cfg):
    if cfg.lr < 0:
        raise InputError("lr is negative: give a positive one.")
    print(cfg.lr, cfg.dataset.name, cfg.dataset.source.path, cfg.folder)

run("probe", Config, main)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script with a config of its own, in a copy of the configs."""
    folder = tmp_path_factory.mktemp("script")
    for name in ("dataset", "hydra"):
        shutil.copytree(CONFIG_DIR / name, folder / "configs" / name)
    shutil.copy(CONFIG_DIR / "hydra_defaults.yaml", folder / "configs")
    (folder / "configs" / "probe.yaml").write_text(
        "defaults: [hydra_defaults, {dataset: synthface}, _self_]\nlr: 1e-3\nout: ???\n"
        "folder: runs/${dataset.name}${swept:dataset}\n"
    )
    redirect = "import pathlib, autodrag.config as c\nc.CONFIG_DIR = pathlib.Path(__file__).parent / 'configs'\n"
    (folder / "probe.py").write_text(redirect + SCRIPT)
    return folder / "probe.py"


def call(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)


def test_a_script_runs_with_overrides_and_leaves_nothing_behind(script: Path) -> None:
    before = set(script.parent.iterdir())
    done = call(script, "out=x", "dataset=a file's.pkl", "lr=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"2.0 a file's {script.parent}/a file's.pkl runs/a file's\n"
    assert set(script.parent.iterdir()) == before


def test_every_job_of_a_sweep_has_its_own_folder(script: Path) -> None:
    done = call(script, "-m", "out=x", "lr=1e-2,1e-3", "dataset=dog,lion")
    assert done.returncode == 0, done.stderr
    folders = [line.split()[-1] for line in done.stdout.splitlines()]
    assert folders == [f"runs/{name}-lr={lr}" for lr in ("0.01", "0.001") for name in ("dog", "lion")]


def test_sweeps_go_to_slurm(script: Path) -> None:
    done = call(script, "--cfg", "hydra", "hydra/launcher=slurm")
    assert done.returncode == 0, done.stderr
    assert "submitit_launcher.SlurmLauncher" in done.stdout
    assert "timeout_min: 1440" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "out has no value; give out=..."),
        (("out=x", "lrr=1"), "Unknown config key 'lrr' (near: lr); `--help` lists all of them."),
        (("out=x", "dataset=fhq"), "Unknown dataset 'fhq': choose one of afhqcat, "),
        (("out=x", "lr=[1"), "The command line cannot be read: "),
        (("out=x", "/a (1)=b.pt"), "The command line takes key=value, not '/a (1)=b.pt'; `--help` lists all keys."),
        (("out=x", "my file.pt"), "The command line takes key=value, not 'my file.pt'; `--help` lists all keys."),
        (("out=x", "lr=-1"), "lr is negative: give a positive one."),
        (("out=x", "+more=1"), "Unknown config key 'more'."),
        (("-m", "out=x", "lr=-1,1"), "lr is negative: give a positive one."),
    ],
)
def test_a_wrong_command_line_gives_one_sentence_and_status_2(
    script: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = call(script, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


# --- the tree of configs --------------------------------------------------------------------------------------------


CLASSES = {name.replace(" ", "/"): _named(command.settings) for name, command in COMMANDS.items()}


def choices(name: str) -> Iterator[list[str]]:
    """No override, then every choice of every config group that the config uses."""
    yield []
    groups = set(compose(name)) & {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}
    for group in sorted(groups):
        for path in sorted((CONFIG_DIR / group).glob("*.yaml")):
            if path.stem != "custom":
                yield [f"{group}={path.stem}"]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_config_composes_and_types(name: str) -> None:
    for overrides in choices(name):
        cfg = compose(name, overrides)
        for key in [key for key in cfg if OmegaConf.is_missing(cfg, key)]:  # the user's to give
            cfg[key] = "given"
        typed(CLASSES[name], cfg)


def test_every_config_file_belongs_to_a_script() -> None:
    places = [*CONFIG_DIR.glob("*.yaml"), *(CONFIG_DIR / "bench").glob("*.yaml")]
    files = {path.relative_to(CONFIG_DIR).with_suffix("").as_posix() for path in places} - {"hydra_defaults"}
    assert files == set(CLASSES)


def dataclasses_in(cls: type, seen: set[type]) -> set[type]:
    """`cls` and every dataclass that its fields' types name."""
    if cls in seen:
        return seen
    seen.add(cls)
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        pending = [hints[field.name]]
        while pending:
            hint = pending.pop()
            pending += get_args(hint)
            if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                dataclasses_in(hint, seen)
    return seen


def test_every_config_key_is_read_somewhere() -> None:
    read = set()
    for path in (*(REPOSITORY / "autodrag").rglob("*.py"), *(REPOSITORY / "scripts").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    trees = set().union(*(dataclasses_in(cls, set()) for cls in (*CLASSES.values(), DatasetConfig)))
    unread = {f"{cls.__name__}.{f.name}" for cls in trees for f in dataclasses.fields(cls) if f.name not in read}
    assert not unread
