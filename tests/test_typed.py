"""Mappings become typed dataclasses; whatever does not fit is one sentence that names the key."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from autodrag.config import typed
from autodrag.errors import InputError


@dataclass(frozen=True)
class Inner:
    batch_size: int
    lr: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    stage: int | str
    inner: Inner
    size: tuple[int, int]
    extra: Inner | None = None


GOOD: dict[str, Any] = {"stage": 1, "inner": {"batch_size": 2, "lr": 1}, "size": [3, 4]}


def test_typed_builds_nested_dataclasses() -> None:
    assert typed(Outer, GOOD) == Outer(1, Inner(2, 1.0), (3, 4))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inner": {"batchsize": 2, "lr": 1.0}}, "Unknown config key 'inner.batchsize' (near: inner.batch_size)."),
        ({"extra": {"batch_size": 2, "lr": 1.0, "knd": "a"}}, "Unknown config key 'extra.knd' (near: extra.kind)."),
        ({"inner": {"lr": 1.0}}, "Config key 'inner.batch_size' is missing: give it a value."),
        ({"inner": {"batch_size": 2.5, "lr": 1.0}}, "Config key 'inner.batch_size' is 2.5, expected an integer."),
        ({"inner": {"batch_size": True, "lr": 1.0}}, "Config key 'inner.batch_size' is True, expected an integer."),
        ({"inner": {"batch_size": 2, "lr": "x"}}, "Config key 'inner.lr' is 'x', expected a number."),
        (
            {"inner": {"batch_size": 2, "lr": 1.0, "kind": "c"}},
            "Config key 'inner.kind' is 'c', expected one of 'a', 'b'.",
        ),
        ({"inner": 3}, "Config key 'inner' is 3, expected a mapping."),
        ({"size": [3]}, "Config key 'size' is [3], expected a list of 2: an integer, an integer."),
        ({"stage": None}, "Config key 'stage' is None, expected an integer or text."),
    ],
)
def test_typed_names_the_key_that_does_not_fit(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        typed(Outer, GOOD | change)
    assert str(caught.value) == sentence


def test_typed_refuses_anything_but_a_mapping() -> None:
    with pytest.raises(InputError, match="mapping"):
        typed(Outer, [1, 2])
