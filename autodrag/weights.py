"""Locations of the trained weights of a dataset."""

from pathlib import Path

from autodrag import config
from autodrag.errors import InputError

RUNS = Path("runs")  # where scripts/train.py writes by default

#: File name -> (name of the model, the stages that train it in order).
TRAINED: dict[str, tuple[str, tuple[str, ...]]] = {
    "autodrag.safetensors": ("AutoDrag", ("1", "2")),
    "encoder.safetensors": ("encoder", ("encoder",)),
    "landing.safetensors": ("landing", ("motion",)),
    "latent_transformer.safetensors": ("latent transformer", ("latent_transformer",)),
}


def weights_path(dataset: str, file: str = "autodrag.safetensors") -> Path:
    """The path of the trained weights `file` of a dataset.

    The first found in: the package, the models folder, the default training folder in `runs`. Raises InputError, with
    the commands that train them, if there are none.
    """
    path = find_weights(dataset, file)
    if path is not None:
        return path
    name, stages = TRAINED[file]
    named = dataset if dataset in config.dataset_names() else "FILE"  # the generator's
    commands = " and ".join(f"`python scripts/train.py stage={stage} dataset={named}`" for stage in stages)
    raise InputError(
        f"There are no {name} weights for {dataset!r}: train them with {commands}, which writes {_run(dataset, file)}, "
        "or give others with method.options.weights=FILE (scripts/app.py: weights=FILE)."
    )


def find_weights(dataset: str, file: str) -> Path | None:
    """As `weights_path`, but None if there are none."""
    paths = (config.ASSET_DIR / dataset / file, config.MODEL_DIR / dataset / file, _run(dataset, file))
    return next((path for path in paths if path.is_file()), None)


def _run(dataset: str, file: str) -> Path:
    """The default path that training writes these weights to."""
    _, stages = TRAINED[file]
    return RUNS / f"{dataset}-stage{stages[-1]}" / "weights.safetensors"
