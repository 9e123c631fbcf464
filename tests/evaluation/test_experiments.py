"""Experiments name existing methods, whose weights are where the training commands write them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from autodrag.config import CONFIG_DIR, compose, typed
from autodrag.domains.synthface import reader as reader_module
from autodrag.domains.synthface.reader import ReaderNetwork
from autodrag.evaluation.metric_networks import load_metric_networks
from autodrag.evaluation.report import paper
from autodrag.evaluation.run import EvalConfig
from autodrag.training.build import TrainConfig

EXPERIMENTS = {
    "table1": ("landmarks", paper.TABLE1),
    "table2": ("paired", paper.TABLE2["dog"]),
    "table3": ("paired", [f"autodrag-n{n}" for n in paper.TABLE3]),
    "fig1": ("landmarks", ["latent-transformer", "draggan", "freedrag", "autodrag"]),
    "fig9": ("mdd", ["draggan", "autodrag"]),
}


def sweep(experiment: str) -> list[str]:
    cfg: Any = OmegaConf.load(CONFIG_DIR / "experiment" / f"{experiment}.yaml")
    return str(cfg.hydra.sweeper.params.method).split(",")


@pytest.mark.parametrize("experiment", sorted(EXPERIMENTS))
def test_an_experiment_evaluates_every_row_of_its_table(experiment: str) -> None:
    task, labels = EXPERIMENTS[experiment]
    found = []
    for method in sweep(experiment):
        config = typed(EvalConfig, compose("eval", [f"experiment={experiment}", "size=cpu", f"method={method}"]))
        assert config.task.name == task and config.untrained == "skip"
        assert config.task.count == 100 and config.task.max_steps == 100
        found.append(config.method.label)
    assert set(labels) <= set(found) and len(set(found)) == len(found)


def test_synthface_has_table1_with_the_protocols_steps_and_the_papers_own_recipe() -> None:
    labels = []
    for method in sweep("synthface_table1"):
        config = typed(EvalConfig, compose("eval", ["experiment=synthface_table1", f"method={method}"]))
        assert (config.task.name, config.task.count, config.task.max_steps) == ("landmarks", 300, 300)
        assert config.dataset.name == "synthface" and config.untrained == "skip"
        labels.append(config.method.label)
    assert {paper.PAPER, "autodrag", "draggan", "freedrag"} <= set(labels)


@pytest.mark.parametrize("experiment", ["table2", "table3", "fig9"])
def test_experiments_of_synthface_have_larger_motions(experiment: str) -> None:
    chosen = [
        compose("eval", [f"experiment={name}", "dataset=synthface"]) for name in (experiment, f"synthface_{experiment}")
    ]
    plain, own = (typed(EvalConfig, cfg) for cfg in chosen)
    assert own.task.name == plain.task.name and own.untrained == plain.untrained == "skip"
    assert own.task.lam > plain.task.lam  # type: ignore[union-attr]


def test_the_protocols_size_is_the_tasks_own() -> None:
    config = typed(EvalConfig, compose("eval", ["experiment=table1"]))
    assert (config.task.count, config.task.max_steps) == (2000, 300)
    assert typed(EvalConfig, compose("eval", ["size=cpu", "task.count=7"])).task.count == 7


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / "method").glob("*.yaml")), ids=lambda path: path.stem)
def test_weights_lie_where_the_command_above_them_writes_them(path: Path) -> None:
    options = typed(EvalConfig, compose("eval", [f"method={path.stem}", "dataset=dog"])).method.options
    weights = options.get("weights")
    if weights is None:
        return
    (command,) = re.findall(r"^#   python scripts/train.py (.*)$", path.read_text(), re.MULTILINE)
    trained = typed(TrainConfig, compose("train", command.replace("=D", "=dog").replace("/D-", "/dog-").split()))
    assert weights == f"{trained.out}/weights.safetensors"
    steps = re.fullmatch(r"runs/dog-n(\d+)", trained.out)
    skip = "plain" if "paper" in path.stem else "none" if path.stem == "without_regularizer" else "gated"
    assert (trained.model.steps, trained.model.skip) == (int(steps[1]) if steps else 5, "gated" if steps else skip)
    assert trained.model.predictor.aim is None


def test_the_reader_is_used_if_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "ASSET_DIR", tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cpu = torch.device("cpu")
    without = load_metric_networks("synthface", cpu, download=False)
    assert without.identity is None and without.features == []
    assert set(without.missing) == {"LPIPS", "FID", "identity and FD-synthface"}
    assert without.missing["identity and FD-synthface"].startswith(f"{tmp_path}/synthface/reader.safetensors cannot")
    (tmp_path / "synthface").mkdir()
    ReaderNetwork().save(tmp_path / "synthface" / "reader.safetensors")
    found = load_metric_networks("synthface", cpu, download=False)
    assert found.identity is not None and [network.name for network in found.features] == ["FD-synthface"]
    assert set(found.missing) == {"LPIPS", "FID"}
    assert "identity and FD-synthface" in load_metric_networks("dog", cpu, download=False).missing
