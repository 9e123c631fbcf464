"""The notebook runs from its first cell to its last, with smaller settings and a generator file of the reader's own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "quickstart.ipynb"
SMALL = {"FACES": 1, "STEPS": 2, "SAMPLES": 5, "VALIDATION": 1}


@pytest.fixture
def notebook(tiny: FrozenGenerator, tmp_path: Path) -> nbformat.NotebookNode:
    """The notebook with settings for a test."""
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "own.safetensors", network.config, network.state_dict())
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    changes = {**SMALL, "OWN": "own.safetensors"}
    assert all(f"{name} = " in settings.source or f"{name}, " in settings.source for name in changes)
    settings.source += "".join(f"\n{name} = {value!r}" for name, value in changes.items())
    return notebook


def test_it_is_committed_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert not [cell for cell in cells if cell.outputs or cell.execution_count is not None]


@pytest.mark.timeout(900)  # a minute alone, more on a busy machine
def test_every_cell_runs(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    NotebookClient(notebook, timeout=880, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [set(output.data) for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert [bool({"image/png", "image/gif"} & types) for types in shown] == [True] * 5
    assert Image.open(tmp_path / "quickstart" / "drag.gif").n_frames > 10
    assert (tmp_path / "quickstart" / "latent_transformer" / "weights.safetensors").is_file()
    assert Image.open(tmp_path / "quickstart" / "own.gif").size == (64, 64)
