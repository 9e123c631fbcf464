"""`scripts/train.py` from end to end on a tiny generator, and user errors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autodrag.config import compose, typed
from autodrag.data.make import TrajectoriesConfig
from autodrag.data.matching import Matches
from autodrag.data.shards import fill, read_index
from autodrag.data.trajectories import MatchedMotion, Recipe, TrajectoryConfig
from autodrag.errors import InputError
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.models import Aim, AutoDrag, Landing, Regularizer
from autodrag.seeding import rng
from autodrag.training.build import TrainConfig
from autodrag.training.run import run
from third_party.stylegan2.readers import write_safetensors

TINY = [
    *("model=small", "loop.precision=float32", "device=cpu"),
    *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
    *(f"model.{network}.decoder_layers=1" for network in ("predictor", "regularizer")),
    *("model.predictor.aim.width=16", "model.predictor.aim.grid=4", "aim.validation=4", "aim.points=4"),
    *("motion.validation=4", "motion.points=4", "motion.network.width=16"),
    *(
        f"{stage}.budget.{part}"
        for stage in ("stage1", "motion", "aim", "stage2")
        for part in ("epochs=1", "samples=24", "batch=4")
    ),
    *("stage1.validation=8", "stage2.validation=4", "stage2.points=4", "stage2.predictor.lr=1e-3"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator file and trajectories that belong to it."""
    folder = tmp_path_factory.mktemp("run")
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(folder / "tiny.safetensors", network.config, network.state_dict())
    recipe = typed(TrajectoryConfig, compose("trajectories", ["trajectory.landmarks=true"]).trajectory)
    made = Recipe(fingerprint(load_generator(folder / "tiny.safetensors")), "float32", 0, None, recipe)

    (folder / "data").mkdir()
    fill(folder / "data", made, 20, 8, lambda indices: map(motion, indices), lambda line: None)
    return folder


def motion(index: int) -> MatchedMotion:
    """A sample with random points."""
    points = (64 * torch.rand(7, 2, 3, 2, generator=rng(0, "points", index))).numpy()
    pairs = [Matches(*pair) for pair in points]
    return MatchedMotion(index, 0, pairs[0], pairs[1], tuple(pairs[2:]))


def config(place: Path, *overrides: str) -> TrainConfig:
    given = [f"dataset={place / 'tiny.safetensors'}", f"data={place / 'data'}", *TINY, *overrides]
    return typed(TrainConfig, compose("train", given))


def test_both_stages_train_and_continue(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = [f"out={place / 'one'}", "stage=1"]
    run(config(place, *first))
    trained = place / "one" / "weights.safetensors"
    assert isinstance(Regularizer.load(trained), Regularizer)
    validated = [line for line in map(json.loads, (place / "one" / "stats.jsonl").open()) if "validation/left" in line]
    assert validated[-1]["step"] == 6 and "validation/undone" in validated[-1]

    run(config(place, f"out={place / 'motion'}", "stage=motion", "motion.landmarks=0.5"))
    motion = place / "motion" / "weights.safetensors"
    further = ["stage=motion", f"motion.start={motion}"]
    still = ["loop.ema=0", "motion.schedule.lr=0", "motion.schedule.min_lr=0"]
    run(config(place, f"out={place / 'further'}", *further, *still))
    before, after = (Landing.load(place / name / "weights.safetensors").state_dict() for name in ("motion", "further"))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with pytest.raises(InputError, match=r"are of another generator or another motion\.network"):
        run(config(place, f"out={place / 'wider'}", *further, "motion.network.width=12"))
    run(config(place, f"out={place / 'aim'}", "stage=aim", "aim.landmarks=0.5", f"aim.motion={motion}"))
    aim = place / "aim" / "weights.safetensors"
    last = [json.loads(line) for line in (place / "aim" / "stats.jsonl").open()][-1]
    assert {"validation/matches_1", "validation/landmarks_4", "validation/landmarks_4_lands"} <= last.keys()

    without = ["model.skip=none", f"stage2.start={place / 'nothing' / 'weights.safetensors'}", f"stage2.aim={aim}"]
    run(config(place, f"out={place / 'without'}", "stage=2", *without))  # nothing of stage 1 is needed
    assert AutoDrag.load(place / "without" / "weights.safetensors").regularizer is None

    second = [f"out={place / 'two'}", "stage=2", f"stage2.start={trained}", f"stage2.aim={aim}", "stage2.rollout=0.5"]
    second.append(f"stage2.motion={motion}")
    run(config(place, *second))
    model = AutoDrag.load(place / "two" / "weights.safetensors")
    assert model.regularizer is not None and "Saved the trained model to" in capsys.readouterr().out
    assert model.predictor.aim is not None  # and frozen
    for name, value in Aim.load(aim).mlp.state_dict().items():
        assert torch.equal(model.predictor.aim.mlp.state_dict()[name], value)

    run(config(place, *second, "stage2.budget.epochs=2"))  # more of the same is a continuation
    assert "resumes at step 6" in (place / "two" / "log.txt").read_text()
    with pytest.raises(InputError, match="other settings of stage2"):
        run(config(place, *second, "stage2.alpha=0.5"))
    with pytest.raises(InputError, match="other settings of c:"):
        run(replace(config(place, *second), c=1))

    start = place / "two" / "weights.safetensors"
    still = [f"out={place / 'three'}", "stage=2", "loop.ema=0", "stage2.predictor.lr=0", "stage2.regularizer.lr=0"]
    still += ["stage2.predictor.min_lr=0", "stage2.regularizer.min_lr=0", f"stage2.start={start}"]
    run(config(place, *still))
    source, later = (AutoDrag.load(place / name / "weights.safetensors").state_dict() for name in ("two", "three"))
    assert all(torch.equal(value, later[name]) for name, value in source.items())
    with pytest.raises(InputError, match=r"aim of .* does not have the size"):
        run(config(place, f"out={place / 'five'}", *second[1:], "model.predictor.aim.width=8"))
    with pytest.raises(InputError, match="do not have the size"):
        run(config(place, f"out={place / 'four'}", "stage=2", f"stage2.start={start}", "model.predictor.mlp_ratio=1"))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("stage=3", "no stage 3"),
        ("stage2.start=nowhere.safetensors", "no trained regularizer at nowhere.safetensors"),
        ("stage2.aim=nowhere.safetensors", "no trained aim at nowhere.safetensors"),
        ("stage2.motion=nowhere.safetensors", "no weights of stage=motion at nowhere.safetensors"),
        ("stage=motion motion.start=nowhere.safetensors", "no weights of stage=motion at nowhere.safetensors"),
        ("data=nowhere", "nowhere holds no trajectories"),
        ("stage2.budget.batch=0", "at least 1"),
        ("stage2.validation=0", "validation must be at least 1"),
        ("stage=motion motion.metric_latents=0", "metric_latents is 0"),
        ("stage2.augmentation.still=2", "at most 1"),
        ("device=tpu9", "Unknown device"),
        ("model.steps=0", "at least one step, but model.steps=0"),
        ("model.steps=3", r"hold matches of 5 steps, but L_drag needs those of model.steps=3"),
    ],
)
def test_impossible_settings_give_a_clear_error(place: Path, tmp_path: Path, override: str, sentence: str) -> None:
    overrides = [f"out={tmp_path / 'run'}", "stage2.start=null", "stage2.aim=null", *override.split()]
    with pytest.raises(InputError, match=sentence):
        run(config(place, *overrides))


@pytest.mark.parametrize("stage", ["1", "motion", "aim", "2", "2 model.skip=none", "latent_transformer"])
def test_a_generator_with_fewer_rows_than_drags_edit_is_refused(place: Path, tmp_path: Path, stage: str) -> None:
    network = FrozenGenerator.random(resolution=(8, 8), w_dim=32).trainable_copy()
    write_safetensors(tmp_path / "small.safetensors", network.config, network.state_dict())
    given = [f"dataset={tmp_path / 'small.safetensors'}", f"out={tmp_path / 'run'}", *f"stage={stage}".split()]
    with pytest.raises(InputError, match="takes 4 latent rows, but this stage trains on 6: use a generator of at"):
        run(config(place, *given))


def test_a_resumed_run_keeps_its_precision(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [f"out={tmp_path / 'run'}", "stage=1", "loop.precision=auto"]
    for suits, epochs in (("float32", 1), ("bfloat16", 2)):  # the second time on another machine
        monkeypatch.setattr("autodrag.training.run.choose", lambda asked, device, suits=suits: suits)
        run(config(place, *given, f"stage1.budget.epochs={epochs}"))
        assert "precision: float32" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").count("Training in float32 on cpu.") == 2


@pytest.mark.parametrize("stage", ["motion", "aim", "2"])
def test_a_resumed_run_keeps_its_samples_where_more_are_made(place: Path, tmp_path: Path, stage: str) -> None:
    trained = []
    for name, count in (("as it was", 20), ("more", 28)):
        data = shutil.copytree(place / "data", tmp_path / name / "data")
        given = [f"data={data}", f"out={tmp_path / name / 'run'}", f"stage={stage}"]
        given += ["stage2.start=null", "stage2.aim=null"]
        run(config(place, *given))
        fill(data, read_index(data).recipe, count, 8, lambda indices: map(motion, indices), lambda line: None)
        run(config(place, *given, f"{'stage2' if stage == '2' else stage}.budget.epochs=2"))
        trained.append(load_file(tmp_path / name / "run" / "weights.safetensors"))
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
    log = (tmp_path / "more" / "run" / "log.txt").read_text(encoding="utf-8")
    assert log.count("now holds 28 samples, but this run goes on with the first 20, with which it was started") == 1

    shutil.rmtree(data)
    data.mkdir()
    made = read_index(place / "data").recipe
    fill(data, made, 12, 8, lambda indices: map(motion, indices), lambda line: None)
    with pytest.raises(InputError, match="holds 12 samples, but this run was started with 20"):
        run(config(place, *given))


@pytest.mark.parametrize("model", ["paper", "small"])
@pytest.mark.parametrize("stage", [1, 2])
def test_the_config_composes_for_every_model_and_stage(model: str, stage: int) -> None:
    composed = typed(TrainConfig, compose("train", [f"model={model}", f"stage={stage}", "dataset=ffhq"]))
    assert composed.out == f"runs/ffhq-stage{stage}"


def test_the_defaults_are_those_of_the_paper() -> None:
    composed = typed(TrainConfig, compose("train"))
    assert composed.stage1.schedule.lr == 1e-3 and composed.stage1.budget.epochs == 50
    assert composed.stage2.regularizer.lr == 1e-5 and composed.stage2.budget.epochs == 150
    cosine = composed.stage2.predictor
    assert (cosine.lr, cosine.min_lr, cosine.period) == (1e-5, 1e-7, 30)
    assert (composed.stage2.alpha, composed.stage2.beta) == (0.1, 1.0)


def test_the_recipe_of_synthface_fits_together() -> None:
    trained = typed(TrainConfig, compose("train", ["experiment=synthface"]))
    made = typed(TrajectoriesConfig, compose("trajectories", ["experiment=synthface_trajectories"]))
    assert trained.dataset.name == made.dataset.name == "synthface" and trained.data == made.out
    assert made.trajectory.landmarks or trained.stage2.landmarks == 0
    assert made.trajectory.match_steps or trained.stage2.beta == 0
    landing = [
        typed(TrajectoriesConfig, compose("trajectories", [f"experiment={name}"]))
        for name in ("synthface_landing", "synthface_landing_rows", "synthface_landing_parts")
    ]
    assert trained.motion.folders == tuple(each.out for each in landing[:2])  # the parts are optional
    assert len({each.out for each in landing}) == 3
    assert trained.motion.outlines == 0 or all(each.trajectory.outlines for each in landing)
    assert trained.motion.landmarks == 0 or all(each.trajectory.landmarks for each in landing)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("loop.logger.log_every=0", "'loop.logger.log_every' is 0, expected a number at least 1"),
        ("loop.logger.validation_minutes=-1", "'loop.logger.validation_minutes' is -1"),
        ("loop.patience=0", "'loop.patience' is 0"),
        ("loop.ema=1.5", "'loop.ema' is 1.5, expected a number from 0 to 1"),
        ("loop.clip=0", "'loop.clip' is 0"),
        ("stage1.validation=0", "'stage1.validation' is 0, expected a number at least 2"),
        ("stage1.drop=2", "'stage1.drop' is 2"),
        ("stage1.schedule.period=0", "'schedule.period' is 0"),
        ("latent_transformer.validation=0", "'latent_transformer.validation' is 0"),
        ("latent_transformer.network.width=12", "'latent_transformer.network.width' is 12, expected a multiple of 8"),
        ("encoder.network.width=12", "'encoder.network.width' is 12, expected a multiple of 8"),
        ("encoder.network.width=0", "'encoder.network.width' is 0, expected a multiple of 8"),
        ("encoder.network.directions=0", "'encoder.network.directions' is 0, expected a number at least 1"),
        ("encoder.jacobian_latents=0", "'encoder.jacobian_latents' is 0"),
        ("motion.network.width=0", "'motion.network.width' is 0"),
        ("motion.landing.shared=0", "'motion.landing.shared' is 0"),
        ("model.predictor.heads=3", "'model.predictor.width' is 512, expected a multiple of 3"),
        ("model.regularizer.heads=0", "'model.regularizer.heads' is 0"),
        ("+model.predictor.aim={grid: 0, width: 8, layers: 1}", "'model.predictor.aim.grid' is 0"),
    ],
)
def test_numbers_out_of_range_give_a_clear_error(override: str, says: str) -> None:
    with pytest.raises(InputError, match=f"^Config key {says}"):
        typed(TrainConfig, compose("train", [override]))


PAPERS = ("paper", "paper_coordinates", "paper_toward", "paper_toward_coordinates")


@pytest.mark.parametrize("experiment", PAPERS)
def test_the_papers_own_recipe_has_nothing_of_ours(experiment: str) -> None:
    trained = typed(TrainConfig, compose("train", [f"experiment={experiment}", "stage=2"]))
    first = typed(TrainConfig, compose("train", ["experiment=paper", "stage=1"]))
    toward = "toward" in experiment
    makes = f"experiment={'paper_toward' if toward else 'paper'}_trajectories"
    made = typed(TrajectoriesConfig, compose("trajectories", [makes]))
    assert trained.data == made.out and trained.stage2.start == f"{first.out}/weights.safetensors"
    motion = made.trajectory
    assert motion.direction == ("toward" if toward else "away") and motion.angle == (90, 90)
    assert motion.lam[0] == motion.lam[1] and motion.jump == 0 and motion.match_steps and not motion.landmarks
    model, stage = trained.model, trained.stage2
    assert model.predictor.points == ("full" if "coordinates" in experiment else "patch_only")
    assert (model.skip, model.predictor.aim, stage.motion) == ("plain", None, None)
    assert (stage.alpha, stage.beta, stage.rollout, stage.continued, stage.landmarks, stage.far) == (0.1, 1, 0, 0, 0, 0)
    assert not any(vars(stage.augmentation).values()) and first.stage1.latents == "w" and first.stage1.mixed == 0
    assert (stage.budget.epochs, stage.budget.samples, stage.predictor.lr, stage.regularizer.lr) == (
        150,
        10000,
        1e-5,
        1e-5,
    )


def test_the_papers_own_recipe_trains(place: Path) -> None:
    small = [given for given in TINY if ".aim." not in given and given != "model=small"]
    given = [f"dataset={place / 'tiny.safetensors'}", f"data={place / 'data'}", "experiment=paper", *small]
    given += ["model.feature_block=5", "model.predictor.grid=4"]
    for stage in (1, 2):
        start = f"stage2.start={place / 'paper1' / 'weights.safetensors'}"
        run(typed(TrainConfig, compose("train", [*given, start, f"stage={stage}", f"out={place / f'paper{stage}'}"])))
    model = AutoDrag.load(place / "paper2" / "weights.safetensors")
    assert model.config.skip == "plain" and model.config.predictor.points == "patch_only"
    logged = json.loads((place / "paper2" / "stats.jsonl").read_text().splitlines()[0])
    assert logged["drag"] > 0 and logged["loss"] == pytest.approx(0.1 * logged["prediction"] + logged["drag"], rel=1e-4)


def test_the_transformer_alone_differs_from_ours_in_two_keys() -> None:
    ours, plain = (
        typed(TrainConfig, compose("train", [f"experiment={name}"])) for name in ("synthface", "synthface_plain")
    )
    assert plain.model.predictor.aim is None and plain.stage2.motion is None
    assert replace(plain.model.predictor, aim=ours.model.predictor.aim) == ours.model.predictor
    assert replace(plain.stage2, motion=ours.stage2.motion) == ours.stage2
