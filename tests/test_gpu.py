"""Every entry point, small, on a real device: `pytest -m gpu`. AUTODRAG_TEST_DEVICE=cpu takes a processor."""

import json
import os
from pathlib import Path

import pytest
import torch

from autodrag import converting, dragging
from autodrag.config import compose, typed
from autodrag.data import make
from autodrag.data.shards import read_index
from autodrag.editor.inversion import Inversion, InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.evaluation import run as evaluation
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.models import Encoder
from autodrag.training.build import TrainConfig
from autodrag.training.run import run as train_stage
from third_party.stylegan2.readers import write_safetensors

DEVICE = os.environ.get("AUTODRAG_TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.startswith("cuda") and not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here"
    ),
]

MATCHES = [
    *("trajectory.handle_px=4", "trajectory.step_px=2", "trajectory.psi=0.8", "trajectory.match.resolution=256"),
    *("trajectory.match.features=400", "trajectory.match.edge_px=8", "trajectory.match.gms_factor=2"),
    *("trajectory.match.return_px=6", "trajectory.match.consistency_px=20", "trajectory.match.consistency_count=2"),
    *("trajectory.match.max_px=300", "trajectory.match.feature_ratio=2", "trajectory.jump=0"),
    *("trajectory.lam=[0.3,0.3]", "count=8", "workers=2", "seed=5"),
]
SMALL = [
    *("model=small", "model.predictor.aim.width=16", "model.predictor.aim.grid=4", "motion.network.width=16"),
    *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
    *(f"{stage}.budget.{k}" for stage in ("stage1", "motion", "aim", "stage2") for k in ("samples=8", "batch=4")),
    *(f"{stage}.budget.epochs=1" for stage in ("stage1", "motion", "aim", "stage2", "latent_transformer")),
    *(f"{stage}.validation=4" for stage in ("stage1", "motion", "aim", "stage2", "latent_transformer")),
    *("latent_transformer.budget.samples=4", "latent_transformer.network.width=16", "latent_transformer.flow=dis"),
    *("encoder.network.size=16", "encoder.network.width=8", "encoder.network.hidden=16", "encoder.image_loss_share=1"),
    *(
        "encoder.network.directions=8",
        "encoder.pictures.count=128",
        "encoder.jacobian_latents=8",
        "encoder.validation=4",
    ),
    *("encoder.budget.samples=8", "encoder.budget.batch=4", "encoder.budget.epochs=1"),
    *("loop.logger.log_every=1", "latent_transformer.network.heads=4", "latent_transformer.network.layers=1"),
]


MOTION = "stagemotion/weights.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator of 64 px and its trajectories, made on the device."""
    folder = tmp_path_factory.mktemp("gpu")
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(folder / "tiny.safetensors", network.config, network.state_dict())
    given = [f"dataset={folder / 'tiny.safetensors'}", f"out={folder / 'data'}", f"device={DEVICE}", *MATCHES]
    make.run(typed(make.TrajectoriesConfig, compose("trajectories", given)))
    return folder


def train(place: Path, stage: int | str, *overrides: str) -> Path:
    """The weights of a stage trained on the device."""
    out = place / f"stage{stage}"
    given = [f"dataset={place / 'tiny.safetensors'}", f"data={place / 'data'}", f"out={out}", f"stage={stage}"]
    composed = compose("train", [*given, f"device={DEVICE}", *SMALL, *overrides])
    train_stage(typed(TrainConfig, composed))
    logged = [json.loads(line) for line in (out / "stats.jsonl").open(encoding="utf-8")]
    losses = [numbers["loss"] for numbers in logged if "loss" in numbers]
    assert losses and torch.tensor(losses).isfinite().all()
    return out / "weights.safetensors"


@pytest.fixture(scope="module")
def weights(place: Path) -> Path:
    """AutoDrag, by all its stages; the last one resumes from a checkpoint."""
    first, motion = train(place, 1), train(place, "motion")
    assert motion == place / MOTION
    aim = train(place, "aim", f"aim.motion={motion}")
    second = [f"stage2.start={first}", f"stage2.motion={motion}", f"stage2.aim={aim}"]
    train(place, 2, *second)
    trained = train(place, 2, *second, "stage2.budget.epochs=2")
    assert "resumes at step" in (trained.parent / "log.txt").read_text(encoding="utf-8")
    return trained


def test_trajectories(place: Path) -> None:
    assert read_index(place / "data").totals().samples == 8


def test_latent_transformer(place: Path) -> None:
    assert train(place, "latent_transformer").is_file()


def test_encoder_and_inversion(place: Path) -> None:
    encoder = Encoder.load(train(place, "encoder", f"encoder.folder={place / 'pictures'}"))
    generator = FrozenGenerator.random(resolution=(64, 64), w_dim=32, device=DEVICE)
    picture = generator.synthesize(generator.w_avg.expand(1, generator.num_ws, -1))
    config = InvertConfig(steps=4, starts=4, tune_steps=2, align=False)
    work = Inversion(generator, picture, config, encoder)
    assert list(work.run()) and work.ws.device == generator.device and work.ws.isfinite().all()


def test_convert(place: Path, tmp_path: Path) -> None:
    for suffix in (".pt", ".safetensors"):
        settings = compose("convert", [f"src={place / 'tiny.safetensors'}", f"dst={tmp_path / 'out'}{suffix}"])
        converting.run(typed(converting.Conversion, settings))
        ws = torch.zeros(1, 10, 32)
        images = [load_generator(path, DEVICE).synthesize(ws) for path in (settings.src, settings.dst)]
        assert torch.allclose(*images, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "auto"])
@pytest.mark.parametrize("method", ["autodrag", "landing", "draggan", "freedrag"])
def test_drag(place: Path, weights: Path, tmp_path: Path, method: str, dtype: str) -> None:
    options = ["method.options.max_steps=3"]
    if method in ("autodrag", "landing"):
        options = [f"method.options.weights={weights if method == 'autodrag' else place / MOTION}"]
    given = [f"dataset={place / 'tiny.safetensors'}", f"method={method}", *options, f"device={DEVICE}"]
    points = ["handles=[[20,30],[40,12]]", "targets=[[26,30],[40,20]]", "frames=2", f"out={tmp_path / 'drag.gif'}"]
    dragging.run(typed(dragging.DragConfig, compose("drag", [*given, *points, f"dtype={dtype}"])))
    assert (tmp_path / "drag.gif").stat().st_size > 0


def test_eval(place: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "load_metric_networks", lambda *_: MetricNetworks(None, None, [], {}))
    given = [f"dataset={place / 'tiny.safetensors'}", "task=paired", "task.flow=dis", "task.points=4", "task.count=2"]
    places = [f"manifest={tmp_path / 'manifest.json'}", f"out={tmp_path / 'out'}", f"device={DEVICE}", "timed=1"]
    options = [f"method.options.weights={weights}", "download=false", "batch=2"]
    evaluation.evaluate(typed(evaluation.EvalConfig, compose("eval", [*given, *places, *options])))
    assert (tmp_path / "out" / "summary.json").is_file()


def test_editor(place: Path, weights: Path) -> None:
    """What the server's pages do: drag, undo, mask, invert."""
    generator = FrozenGenerator.random(resolution=(64, 64), w_dim=32, device=DEVICE)
    models = ModelCache(DEVICE, weights=str(weights))
    models.add(generator)
    editor = Editor(generator.name, seed=3, models=models)
    before = editor.image.copy()
    editor.choose_method("draggan", 2)
    editor.drag([(20, 30)], [(26, 30)])
    assert len(editor.state.motion) > 1
    editor.undo()
    assert abs(editor.image.astype(int) - before).max() <= 1
    own = Editor.invert(before, generator.name, models=models, config=InvertConfig(steps=4, starts=4, tune_steps=2))
    assert own.image.shape == before.shape
