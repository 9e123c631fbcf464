"""Build the stage that the loop trains from the config of `scripts/train.py`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from autodrag.config import DatasetConfig
from autodrag.data.dataset import Trajectories
from autodrag.data.shards import read_index
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.models import Aim, AutoDrag, Encoder, Landing, ModelConfig, PointMotion, Regularizer
from autodrag.models.encoder import main_directions
from autodrag.models.latent_transformer import FEATURE_BLOCK, LatentTransformer, MotionScale
from autodrag.seeding import seeded
from autodrag.training.augmentation import check_steps
from autodrag.training.endpoint_drags import EndsConfig
from autodrag.training.latent_statistics import domain_shape, image_metric, measure, measure_manifold, measure_whitening
from autodrag.training.loop import LoopConfig
from autodrag.training.picture_cache import fill_cache, load_moves, load_pictures
from autodrag.training.stages.aim import AimStage, AimTraining
from autodrag.training.stages.base import Stage
from autodrag.training.stages.encoder import EncoderStage, EncoderTraining
from autodrag.training.stages.latent_transformer import LatentTransformerStage, LatentTransformerTraining, MotionPairs
from autodrag.training.stages.point_motion import MotionStage, MotionTraining
from autodrag.training.stages.stage1 import RegularizerStage, Stage1Config
from autodrag.training.stages.stage2 import PredictorStage, Stage2Config
from autodrag.training.warm_start import load_motion, start_from, take_aim, take_motion
from autodrag.vision.flow import Flow

LANDING_BLOCK = 4  # generator block, counted from 1, for the image metric of the manifold


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
    #: Samples by folder of trajectories, with which the run was started; those made later are not used. Set by the run.
    samples: dict[str, int] = field(default_factory=dict)


def build_stage1(config: TrainConfig, generator: FrozenGenerator) -> RegularizerStage:
    """Stage 1: a new regularizer and its training latents."""
    statistics = measure(generator, config.model.feature_block, config.seed)
    with _seeded(config):
        regularizer = Regularizer(config.model.regularizer, generator.num_ws, generator.w_dim, statistics)
    trajectory = config.stage1.latents == "trajectory"
    motion = read_index(Path(config.data)).recipe.trajectory if trajectory else None
    return RegularizerStage(regularizer, generator, config.stage1, config.dataset.psi, config.seed, motion)


def build_motion(config: TrainConfig, generator: FrozenGenerator) -> MotionStage:
    """Stage `motion`: point motion in a `Landing` model with measured manifold, and its trajectories."""
    section, block = config.motion, config.model.feature_block
    statistics = measure(generator, block, config.seed)
    with _seeded(config):
        motion = PointMotion(section.network, generator.w_dim, statistics.w_mean, statistics.w_std)
    if section.start is not None:
        take_motion(motion, section.start)
    metric = image_metric(generator, statistics.w_std, LANDING_BLOCK, config.seed, section.metric_latents)
    manifold = measure_manifold(generator, metric, config.dataset.psi, config.seed)
    landing = Landing(section.landing, motion, manifold)
    trajectories = [_ends_of(config, section, generator, folder) for folder in _motion_folders(config)]
    return MotionStage(landing, trajectories, section, config.seed)


def build_aim(config: TrainConfig, generator: FrozenGenerator) -> AimStage:
    """Stage `aim`: a new aim of the size given by model=, and its trajectories. Raises InputError without a size."""
    size, block = config.model.predictor.aim, config.model.feature_block
    if size is None:
        raise InputError("This model has no aim to train: choose model=small, or set model.predictor.aim.")
    statistics = measure(generator, block, config.seed)
    with _seeded(config):
        aim = Aim(size, generator.w_dim, statistics.w_mean, statistics.w_std)
    section = config.aim
    motion = load_motion(section.motion, "aim", generator)
    trajectories = _ends_of(config, section, generator, config.data)
    return AimStage(aim, trajectories, block, section, config.seed, motion)


def build_stage2(config: TrainConfig, generator: FrozenGenerator) -> PredictorStage:
    """Stage 2: a new model with the regularizer of stage 1, and its trajectories."""
    section, block = config.stage2, config.model.feature_block
    if section.validation < 1:
        raise InputError("stage2.validation must be at least 1: the number of samples held out for validation.")

    def trajectories(part: slice, together: int) -> Trajectories:
        points, steps, landmarks = section.points, section.step_points, section.landmarks
        far = section.far if together > 1 else 0.0
        first = config.samples.get(config.data)
        return Trajectories(config.data, generator, points, steps, config.seed, part, together, landmarks, far, first)

    statistics = measure(generator, block, config.seed)
    with _seeded(config):
        model = AutoDrag(config.model, domain_shape(generator, block), statistics)
    if section.start is not None:
        start_from(model, Path(section.start))
    if model.predictor.aim is not None and section.aim is not None:
        take_aim(model.predictor.aim, section)
    training = trajectories(slice(None, -section.validation), section.budget.batch)
    if section.beta > 0:
        check_steps(training.recipe.trajectory, config.model.steps)
    validation = trajectories(slice(-section.validation, None), 1)
    motion = load_motion(section.motion, "stage2", generator)
    return PredictorStage(model, training, validation, section, config.seed, motion)


def prepare_encoder(config: TrainConfig, generator: FrozenGenerator) -> None:
    """Generate the training images of the stage `encoder` that their folder lacks."""
    section = config.encoder
    fill_cache(Path(section.folder), generator, section.pictures, section.jacobian_latents, config.seed)


def build_encoder(config: TrainConfig, generator: FrozenGenerator) -> EncoderStage:
    """Stage `encoder`: a new encoder and its training images."""
    section, folder = config.encoder, Path(config.encoder.folder)
    pictures, ws = load_pictures(folder, section.pictures)
    moves = load_moves(folder, section.jacobian_latents)
    whitening = measure_whitening(generator, config.seed)
    directions = main_directions(moves, section.network.directions)
    with _seeded(config):
        encoder = Encoder(section.network, generator.num_ws, whitening, directions)
    return EncoderStage(encoder, generator, pictures, ws, section, config.seed)


def build_latent_transformer(config: TrainConfig, generator: FrozenGenerator) -> LatentTransformerStage:
    """The baseline UserControllableLT. The motion scale is the dataset's, or measured if it has none."""
    section, dataset = config.latent_transformer, config.dataset
    pairs = MotionPairs(generator, Flow(section.flow, generator.device), section.psi, section.lam, config.seed)
    if dataset.sigma_f is None or dataset.sigma_e is None:
        scale = pairs.scale()
    else:
        scale = MotionScale(dataset.sigma_f, dataset.sigma_e)
    statistics = measure(generator, FEATURE_BLOCK, config.seed)
    with _seeded(config):
        model = LatentTransformer(section.network, domain_shape(generator, FEATURE_BLOCK), scale, statistics)
    return LatentTransformerStage(model, pairs, section)


def _data_folder(config: TrainConfig) -> tuple[str, ...]:
    return (config.data,)


def _motion_folders(config: TrainConfig) -> tuple[str, ...]:
    return config.motion.folders or (config.data,)


class StageEntry(NamedTuple):
    """How a stage is built."""

    section: str  # its section of the config, which has a `budget`
    build: Callable[[TrainConfig, FrozenGenerator], Stage]
    prepare: Callable[[TrainConfig, FrozenGenerator], None] | None = None  # writes files that all ranks then read
    edits: bool = True  # whether it trains on the rows of latents that drags edit
    folders: Callable[[TrainConfig], tuple[str, ...]] | None = None  # of the trajectories whose samples it trains on


STAGES: dict[int | str, StageEntry] = {
    1: StageEntry("stage1", build_stage1),
    "motion": StageEntry("motion", build_motion, folders=_motion_folders),
    "aim": StageEntry("aim", build_aim, folders=_data_folder),
    2: StageEntry("stage2", build_stage2, folders=_data_folder),
    "encoder": StageEntry("encoder", build_encoder, prepare_encoder, edits=False),
    "latent_transformer": StageEntry("latent_transformer", build_latent_transformer),
}


def _ends_of(config: TrainConfig, section: EndsConfig, generator: FrozenGenerator, folder: str) -> Trajectories:
    """The trajectories of a folder, for `endpoint_drags.Ends`."""
    first = config.samples.get(folder)
    return Trajectories(folder, generator, section.points, 1, config.seed, landmarks=section.landmarks, first=first)


def _seeded(config: TrainConfig) -> AbstractContextManager[None]:
    """Initial weights depend only on the seed and the stage."""
    return seeded(config.seed, f"weights of stage {config.stage}")
