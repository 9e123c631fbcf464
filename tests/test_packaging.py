"""A wheel made from the repository, installed elsewhere, finds its configs and assets."""

import os
import subprocess
import sys
import zipfile
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import yaml

from autodrag.commands import COMMANDS, _named

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_config_and_asset(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, home in (("configs", "autodrag/configs"), ("autodrag/assets", "autodrag/assets")):
        for path in (REPOSITORY / folder).rglob("*.*"):
            assert f"{home}/{path.relative_to(REPOSITORY / folder).as_posix()}" in names
    assert "autodrag/third_party/stylegan2/NOTICE.md" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"autodrag"}  # no other global package


def test_an_installed_wheel_finds_its_configs_and_assets(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import autodrag, autodrag.config as c; d = c.load_dataset('synthface'); "
        "print(autodrag.__file__, c.CONFIG_DIR, d.source.path, d.name, sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    package, configs, generator, dataset = done.stdout.split()
    assert Path(package) == tmp_path / "autodrag" / "__init__.py"
    assert Path(configs) == tmp_path / "autodrag" / "configs"
    assert Path(generator) == tmp_path / "autodrag" / "assets" / "synthface" / "generator.safetensors"
    assert dataset == "synthface"


def test_an_installed_wheel_has_stylegan2_inside_the_package(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; from autodrag.generator import FrozenGenerator; g = FrozenGenerator.random(); "
        "print(type(g.network).__module__, 'third_party' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["autodrag.third_party.stylegan2.network", "False"], done.stderr


def test_the_installed_command_lists_its_commands_and_runs_them(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def autodrag(*words: str) -> subprocess.CompletedProcess[str]:
        code = "from autodrag.commands import main; main()"
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    named = [line.strip().rsplit("  ", 1)[0].strip() for line in autodrag().stdout.splitlines()[2:]]
    assert named == list(COMMANDS)
    done = autodrag("drag", "handles=[[120,150]]", "targets=[[140,138]]", "out=drag.gif", "method=none")
    assert done.returncode == 0 and (tmp_path / "drag.gif").is_file(), done.stderr
    wrong = autodrag("drug")
    assert wrong.returncode == 2 and wrong.stderr.startswith("The command is 'drug': give one of app, drag,")


def test_every_command_has_a_script_and_a_config() -> None:
    scripts = {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}
    assert scripts == {name.split()[0] for name in COMMANDS}
    for name, command in COMMANDS.items():
        assert (REPOSITORY / "configs" / f"{name.replace(' ', '/')}.yaml").is_file()
        assert is_dataclass(_named(command.settings)) and callable(_named(command.run))


def test_the_requirements_name_no_host_and_pin_every_version() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pins = [line.partition("#")[0].strip() for line in lines if not line.startswith("#")]
    assert pins
    for pin in pins:
        assert "==" in pin, pin
        assert "://" not in pin, pin
        assert not pin.startswith("-"), pin


def test_the_version_is_the_same_everywhere() -> None:
    import autodrag

    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert f'version = "{autodrag.__version__}"' in (REPOSITORY / "pyproject.toml").read_text()
    assert citation["version"] == autodrag.__version__
