"""`scripts/train.py`: from a config to a run folder with trained weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from autodrag.config import DatasetConfig, dump, load_yaml
from autodrag.data.dataset import Trajectories
from autodrag.data.shards import read_index
from autodrag.devices import keep_freed_memory
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.models import Aim, AutoDrag, Encoder, Landing, ModelConfig, PointMotion, Regularizer
from autodrag.models.cost import cost_table
from autodrag.models.encoder import main_directions
from autodrag.models.stored import stored_kind
from autodrag.precision import choose
from autodrag.runs.folder import RunFolder
from autodrag.runs.lock import exclusive
from autodrag.runs.ranks import Ranks, join_ranks
from autodrag.training.augmentation import check_steps
from autodrag.training.endpoint_drags import EndsConfig
from autodrag.training.latent_statistics import domain_shape, image_metric, measure, measure_manifold, measure_whitening
from autodrag.training.loop import LoopConfig, Precision, train
from autodrag.training.picture_cache import load_moves, load_pictures
from autodrag.training.stages import latent_transformer
from autodrag.training.stages.aim import AimStage, AimTraining
from autodrag.training.stages.base import Budget, Stage
from autodrag.training.stages.encoder import EncoderStage, EncoderTraining
from autodrag.training.stages.latent_transformer import LatentTransformerStage, LatentTransformerTraining
from autodrag.training.stages.point_motion import MotionStage, MotionTraining
from autodrag.training.stages.stage1 import RegularizerStage, Stage1Config
from autodrag.training.stages.stage2 import PredictorStage, Stage2Config

LANDING_BLOCK = 4  # generator block, counted from 1, whose output measures how much a move changes the image


@dataclass(frozen=True)
class TrainConfig:
    """`configs/train.yaml`."""

    stage: int | str  # 1, motion, aim, 2, encoder or latent_transformer; each has its section below
    dataset: DatasetConfig  # the generator
    model: ModelConfig
    data: str  # folder of trajectories, from scripts/trajectories.py
    out: str  # run folder
    seed: int
    device: str  # auto, cpu, cuda or cuda:N
    loop: LoopConfig
    stage1: Stage1Config
    motion: MotionTraining
    aim: AimTraining
    stage2: Stage2Config
    encoder: EncoderTraining
    latent_transformer: LatentTransformerTraining
    c: int | tuple[float, ...] | None = None  # class of a conditional generator; older run folders lack it


def run(config: TrainConfig) -> None:
    """Train the stage of the config, or resume it, and write its weights to `out`/weights.safetensors."""
    if config.stage not in STAGES:
        raise InputError(f"There is no stage {config.stage}: choose stage={' or stage='.join(map(str, STAGES))}.")
    section, build = STAGES[config.stage]
    budget: Budget = getattr(config, section).budget
    out = Path(config.out)
    with join_ranks(config.device) as ranks, _alone(out, ranks):
        config = _with_precision(out, config, ranks)
        _check_same(out, config)
        torch.set_float32_matmul_precision("high")
        if ranks.device.type == "cpu":
            keep_freed_memory()
        dtype = getattr(torch, config.loop.precision)
        generator = load_generator(config.dataset, ranks.device, dtype, c=config.c)
        stage = build(config, generator)

        def open_folder(step: int) -> RunFolder:
            folder = RunFolder(out, dump(config), step)
            folder.say(f"Training in {config.loop.precision} on {ranks.device}.")
            if isinstance(stage, PredictorStage):
                folder.say(cost_table(stage.model))
            return folder

        finished = train(stage, budget, config.loop, ranks, out / "checkpoints", open_folder)
        if finished and ranks.first:
            stage.save(out / "weights.safetensors")
            print(f"{out / 'weights.safetensors'} holds the trained model.")


def build_stage1(config: TrainConfig, generator: FrozenGenerator) -> RegularizerStage:
    """A new regularizer, and the latents it learns from."""
    statistics = measure(generator, config.model.feature_block, config.seed)
    torch.manual_seed(config.seed)
    regularizer = Regularizer(config.model.regularizer, generator.num_ws, generator.w_dim, statistics)
    trajectory = config.stage1.latents == "trajectory"
    motion = read_index(Path(config.data)).recipe.trajectory if trajectory else None
    return RegularizerStage(regularizer, generator, config.stage1, config.dataset.psi, config.seed, motion)


def build_motion(config: TrainConfig, generator: FrozenGenerator) -> MotionStage:
    """A new network of point motion, what `Landing` needs to drag with it, and the trajectories it learns from."""
    section, block = config.motion, config.model.feature_block
    statistics = measure(generator, block, config.seed)
    torch.manual_seed(config.seed)
    motion = PointMotion(section.network, generator.w_dim, statistics.w_mean, statistics.w_std)
    metric = image_metric(generator, statistics.w_std, LANDING_BLOCK, config.seed, section.metric_latents)
    manifold = measure_manifold(generator, metric, config.dataset.psi, config.seed)
    landing = Landing(section.landing, motion, manifold, metric)
    folders = section.folders or (config.data,)
    trajectories = [_ends_of(config, section, generator, folder) for folder in folders]
    return MotionStage(landing, trajectories, section, config.seed)


def build_aim(config: TrainConfig, generator: FrozenGenerator) -> AimStage:
    """A new aim of the size that model= gives, and the trajectories it learns from."""
    size, block = config.model.predictor.aim, config.model.feature_block
    if size is None:
        raise InputError("This model has no aim to train: choose model=small, or set model.predictor.aim.")
    statistics = measure(generator, block, config.seed)
    torch.manual_seed(config.seed)
    aim = Aim(size, generator.w_dim, statistics.w_mean, statistics.w_std)
    section = config.aim
    motion = _load_motion(section.motion, "aim", generator)
    trajectories = _ends_of(config, section, generator, config.data)
    return AimStage(aim, trajectories, block, section, config.seed, motion)


def build_stage2(config: TrainConfig, generator: FrozenGenerator) -> PredictorStage:
    """A new model with the regularizer of stage 1, and the trajectories it learns from."""
    section, block = config.stage2, config.model.feature_block
    if section.validation < 1:
        raise InputError("stage2.validation must be at least 1: samples to validate on, which are not trained on.")

    def trajectories(part: slice, together: int) -> Trajectories:
        points, steps, landmarks = section.points, section.step_points, section.landmarks
        far = section.far if together > 1 else 0.0
        return Trajectories(config.data, generator, points, steps, config.seed, part, together, landmarks, far)

    statistics = measure(generator, block, config.seed)
    torch.manual_seed(config.seed)
    model = AutoDrag(config.model, domain_shape(generator, block), statistics)
    if section.start is not None:
        _start_from(model, Path(section.start))
    if model.predictor.aim is not None and section.aim is not None:
        _take_aim(model.predictor.aim, section)
    training = trajectories(slice(None, -section.validation), section.budget.batch)
    if section.beta > 0:
        check_steps(training.recipe.trajectory, config.model.steps)
    validation = trajectories(slice(-section.validation, None), 1)
    motion = _load_motion(section.motion, "stage2", generator)
    return PredictorStage(model, training, validation, section, config.seed, motion)


def build_encoder(config: TrainConfig, generator: FrozenGenerator) -> EncoderStage:
    """A new encoder, and the pictures it learns from, which are made if their folder lacks them."""
    section, folder = config.encoder, Path(config.encoder.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        pictures, ws = load_pictures(folder, generator, section.pictures, config.seed)
        moves = load_moves(folder, generator, section.pictures, section.moves, config.seed)
    whitening = measure_whitening(generator, config.seed)
    torch.manual_seed(config.seed)
    encoder = Encoder(section.network, generator.num_ws, whitening, main_directions(moves, section.network.directions))
    return EncoderStage(encoder, generator, pictures, ws, section, config.seed)


def build_latent_transformer(config: TrainConfig, generator: FrozenGenerator) -> LatentTransformerStage:
    """The network of UserControllableLT, a baseline."""
    return latent_transformer.build(config.latent_transformer, config.dataset, generator, config.seed)


#: The stages: the name of their config section, which has a `budget`, and the function that builds them.
STAGES: dict[int | str, tuple[str, Callable[[TrainConfig, FrozenGenerator], Stage]]] = {
    1: ("stage1", build_stage1),
    "motion": ("motion", build_motion),
    "aim": ("aim", build_aim),
    2: ("stage2", build_stage2),
    "encoder": ("encoder", build_encoder),
    "latent_transformer": ("latent_transformer", build_latent_transformer),
}


def _ends_of(config: TrainConfig, section: EndsConfig, generator: FrozenGenerator, folder: str) -> Trajectories:
    """The trajectories of a folder, for `endpoint_drags.Ends`."""
    return Trajectories(folder, generator, section.points, 1, config.seed, landmarks=section.landmarks)


def _load_motion(file: str | None, section: str, generator: FrozenGenerator) -> PointMotion | None:
    """The network that the stage `motion` has trained; None if the section does not use it."""
    if file is None:
        return None
    if not Path(file).exists():
        raise InputError(
            f"There are no weights of stage=motion at {file}: train that stage, choose other weights with "
            f"{section}.motion=FILE, or turn the landing loss off with {section}.motion=null."
        )
    motion = Landing.load(file).motion
    if len(motion.standardise.mean) != generator.w_dim:
        raise InputError(f"{file} was trained for another generator than {generator.name}: train stage=motion.")
    return motion


def _start_from(model: AutoDrag, path: Path) -> None:
    """Load the parameters of stage 1 or of another stage 2. The statistics stay those of this generator."""
    if not path.exists():
        if model.regularizer is None:
            return
        raise InputError(
            f"There is no trained regularizer at {path}: train it with stage=1, choose another file with "
            "stage2.start=FILE, or start from random weights with stage2.start=null."
        )
    whole = stored_kind(path) == "autodrag"
    trained: nn.Module = AutoDrag.load(path) if whole else Regularizer.load(path)
    network: nn.Module | None = model if whole else model.regularizer
    if network is None:
        return
    parameters = {name: parameter.detach() for name, parameter in trained.named_parameters()}
    if {n: p.shape for n, p in parameters.items()} != {n: p.shape for n, p in network.named_parameters()}:
        raise InputError(
            f"The weights of {path} have another size than model= gives: train stage=1 with this model and generator."
        )
    network.load_state_dict(parameters, strict=False)


def _take_aim(aim: Aim, section: Stage2Config) -> None:
    """Load the aim of the stage `aim`, unless another stage 2 has brought one, and freeze it."""
    aim.requires_grad_(False)
    if section.start is not None and stored_kind(section.start) == "autodrag":
        return
    path = Path(section.aim or "")
    if not path.exists():
        raise InputError(
            f"There is no trained aim at {path}: train it with stage=aim, choose another file with stage2.aim=FILE, or "
            "train it together with the rest with stage2.aim=null."
        )
    trained = Aim.load(path)
    if trained.config != aim.config or trained.standardise.mean.shape != aim.standardise.mean.shape:
        raise InputError(f"The aim of {path} has another size than model= gives: train stage=aim with this model.")
    aim.mlp.load_state_dict(trained.mlp.state_dict())


def _with_precision(out: Path, config: TrainConfig, ranks: Ranks) -> TrainConfig:
    """Resolve `loop.precision=auto`: the precision of the run in `out`, else the best for the device."""

    def decide() -> Precision:
        if (out / "config.yaml").exists():
            return _written(out).loop.precision
        return "bfloat16" if choose("auto", ranks.device) == "bfloat16" else "float32"

    if config.loop.precision != "auto":
        return config
    return replace(config, loop=replace(config.loop, precision=ranks.agree(decide)))


def _written(out: Path) -> TrainConfig:
    try:
        return load_yaml(out / "config.yaml", TrainConfig)
    except InputError as error:
        raise InputError(f"{out} holds a run of another version ({error}) Choose another out=, or delete it.") from None


def _check_same(out: Path, config: TrainConfig) -> None:
    """A run may resume with more epochs and on other devices. Raises InputError if anything else has changed."""
    if not (out / "config.yaml").exists():
        return
    before, now = _comparable(_written(out)), _comparable(config)
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        raise InputError(
            f"{out} holds a run with other settings of {', '.join(differing)}: choose another out=, or delete it."
        )


def _comparable(config: TrainConfig) -> dict[str, object]:
    """The settings that may not change when a run resumes, by config key."""
    section = STAGES[config.stage][0]
    settings = getattr(config, section)
    return {
        **{key: getattr(config, key) for key in ("stage", "dataset", "model", "data", "seed")},
        **{f"loop.{key}": getattr(config.loop, key) for key in ("precision", "betas", "clip", "ema")},
        section: replace(settings, budget=replace(settings.budget, epochs=0.0)),
    }


@contextmanager
def _alone(out: Path, ranks: Ranks) -> Iterator[None]:
    """Lock the folder for this run."""
    if ranks.first:
        out.mkdir(parents=True, exist_ok=True)
    with exclusive(out) if ranks.first else nullcontext():
        yield
