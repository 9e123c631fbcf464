"""Hamming matching by a matrix product against OpenCV's brute force, ties included."""

import numpy as np
import pytest
import torch

from autodrag.data.hamming import nearest

CPU = torch.device("cpu")


def descriptors(count: int, seed: int, distinct: int | None = None) -> np.ndarray:
    """Random 256-bit descriptors; with `distinct`, drawn with repetition from so many."""
    draw = np.random.default_rng(seed)
    if distinct is None:
        return draw.integers(0, 256, (count, 32), dtype=np.uint8)
    return draw.integers(0, 256, (distinct, 32), dtype=np.uint8)[draw.integers(0, distinct, count)]


@pytest.mark.parametrize(("n", "m", "distinct"), [(1, 1, None), (3, 900, None), (1300, 700, None), (800, 800, 12)])
def test_product_equals_opencv(n: int, m: int, distinct: int | None) -> None:
    query, train = descriptors(n, 0, distinct), descriptors(m, 1, distinct)
    query[0] = ~train[0]  # all bits differ
    for ours, theirs in zip(nearest(query, train, "product", CPU), nearest(query, train, "opencv", CPU), strict=True):
        assert np.array_equal(ours, theirs)


def test_first_of_equals_wins() -> None:
    train = np.repeat(descriptors(1, 2), 5, axis=0)
    for route in ("product", "opencv", "auto"):
        index, distance = nearest(train[:2], train, route, CPU)
        assert index.tolist() == [0, 0] and distance.tolist() == [0, 0]


def test_no_query() -> None:
    for route in ("product", "opencv"):
        index, distance = nearest(descriptors(0, 0), descriptors(5, 1), route, CPU)
        assert index.shape == distance.shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_product_on_a_gpu_equals_opencv() -> None:
    query, train = descriptors(3000, 0, 900), descriptors(2500, 0, 900)
    ours = nearest(query, train, "product", torch.device("cuda"))
    assert all(np.array_equal(a, b) for a, b in zip(ours, nearest(query, train, "opencv", CPU), strict=True))
