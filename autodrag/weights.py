"""Where the trained weights of a dataset lie."""

from pathlib import Path

from autodrag import config
from autodrag.errors import InputError

#: File name -> (what the model is called, the stages that train it).
TRAINED: dict[str, tuple[str, tuple[str, ...]]] = {
    "autodrag.safetensors": ("AutoDrag", ("1", "2")),
    "encoder.safetensors": ("encoder", ("encoder",)),
    "landing.safetensors": ("landing", ("motion",)),
    "latent_transformer.safetensors": ("latent transformer", ("latent_transformer",)),
}


def weights_path(dataset: str, file: str = "autodrag.safetensors") -> Path:
    """The trained weights `file` of a dataset: those that ship with the package, else those put into the models folder.

    Raises InputError, with the commands that train them, where there are none.
    """
    path = find_weights(dataset, file)
    if path is not None:
        return path
    name, stages = TRAINED[file]
    named = dataset if dataset in config.dataset_names() else "FILE"  # the generator's
    commands = " and ".join(f"`python scripts/train.py stage={stage} dataset={named}`" for stage in stages)
    raise InputError(
        f"There are no {name} weights for {dataset!r}: train them with {commands}, "
        f"then name the result with weights=FILE or copy it to {config.MODEL_DIR / dataset / file}."
    )


def find_weights(dataset: str, file: str) -> Path | None:
    """As `weights_path`; None where there are none."""
    paths = (root / dataset / file for root in (config.ASSET_DIR, config.MODEL_DIR))
    return next((path for path in paths if path.is_file()), None)
