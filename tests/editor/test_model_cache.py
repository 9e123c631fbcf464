"""Generator files that a page sends are offered beside the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.editor import model_cache
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods import METHODS, Kind, Step
from autodrag.weights import weights_path
from third_party.stylegan2.readers import write_safetensors


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Three generators as bytes."""
    path = tmp_path_factory.mktemp("files") / "any.safetensors"
    made = []
    for seed in range(3):
        network = FrozenGenerator.random(resolution=(16, 16), w_dim=16, seed=seed).trainable_copy()
        write_safetensors(path, network.config, network.state_dict())
        made.append(path.read_bytes())
    return made


def test_a_file_is_opened_once_under_a_name_of_its_own(files: list[bytes]) -> None:
    models = ModelCache("cpu", closed=True)
    first = models.open(files[0], "my cats (2).pkl")
    assert first == "my-cats-2"
    assert models.open(files[0], "again.pkl") == first
    same, other = models.open(files[1], "my cats (2).pkl"), models.open(files[2], "synthface.pkl")
    assert same.startswith("my-cats-2-")
    assert other.startswith("synthface-")
    averages = [models.generator(name).w_avg for name in (first, same, other)]
    assert not torch.equal(averages[0], averages[1])
    assert {first, same, other} <= {offer.name for offer in models.datasets() if offer.missing is None}
    assert models.usable(None, first) == "draggan"


def test_what_is_no_generator_is_refused_by_the_name_of_its_file() -> None:
    models = ModelCache("cpu", closed=True)
    with pytest.raises(InputError, match=r"cats\.pkl") as refused:
        models.open(b"not a generator", "cats.pkl")
    assert "/" not in str(refused.value)
    assert "cats" not in [offer.name for offer in models.datasets()]


def test_only_so_many_are_kept(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "MAX_OPENED", 2)
    models = ModelCache("cpu", closed=True)
    for index, data in enumerate(files[:2]):
        models.open(data, f"{index}.pkl")
    with pytest.raises(InputError, match="2 generator files are open already"):
        models.open(files[2], "2.pkl")


class Contributed:
    """A drag method that only the registry knows."""

    def __init__(self, generator: FrozenGenerator) -> None:
        self.generator = generator

    def drag(self, ws: Any, handles: Any, targets: Any, mask: Any = None) -> Iterator[Step]:
        return iter(())


def test_a_new_method_of_the_registry_works_on_a_fine_tuned_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_cache.METHODS, "new", Kind(Contributed, "New", True, False, None, None, 1))
    monkeypatch.setitem(METHODS, "new", model_cache.METHODS["new"])
    models, tuned = ModelCache("cpu"), FrozenGenerator.random(seed=1)
    name = models.add(FrozenGenerator.random(seed=0))
    for method in ("new", "draggan"):
        own, other = (models.method(method, generator, name) for generator in (models.generator(name), tuned))
        assert own.generator is models.generator(name) and other.generator is tuned and type(own) is type(other)


def test_a_method_is_loaded_once_for_all_numbers_of_steps() -> None:
    models = ModelCache("cpu")
    generator = models.generator("synthface")
    for name in ("landing", "autodrag"):
        own, two, three = (models.method(name, generator, "synthface", steps) for steps in (None, 2, 3))
        assert two.model is three.model is own.model
        assert (two.n, three.n, own.n) == (2, 3, 5)
    draggan = [models.method("draggan", generator, "synthface", steps).max_steps for steps in (7, None)]
    assert draggan == [7, 100]


def test_more_steps_than_a_method_takes_are_refused(editor: Editor) -> None:
    for steps in (0, 501):
        with pytest.raises(InputError, match="DragGAN takes 1 to 500"):
            editor.choose_method("draggan", steps)
    editor.choose_method("draggan", 500)


def test_weights_of_no_method_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ModelCache("cpu", weights=tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="holds no weights of a drag method"):
        ModelCache("cpu", weights=weights_path("synthface", "encoder.safetensors"))
