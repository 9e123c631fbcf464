"""Training runs (`scripts/train.py`): from a config to a run folder with trained weights."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from autodrag.config import dump, load_yaml
from autodrag.data.shards import read_index
from autodrag.devices import keep_freed_memory
from autodrag.errors import InputError
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.latents import EDITED_ROWS
from autodrag.loading import load_generator
from autodrag.models.cost import cost_table
from autodrag.precision import choose
from autodrag.runs.folder import RunFolder
from autodrag.runs.lock import exclusive
from autodrag.runs.ranks import Ranks, join_ranks
from autodrag.training.build import STAGES, TrainConfig
from autodrag.training.loop import Precision, train
from autodrag.training.stages.base import Budget
from autodrag.training.stages.stage2 import PredictorStage


def run(config: TrainConfig) -> None:
    """Train or resume the stage of the config, and write its weights to `out`/weights.safetensors.

    Raises InputError for an unknown stage, or if `out` holds a run with other settings.
    """
    if config.stage not in STAGES:
        raise InputError(f"There is no stage {config.stage}: choose stage={' or stage='.join(map(str, STAGES))}.")
    entry = STAGES[config.stage]
    budget: Budget = getattr(config, entry.section).budget
    out = Path(config.out)
    with join_ranks(config.device) as ranks, _alone(out, ranks):
        config = _with_precision(out, config, ranks)
        _check_same(out, config)
        now = _samples_now(config)
        config = replace(config, samples=ranks.agree(lambda: now | _samples_of(out)))
        torch.set_float32_matmul_precision("high")
        if ranks.device.type == "cpu":
            keep_freed_memory()
        generator = _generator(config, ranks)
        if entry.prepare and ranks.first:
            entry.prepare(config, generator)
        ranks.wait()
        stage = entry.build(config, generator)

        def open_folder(step: int) -> RunFolder:
            folder = RunFolder(out, dump(config), step)
            folder.say(f"Training in {config.loop.precision} on {ranks.device}.")
            for data, samples in now.items():
                if samples != config.samples[data]:
                    folder.say(_goes_on(data, samples, config.samples[data]))
            if isinstance(stage, PredictorStage):
                folder.say(cost_table(stage.model))
            return folder

        finished = train(stage, budget, config.loop, ranks, out / "checkpoints", open_folder)
        if finished and ranks.first:
            stage.save(out / "weights.safetensors")
            print(f"Saved the trained model to {out / 'weights.safetensors'}.")


def _generator(config: TrainConfig, ranks: Ranks) -> FrozenGenerator:
    """The generator of the dataset. Raises InputError if its latents have fewer rows than the stage trains on."""
    dtype = getattr(torch, config.loop.precision)
    generator = load_generator(config.dataset, ranks.device, dtype, c=config.c)
    if STAGES[config.stage].edits and generator.num_ws < EDITED_ROWS:
        raise InputError(
            f"{generator.name} takes {generator.num_ws} latent rows, but this stage trains on {EDITED_ROWS}: use a "
            "generator of at least 16 px, or method=draggan or freedrag, which need no training."
        )
    return generator


def _with_precision(out: Path, config: TrainConfig, ranks: Ranks) -> TrainConfig:
    """Resolve `loop.precision=auto`: the precision of the run in `out`, or the best for the device."""

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


def _samples_now(config: TrainConfig) -> dict[str, int]:
    """The number of samples in each folder of trajectories that the stage trains on."""
    folders = STAGES[config.stage].folders
    return {} if folders is None else {folder: read_index(Path(folder)).samples for folder in folders(config)}


def _samples_of(out: Path) -> dict[str, int]:
    """Those numbers when the run in `out` was started: with more, other samples would be held out, and the order of all
    would change. Empty for a new run.
    """
    return _written(out).samples if (out / "config.yaml").exists() else {}


def _goes_on(data: str, now: int, then: int) -> str:
    return (
        f"{data} now holds {now} samples, but this run goes on with the first {then}, with which it was started: to "
        "train on all of them, choose another out=."
    )


def _check_same(out: Path, config: TrainConfig) -> None:
    """Raises InputError if a setting changed that must not when a run resumes; epochs and devices may."""
    if not (out / "config.yaml").exists():
        return
    before, now = _comparable(_written(out)), _comparable(config)
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differing:
        raise InputError(
            f"{out} holds a run with other settings of {', '.join(differing)}: choose another out=, or delete it."
        )


def _comparable(config: TrainConfig) -> dict[str, object]:
    """The settings that must not change when a run resumes, by config key."""
    section = STAGES[config.stage].section
    settings = getattr(config, section)
    return {
        **{key: getattr(config, key) for key in ("stage", "dataset", "c", "model", "data", "seed")},
        **{f"loop.{key}": getattr(config.loop, key) for key in ("precision", "betas", "clip", "ema")},
        section: replace(settings, budget=replace(settings.budget, epochs=0.0)),
    }


@contextmanager
def _alone(out: Path, ranks: Ranks) -> Iterator[None]:
    """Lock the run folder."""
    if ranks.first:
        make_folder(out)
    with exclusive(out) if ranks.first else nullcontext():
        yield
