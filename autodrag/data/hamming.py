"""Exact nearest neighbours of binary descriptors in Hamming distance, with two implementations."""

from collections.abc import Sequence
from functools import cache
from time import perf_counter
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

Route = Literal["auto", "opencv", "product"]
ROWS_AT_ONCE = 512  # rows of the distance matrix in memory


def nearest(
    query: UInt8[np.ndarray, "N bytes"],
    train: UInt8[np.ndarray, "M bytes"],
    route: Route,
    device: torch.device,
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """For each query, the index of its nearest train descriptor (the first of ties) and their distance in bits.

    route: "opencv": cv2's brute-force matcher on the CPU; "product": a matrix product on `device`; "auto": the product
    on an accelerator, and on a CPU the faster of both in a short benchmark. M must be above 0.
    """
    if route == "auto":
        route = "product" if device.type != "cpu" else _quicker_on_cpu()
    return _by_product(query, train, device) if route == "product" else _by_opencv(query, train)


def nearest_both_ways(
    first: Sequence[UInt8[np.ndarray, "_ bytes"]], second: Sequence[UInt8[np.ndarray, "_ bytes"]], device: torch.device
) -> list[tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"], Int[np.ndarray, " M"]]]:
    """For each pair of sets: (index of the nearest, bits) from first to second, and index of the nearest in reverse.

    As `nearest`, with one batched matrix product on `device` for all pairs. Sets must not be empty.
    """
    (a, reals_a), (b, reals_b) = _stacked(first, device), _stacked(second, device)
    scores = (a @ b.transpose(1, 2)).float()  # [pairs, N, M]
    there = scores.masked_fill(~reals_b[:, None], -torch.inf).max(dim=2)
    back = scores.masked_fill(~reals_a[:, :, None], -torch.inf).argmax(dim=1)
    differ = (a.shape[2] - there.values.long()) // 2
    target, bits, returned = (part.cpu().numpy() for part in (there.indices, differ, back))
    sizes = zip(map(len, first), map(len, second), strict=True)
    return [(target[i, :n], bits[i, :n], returned[i, :m]) for i, (n, m) in enumerate(sizes)]


def _stacked(sets: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """(bits as +-1, [sets, longest, 256]; True at real rows). Unpacked on the device, so that less is copied."""
    lengths = [len(part) for part in sets]
    padded = np.zeros((len(sets), max(lengths), sets[0].shape[1]), np.uint8)
    for row, part in zip(padded, sets, strict=True):
        row[: len(part)] = part
    packed = torch.from_numpy(padded).to(device)
    places = torch.arange(8, device=device, dtype=torch.uint8)
    bits = (packed[..., None] >> places & 1).flatten(2).to(torch.bfloat16) * 2 - 1
    real = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
    return bits, real.to(device)


def _by_opencv(query: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matches = cv2.BFMatcher(cv2.NORM_HAMMING).match(query, train)
    found = np.array([(m.queryIdx, m.trainIdx, m.distance) for m in matches], dtype=np.int64).reshape(-1, 3)
    return found[:, 1], found[:, 2]


def _by_product(query: np.ndarray, train: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """With bits as +-1, the product is 256 - 2 * distance: an even number up to 256, exact in bfloat16 and int32."""
    rows, columns = _signs(query, device), _signs(train, device).T
    best = [_first_maximum(_agreements(block, columns)) for block in rows.split(ROWS_AT_ONCE)]
    index, agreement = (np.concatenate(part) for part in zip(*best, strict=True))
    return index, (rows.shape[1] - agreement.astype(np.int64)) // 2


def _agreements(rows: Tensor, columns: Tensor) -> Tensor:
    # public products of int8 keep eight bits of a sum
    return torch._int_mm(rows, columns) if rows.dtype == torch.int8 else (rows @ columns).float()


def _first_maximum(scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Column and value of the maximum of each row, the first of ties."""
    if scores.device.type != "cpu":
        best = scores.max(dim=1)
        return best.indices.cpu().numpy(), best.values.cpu().numpy()
    index = scores.numpy().argmax(axis=1)  # three times as fast as torch's on the CPU
    return index, np.take_along_axis(scores.numpy(), index[:, None], axis=1)[:, 0]


def _signs(descriptors: np.ndarray, device: torch.device) -> Tensor:
    bits = torch.from_numpy(np.unpackbits(descriptors, axis=1)).to(device)
    # CPUs without bfloat16 units often have some for int8
    return bits.to(torch.int8 if device.type == "cpu" else torch.bfloat16) * 2 - 1


@cache
def _quicker_on_cpu() -> Route:
    """Benchmark both routes: the product is faster on CPUs with units for sums of int8 products (AVX-512 VNNI, AMX)."""
    some = np.random.default_rng(0).integers(0, 256, (1500, 32), dtype=np.uint8)
    seconds: dict[Route, float] = {}
    for route in ("opencv", "product", "opencv", "product"):  # the first round warms up
        start = perf_counter()
        nearest(some, some, route, torch.device("cpu"))
        seconds[route] = perf_counter() - start
    return min(seconds, key=lambda route: seconds[route])
