"""Every published dataset: its config, and one item of each of its tasks on random weights in the generator's shape."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import DatasetConfig, compose, dataset_names, load_dataset, typed
from autodrag.evaluation import run as module
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.run import EvalConfig, evaluate
from autodrag.generator import FrozenGenerator
from autodrag.models import AutoDrag, ModelConfig, PredictorConfig, RegularizerConfig
from autodrag.training.latent_statistics import domain_shape, measure

PUBLISHED = sorted(set(dataset_names()) - {"synthface"})
BLOCK = 6  # as in the paper: 128 px
FACES = ("ffhq",)  # the others have no landmarks


def stand_in(dataset: DatasetConfig) -> FrozenGenerator:
    """The generator's sizes, rows and latents with few channels; its name is the dataset's."""
    assert dataset.resolution is not None
    heights = [2**i for i in range(2, dataset.resolution[0].bit_length())]
    few = {height: 8 if height <= 128 else 4 for height in heights}
    random = FrozenGenerator.random(dataset.resolution, w_dim=512, z_dim=512, channels=few)
    return FrozenGenerator(random.network, dataset.name)


def save_random_model(generator: FrozenGenerator, path: Path) -> None:
    layers = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "mlp_ratio": 1.0}
    config = ModelConfig(PredictorConfig(**layers), RegularizerConfig(**layers), steps=2, feature_block=BLOCK)
    torch.manual_seed(0)
    model = AutoDrag(config, domain_shape(generator, BLOCK), measure(generator, BLOCK, latents=20, maps=1))
    torch.nn.init.normal_(model.predictor.head.weight, std=0.05)
    model.save(path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_item_of_every_task(name: str, corners: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = stand_in(load_dataset(name))
    weights = tmp_path / "weights.safetensors"
    save_random_model(generator, weights)
    monkeypatch.setattr(module, "load_generator", lambda *_, **__: generator)
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: MetricNetworks(None, None, [], {}))
    monkeypatch.setattr("autodrag.evaluation.tasks.load_detector", lambda *_: corners(6.0))
    moving = ["task.psi=1", "task.motion_px=1", "task.flow=dis"]
    tasks = {"mdd": ["method=draggan", *moving], "paired": ["method=autodrag", "task.flow=dis"]}
    tasks["roundtrip"] = ["method=autodrag", *moving]
    if name in FACES:
        tasks["landmarks"] = ["method=autodrag", "task.points=[5]"]
    for task, given in tasks.items():
        small = ["task.count=1", "task.max_steps=1", "timed=0", "device=cpu", f"task={task}", f"dataset={name}"]
        places = [f"manifest={tmp_path / task}.json", f"out={tmp_path / task}"]
        config = typed(EvalConfig, compose("eval", [*given, *small, *places]))
        if config.method.name == "autodrag":
            config = replace(config, method=replace(config.method, options={"weights": str(weights), "track": False}))
        evaluate(config)
        found = json.loads((tmp_path / task / "summary.json").read_text())
        (setting,) = found["settings"].values()
        column = {"landmarks": "md", "paired": "mse", "mdd": "mdd", "roundtrip": "mse"}[task]
        assert setting[column]["n"] == 1 and found["resolution"] == list(generator.resolution)
        inside = load_dataset(name).content
        if inside is not None:  # bars are no place for points
            (item,) = json.loads((tmp_path / f"{task}.json").read_text())["items"]
            top, bottom = (edge * generator.resolution[0] for edge in (inside[1], inside[3]))
            assert all(top - 1 <= y <= bottom for _, y in item["handles"])
