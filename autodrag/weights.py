"""Where the trained AutoDrag weights of a dataset lie."""

from pathlib import Path

from autodrag import config
from autodrag.errors import InputError


def weights_path(dataset: str, file: str = "autodrag.safetensors") -> Path:
    """The trained weights `file` of a dataset: those that ship with the package, else those put into the models folder.

    Raises InputError, with the commands that train them, where there are none.
    """
    for root in (config.ASSET_DIR, config.MODEL_DIR):
        path = root / dataset / file
        if path.is_file():
            return path
    raise InputError(
        f"There are no AutoDrag weights for {dataset!r}: train them with "
        f"`python scripts/train.py stage=1 dataset={dataset}` and `python scripts/train.py stage=2 dataset={dataset}`, "
        f"then name the result with weights=FILE or copy it to {config.MODEL_DIR / dataset / file}."
    )
