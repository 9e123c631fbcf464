"""A session as one safetensors file: latents of the whole motion, points, masks, settings, the user's photograph."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from autodrag.editor.photo import MAX_SIDE, Photo
from autodrag.editor.state import MAX_FRAMES, MAX_LAYERS, MAX_PSI, Arrows, Frame, Origin, State
from autodrag.editor.tuning import AS_IS, Tuning
from autodrag.errors import InputError
from autodrag.files import parse_tensors
from autodrag.masks import from_levels, to_levels
from autodrag.pictures import read_picture
from autodrag.typed import build

FORMAT = "autodrag session 1"
MAX_STEPS = 1000
REACH = 1e6  # pixels from the picture's corner that a point may be
TUNED = "tuned."  # begins the names of a fine-tuned generator's weights
MAX_FRAMES_STORED = 2 * MAX_FRAMES  # those of the motion, and those under masks that the motion no longer holds


@dataclass(frozen=True)
class About:
    """The part of a session that is not a tensor."""

    dataset: str
    method: str
    steps: int | None
    origin: Origin
    base: int
    arrows: Arrows
    plan: Arrows | None = None
    grow: bool = False
    detail: bool = False  # whether a photograph's own is carried along
    tuning: Tuning = AS_IS  # of the method

    @classmethod
    def of(
        cls, dataset: str, method: str, steps: int | None, tuning: Tuning, state: State, detail: bool = False
    ) -> "About":
        """From a session's settings and state."""
        shown = (state.origin, state.base, state.arrows, state.plan, state.grow)
        return cls(dataset, method, steps, *shown, detail, tuning)


@dataclass(frozen=True, eq=False)
class Saved:
    """The contents of a file. w_avg: identifies its generator. tuned: weights of a fine-tuned generator, or empty.

    inverted: latents of the photograph.
    """

    about: About
    state: State
    w_avg: Tensor
    photo: Photo | None
    tuned: dict[str, Tensor]
    inverted: Tensor | None = None


def dump(saved: Saved) -> bytes:
    """The bytes of the file. Nothing in it is rounded."""
    frames = _with_those_under(saved.state.motion)
    place = {id(frame): index for index, frame in enumerate(frames)}
    masks = _distinct([saved.state.mask, *(mask for frame in frames for mask in (frame.mask, frame.drawn))])
    points = [point for frame in frames for point in frame.points]
    tensors = {
        "ws": torch.cat([frame.ws for frame in frames]),
        "points": torch.tensor(points, dtype=torch.float64).reshape(-1, 2),
        "point_counts": torch.tensor([len(frame.points) for frame in frames]),
        "under": torch.tensor([-1 if frame.under is None else place[id(frame.under)] for frame in frames]),
        "mask_of": torch.tensor(
            [_index(masks, mask) for mask in [*(frame.mask for frame in frames), saved.state.mask]]
        ),
        "drawn_of": torch.tensor([_index(masks, frame.drawn) for frame in frames]),
        "motion": torch.tensor([place[id(frame)] for frame in saved.state.motion]),
        "w_avg": saved.w_avg.float().cpu(),
    }
    if masks:
        tensors["masks"] = to_levels(torch.stack(masks))
    if saved.photo is not None:
        tensors["photo"] = torch.from_numpy(np.frombuffer(saved.photo.png, np.uint8).copy())
        tensors["photo_place"] = torch.from_numpy(saved.photo.place.copy())
    if saved.inverted is not None:
        tensors["photo_ws"] = saved.inverted
    tensors |= {TUNED + name: weight for name, weight in saved.tuned.items()}
    whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    return save(whole, {"format": FORMAT, "session": json.dumps(asdict(saved.about))})


def is_session(data: bytes) -> bool:
    """Whether the bytes are a session by their metadata."""
    try:
        return parse_tensors(data)[1].get("format") == FORMAT
    except (SafetensorError, ValueError):
        return False


def parse(data: bytes) -> Saved:
    """The contents of what `dump` wrote, fully checked. Raises InputError for anything else."""
    try:
        tensors, header = parse_tensors(data)
        if header.get("format") != FORMAT:
            raise InputError("The file is no session of this editor; give one that it saved.")
        about = build(About, json.loads(header["session"]))
        photo, inverted = _photo(tensors), _inverted(about, tensors)
        return Saved(about, _state(about, tensors), tensors["w_avg"], photo, _tuned(tensors), inverted)
    except InputError as error:
        raise InputError(f"The session cannot be read: {error}") from None
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError):
        raise InputError("The file is no session of this editor, or it is damaged; give one that it saved.") from None


def _state(about: About, tensors: dict[str, Tensor]) -> State:
    ws, counts = tensors["ws"], tensors["point_counts"].tolist()
    under, mask_of, motion = (tensors[name].tolist() for name in ("under", "mask_of", "motion"))
    drawn_of = tensors["drawn_of"].tolist() if "drawn_of" in tensors else mask_of[:-1]
    points = [(float(x), float(y)) for x, y in tensors["points"].tolist()]
    masks = _masks(tensors)
    _check_shapes(ws, len(counts), len(under), len(mask_of) - 1, len(drawn_of))
    _check_numbers(about, points)
    pick, drawn = ([None if i == -1 else masks[_within(i, len(masks))] for i in each] for each in (mask_of, drawn_of))
    frames: list[Frame] = []
    start = 0
    for index, count in enumerate(counts):
        below = None if under[index] == -1 else frames[_within(under[index], index)]
        if len({below is None, pick[index] is None, drawn[index] is None}) > 1:
            raise InputError("a picture has a mask but nothing under it, or the reverse.")
        end = start + _within(count, len(points) - start + 1)
        frames.append(Frame(ws[index : index + 1].clone(), tuple(points[start:end]), below, pick[index], drawn[index]))
        start = end
        if frames[-1].layers > MAX_LAYERS:
            raise InputError(f"more than {MAX_LAYERS} masks lie over each other.")
    chosen = tuple(frames[_within(index, len(frames))] for index in motion)
    return State(about.origin, chosen, _within(about.base, len(chosen)), about.arrows, pick[-1], about.plan, about.grow)


def _masks(tensors: dict[str, Tensor]) -> list[Tensor]:
    if "masks" not in tensors:
        return []
    masks = tensors["masks"]
    if masks.ndim != 3 or masks.dtype not in (torch.uint8, torch.float32):
        raise InputError("its masks are none.")
    if masks.dtype == torch.float32:  # of earlier versions
        if not bool(((masks >= 0) & (masks <= 1)).all()):
            raise InputError("a mask holds numbers outside [0, 1].")
        masks = to_levels(masks)
    return list(from_levels(masks))


def _check_shapes(ws: Tensor, *lengths: int) -> None:
    if ws.ndim != 3 or ws.dtype != torch.float32 or not 0 < len(ws) <= MAX_FRAMES_STORED:
        raise InputError(f"its latents have shape {list(ws.shape)}, type {ws.dtype}.")
    if any(length != len(ws) for length in lengths):
        raise InputError("its parts belong to different numbers of pictures.")
    if not bool(torch.isfinite(ws).all()):
        raise InputError("its latents hold NaN or infinite numbers.")


def _check_numbers(about: About, points: list[tuple[float, float]]) -> None:
    for arrows in (about.arrows, about.plan or Arrows()):
        points = [*points, *arrows.handles, *arrows.targets, *arrows.pins]
        if len(arrows.handles) != len(arrows.targets):
            raise InputError("its handles and targets differ in number.")
    if not (np.abs(np.reshape(points, -1)) <= REACH).all():  # NaN is not either
        raise InputError("a point in it lies nowhere near the picture.")
    if not -MAX_PSI <= about.origin.psi <= MAX_PSI:
        raise InputError(f"its psi is not within {-MAX_PSI:g} and {MAX_PSI:g}.")
    if about.steps is not None and not 1 <= about.steps <= MAX_STEPS:
        raise InputError(f"its number of steps is not within 1 and {MAX_STEPS}.")


def _photo(tensors: dict[str, Tensor]) -> Photo | None:
    if "photo" not in tensors:
        return None
    stored, place = tensors["photo"].numpy(), tensors["photo_place"].numpy()
    # Earlier versions stored the pixels.
    image = stored if stored.ndim == 3 else read_picture(stored.tobytes(), MAX_SIDE**2)
    right = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and place.shape == (2, 3)
    right = right and min(image.shape) > 0 and max(image.shape) <= MAX_SIDE and place.dtype == np.float64
    if not right or not (np.abs(place) <= REACH).all() or abs(np.linalg.det(place[:, :2])) < 1e-6:
        raise InputError("its photograph is none.")
    return Photo(image, place)


def _inverted(about: About, tensors: dict[str, Tensor]) -> Tensor | None:
    if "photo" not in tensors or "photo_ws" not in tensors:
        if about.detail:
            raise InputError("its photograph's detail has no photograph or no latents.")
        return None
    ws = tensors["photo_ws"]
    if ws.ndim != 3 or len(ws) != 1 or ws.dtype != torch.float32 or not bool(torch.isfinite(ws).all()):
        raise InputError("its photograph's latents are none.")
    return ws.clone()


def _tuned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tuned = {name[len(TUNED) :]: tensor for name, tensor in tensors.items() if name.startswith(TUNED)}
    if not all(tensor.is_floating_point() and bool(torch.isfinite(tensor).all()) for tensor in tuned.values()):
        raise InputError("its generator's weights hold NaN or infinite numbers.")
    return tuned


def _with_those_under(motion: Iterable[Frame]) -> list[Frame]:
    """All frames once, each after the frames under it."""
    order: dict[Frame, None] = {}
    for frame in motion:
        chain = [frame]
        while chain[-1].under is not None:
            chain.append(chain[-1].under)
        order.update(dict.fromkeys(reversed(chain)))
    return list(order)


def _distinct(masks: Iterable[Tensor | None]) -> list[Tensor]:
    return list({id(mask): mask for mask in masks if mask is not None}.values())


def _index(masks: list[Tensor], mask: Tensor | None) -> int:
    return -1 if mask is None else next(index for index, other in enumerate(masks) if other is mask)


def _within(index: int, count: int) -> int:
    """The index. Raises InputError unless it is one of `count`."""
    if not 0 <= index < count:
        raise InputError("a number in it points nowhere.")
    return index
