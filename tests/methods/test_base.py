"""The interface of drag methods: what it accepts, and its errors."""

import numpy as np
import pytest
import torch

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods import METHODS, DragMethod, load_method
from autodrag.methods.base import read_request


@pytest.fixture(scope="module")
def ws(tiny: FrozenGenerator) -> torch.Tensor:
    return tiny.map(torch.randn(2, tiny.z_dim, generator=torch.Generator().manual_seed(0)))


H, T = [[10.0, 20.0], [30.0, 40.0]], [[12.0, 22.0], [30.0, 36.0]]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_points_of_one_image_may_be_lists_arrays_or_tensors(tiny: FrozenGenerator, ws: torch.Tensor, kind) -> None:
    request = read_request(tiny, ws[:1], kind(H), kind(T), None)
    assert request.handles.tolist() == [H] and request.targets.tolist() == [T]
    assert request.valid.all() and request.mask is None


def test_a_batch_may_have_different_numbers_of_points(tiny: FrozenGenerator, ws: torch.Tensor) -> None:
    request = read_request(tiny, ws, [H, torch.tensor(H[:1])], [np.array(T), T[:1]], np.ones((64, 64)))
    assert request.valid.tolist() == [[True, True], [True, False]]
    assert request.handles[1].tolist() == [H[0], H[0]]
    assert request.mask is not None and request.mask.shape == (2, 64, 64)


def test_a_stack_of_points_is_one_set_an_image(tiny: FrozenGenerator, ws: torch.Tensor) -> None:
    request = read_request(tiny, ws, torch.tensor([H, T]), torch.tensor([T, H]), None)
    assert request.targets.tolist() == [T, H]


@pytest.mark.parametrize(
    ("handles", "targets", "mask", "says"),
    [
        (
            [[64.0, 3.0]],
            [[1.0, 1.0]],
            None,
            r"handle \(64, 3\) lies outside the image, which is 64 px wide",
        ),
        ([[3.0, -1.0]], [[1.0, 1.0]], None, "outside the image"),
        (H, T[:1], None, "2 handles but 1 targets"),
        ([], [], None, "There are no handles"),
        (torch.zeros(0, 2), torch.zeros(0, 2), None, "There are no handles"),
        ([[float("nan"), 1.0]], [[1.0, 1.0]], None, "handles hold NaN"),
        (H, [[1.0, 1.0], [float("inf"), 1.0]], None, "targets hold NaN or infinite"),
        ([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], None, r"shape \[1, 3\]; give \[N, 2\]"),
        ([1.0, 2.0], T, None, "not an array of numbers|give"),
        ([["a", "b"]], T, None, "not an array of numbers"),
        ([H, H], [T, T], None, "handles for 2 image"),
        (H, T, torch.ones(64, 32), r"mask has shape \[64, 32\], but the image needs \[64, 64\]"),
        (H, T, torch.ones(3, 64, 64), "3 masks"),
        (H, T, torch.full((64, 64), 255.0), r"outside \[0, 1\]"),
        (H, T, torch.full((64, 64), float("nan")), r"NaN or numbers outside \[0, 1\]"),
    ],
)
def test_bad_input_gives_a_clear_error(
    tiny: FrozenGenerator, ws: torch.Tensor, handles, targets, mask, says: str
) -> None:
    for method in ("none", "draggan", "freedrag"):
        with pytest.raises(InputError, match=says) as error:
            load_method(method, tiny).drag(ws[:1], handles, targets, mask)  # at the call, not at the first step
        assert "\n" not in str(error.value)


def test_latents_of_another_generator_are_refused(tiny: FrozenGenerator, ws: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"ws has shape \[1, 9, 32\], but this generator needs \[B, 10, 32\]"):
        read_request(tiny, ws[:1, :9], H, T, None)
    with pytest.raises(InputError, match="ws holds NaN"):
        read_request(tiny, ws[:1] * float("nan"), H, T, None)


def test_every_method_has_the_one_call(tiny: FrozenGenerator) -> None:
    assert {"none", "draggan", "freedrag"} <= set(METHODS)
    assert isinstance(load_method("draggan", tiny), DragMethod)


def test_no_edit_yields_no_step(tiny: FrozenGenerator, ws: torch.Tensor) -> None:
    assert list(load_method("none", tiny).drag(ws[:1], H, T)) == []


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("dragan", {}, "There is no method 'dragan'; choose one of .*draggan, freedrag"),
        ("draggan", {"rate": 1}, "'draggan' has no option 'rate'; it has lr, max_steps"),
        ("none", {"lr": 1}, "'none' has no option 'lr'; it has none"),
        ("draggan", {"lr": -1.0}, "draggan: lr is -1.0; give a positive number"),
        ("freedrag", {"l": 0}, "freedrag: l is 0"),
        ("freedrag", {"max_steps": 0}, "freedrag: max_steps is 0"),
    ],
)
def test_unknown_names_and_options_give_a_clear_error(
    tiny: FrozenGenerator, name: str, options: dict, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load_method(name, tiny, **options)
