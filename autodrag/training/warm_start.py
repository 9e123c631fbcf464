"""Load networks of earlier stages, which a stage starts from or uses. Files that do not fit raise InputError."""

from pathlib import Path

from torch import nn

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.models import Aim, AutoDrag, Landing, PointMotion, Regularizer
from autodrag.models.stored import stored_kind
from autodrag.training.stages.stage2 import Stage2Config


def load_motion(file: str | None, section: str, generator: FrozenGenerator) -> PointMotion | None:
    """The network trained by the stage `motion`; None if `file` is None. section: config section, for messages."""
    if file is None:
        return None
    if not Path(file).exists():
        raise InputError(
            f"There are no weights of stage=motion at {file}: train that stage, choose other weights with "
            f"{section}.motion=FILE, or turn the landing loss off with {section}.motion=null."
        )
    motion = Landing.load(file).motion
    if len(motion.standardise.mean) != generator.w_dim:
        raise InputError(f"{file} was trained for another generator than {generator.name}: train stage=motion for it.")
    return motion


def take_motion(motion: PointMotion, file: str) -> None:
    """Load the weights of an earlier stage `motion` of the same generator and size."""
    if not Path(file).exists():
        raise InputError(
            f"There are no weights of stage=motion at {file}: choose others with motion.start=FILE, or start from "
            "random weights with motion.start=null."
        )
    trained = Landing.load(file).motion.state_dict()
    if {n: p.shape for n, p in trained.items()} != {n: p.shape for n, p in motion.state_dict().items()}:
        raise InputError(f"The weights of {file} are of another generator or another motion.network than this one's.")
    motion.load_state_dict(trained)


def start_from(model: AutoDrag, path: Path) -> None:
    """Load the parameters of stage 1 or of another stage 2. Statistics stay those of this generator."""
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
            f"The weights of {path} do not have the size given by model=: train stage=1 with this model and generator."
        )
    network.load_state_dict(parameters, strict=False)


def take_aim(aim: Aim, section: Stage2Config) -> None:
    """Load the aim of the stage `aim` and freeze it; `start_from` already loaded one if it is another stage 2."""
    aim.requires_grad_(False)
    # A model without a regularizer does not need the weights of stage 1 (`start_from`).
    if section.start is not None and Path(section.start).exists() and stored_kind(section.start) == "autodrag":
        return
    path = Path(section.aim or "")
    if not path.exists():
        raise InputError(
            f"There is no trained aim at {path}: train it with stage=aim, choose another file with stage2.aim=FILE, or "
            "train it together with the rest with stage2.aim=null."
        )
    trained = Aim.load(path)
    if trained.config != aim.config or trained.standardise.mean.shape != aim.standardise.mean.shape:
        raise InputError(f"The aim of {path} does not have the size given by model=: train stage=aim with this model.")
    aim.mlp.load_state_dict(trained.mlp.state_dict())
