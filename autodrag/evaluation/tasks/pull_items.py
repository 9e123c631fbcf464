"""The drags of `task=pulls`: one face an item, and all the drags that are asked of it, drawn from the renderer's truth.

Points of an item, in this order; a setting uses some of them:
    0-6    one point, pulled 10 to 120 px in one direction
    7, 8   two more, 40 px each in directions of their own, which contradict it
    9, 10  pins
    11-13  the points that one parameter of the geometry moves most
    14, 15 pins on what it leaves alone
    16-23  random visible places of this face, taken to where another face has them
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface import GEOMETRY
from autodrag.domains.synthface.places import BACKGROUND, PARTS, Places, places, where

LENGTHS = (10, 20, 30, 40, 60, 80, 120)  # pixels
PULL = LENGTHS.index(40)  # the pull that contradictions and pins go with
CROSS = 40.0  # pixels of the pulls that contradict it
LOCAL, LOCAL_PINS, PLACES = 3, 2, 8
#: What one parameter changes, item by item.
CHANGED = (
    *("mouth_open", "smile", "brow_height", "eye_open", "gaze_x", "jaw", "nose_length", "mouth_width"),
    *("hair_length", "face_width"),
)
END = 0.9  # to which end of the parameter's range: the other one
APART = 10.0  # pixels between points of one drag
STILL = 0.5  # pixels that a pinned place may move by
LEAST = 3.0  # pixels that the points of a changed parameter must move by, in the mean
TRIES = 50  # draws of a pull until its longest stays in the picture
GRID = 2  # pixels between candidates
INSIDE = 2.0  # pixels around a candidate that show the same part: neither generators nor the judge are exact to a pixel
#: Shares of the first point by what it lies on.
GROUPS = {
    "features": (0.4, ("nose", "mouth", "eye", "iris", "brow")),
    "skin": (0.25, ("skin",)),
    "hair": (0.2, ("cap", "back hair")),
    "shoulders": (0.08, ("body",)),
    "background": (0.07, ("background",)),
}

Pair = tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]


def settings() -> dict[str, list[int]]:
    """Name -> numbers of points."""
    first = len(LENGTHS)
    local = list(range(first + 4, first + 4 + LOCAL))
    surface = list(range(local[-1] + LOCAL_PINS + 1, local[-1] + LOCAL_PINS + 1 + PLACES))
    return {
        **{f"free-{length}": [number] for number, length in enumerate(LENGTHS)},
        "free-two": [PULL, first],
        "free-three": [PULL, first, first + 1],
        "free-pins": [PULL, first + 2, first + 3],
        "local": local,
        "local-pins": [*local, local[-1] + 1, local[-1] + 2],
        "surface-1": surface[:1],
        "surface-3": surface[:3],
        "surface-8": surface,
        "chain-back": [LENGTHS.index(20)],
        "chain-on": [LENGTHS.index(10)],
    }


def candidates(geometry: Float[Tensor, " G"], size: int) -> tuple[Places, Float[Tensor, "N 2"]]:
    """Pixels of a grid that lie inside their part of a face, and their places."""
    line = torch.arange(GRID, size - GRID, GRID, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    around = INSIDE * torch.tensor([[0.0, 0.0], [-1, 0], [1, 0], [0, -1], [0, 1]])
    seen = places(geometry, (points + around[:, None]).flatten(0, 1), size)
    parts = seen.part.unflatten(0, (len(around), -1))
    inside = (parts == parts[0]).all(dim=0)
    return Places(parts[0][inside], seen.at[: len(points)][inside]), points[inside]


def free(seen: Places, points: Float[Tensor, "N 2"], size: int, draw: torch.Generator) -> Pair | None:
    """The pulls; None where the longest would leave the picture."""
    names = list(GROUPS)
    group = names[int(torch.multinomial(torch.tensor([GROUPS[n][0] for n in names]), 1, generator=draw))]
    chosen = torch.tensor([name.split(" ")[0] in GROUPS[group][1] or name in GROUPS[group][1] for name in PARTS])
    here = chosen[seen.part].nonzero().flatten()
    if not len(here):
        return None
    for _ in range(TRIES):
        handle = points[here[torch.randint(len(here), (1,), generator=draw)]]
        pulls = handle + torch.tensor(LENGTHS)[:, None] * _direction(draw)
        if bool(((pulls >= 0) & (pulls <= size - 1)).all()):
            break
    else:
        return None
    on_face = points[seen.part != BACKGROUND]
    others = _apart(on_face[torch.randperm(len(on_face), generator=draw)], handle, 4, 2 * APART)
    if others is None:
        return None
    crossing = others[:2] + CROSS * torch.cat([_direction(draw), _direction(draw)])
    handles = torch.cat([handle.expand(len(LENGTHS), 2), others])
    return handles, torch.cat([pulls, crossing.clamp(0, size - 1), others[2:]])


def changed(geometry: Float[Tensor, " G"], number: int) -> Float[Tensor, " G"]:
    """The geometry of a `local` drag, which changes parameter `number` of CHANGED (they go round)."""
    entry = [name for name, _, _ in GEOMETRY].index(CHANGED[number % len(CHANGED)])
    there = geometry.clone()
    there[entry] = -math.copysign(END, float(there[entry]))
    return there


def local(
    there: Float[Tensor, " G"], seen: Places, points: Float[Tensor, "N 2"], size: int, draw: torch.Generator
) -> Pair | None:
    """What moves most and, as pins, what stays; None where the change hardly shows."""
    ends = where(there[None], seen, size)[0]
    moved = (ends - points).norm(dim=1).nan_to_num(0.0)
    ends_inside = ((ends >= 0) & (ends <= size - 1)).all(dim=1)
    shown = ends_inside & (places(there, ends.nan_to_num(0.0), size).part == seen.part)  # hair that is cut off is not
    order = (moved * shown).argsort(descending=True, stable=True)
    handles = _apart(points[order], points[:0], LOCAL, APART)
    on_face = (seen.part != BACKGROUND) & (seen.part != PARTS.index("body"))
    still = (on_face & (moved < STILL)).nonzero().flatten()
    if handles is None or not len(still):
        return None
    pins = _apart(points[still[torch.randperm(len(still), generator=draw)]], handles, LOCAL_PINS, 2 * APART)
    if pins is None:
        return None
    numbers = [int((points == handle).all(dim=1).nonzero()) for handle in handles]
    if float(moved[numbers].mean()) < LEAST:
        return None
    return torch.cat([handles, pins]), torch.cat([ends[numbers], pins])


def surface(
    there: Float[Tensor, " G"], seen: Places, points: Float[Tensor, "N 2"], size: int, draw: torch.Generator
) -> Pair | None:
    """Places that the other face shows, too."""
    ends = where(there[None], seen, size)[0]
    inside = ((ends >= 0) & (ends <= size - 1)).all(dim=1)  # NaN, the background, is not
    visible = inside.nonzero().flatten()
    visible = visible[torch.randperm(len(visible), generator=draw)][: 16 * PLACES]
    visible = visible[places(there, ends[visible], size).part == seen.part[visible]]
    handles = _apart(points[visible], points[:0], PLACES, APART)
    if handles is None:
        return None
    numbers = [int((points == handle).all(dim=1).nonzero()) for handle in handles]
    return handles, ends[numbers]


def _apart(ordered: Float[Tensor, "N 2"], taken: Float[Tensor, "M 2"], count: int, least: float) -> Tensor | None:
    """The first points that keep their distance from all before them and from `taken`; None where there are too few."""
    found = list(taken)
    for point in ordered:
        if all(float((point - other).norm()) >= least for other in found):
            found.append(point)
            if len(found) == len(taken) + count:
                return torch.stack(found[len(taken) :])
    return None


def _direction(draw: torch.Generator) -> Float[Tensor, "1 2"]:
    angle = float(torch.rand(1, generator=draw)) * 2 * math.pi
    return torch.tensor([[math.cos(angle), math.sin(angle)]])
