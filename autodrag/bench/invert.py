"""`scripts/bench.py invert`: quality and speed of inversions of unseen faces, and of drags of the results."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from time import process_time

import cv2
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.bench.inverted_pulls import PULLS, broken_pulls
from autodrag.bench.measure import device_name, write_record
from autodrag.config import MODEL_DIR
from autodrag.devices import pick_device
from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.renderer import render
from autodrag.editor.inversion import Inversion, InvertConfig
from autodrag.editor.photo_detail import PhotoDetail
from autodrag.evaluation.tasks.landmarks import PRESETS
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels, to_tensor, to_uint8
from autodrag.loading import load_generator
from autodrag.methods import DragMethod, load_method
from autodrag.methods.landing import LandingMethod
from autodrag.models import Encoder
from autodrag.seeding import rng
from autodrag.vision.detectors import LandmarkDetector, load_detector
from autodrag.visualize import draw_points, save_image, sheet
from autodrag.weights import weights_path

DOMAIN = "synthface"  # the only domain whose images can be rendered without a generator
POINTS = PRESETS["dlib5-nose"]


@dataclass(frozen=True)
class InvertBench:
    """`configs/bench/invert.yaml`."""

    images: int  # number of renders to invert
    slow: int  # number of these that are also inverted without the encoder, and with a fine-tuned generator
    quality: int  # JPEG quality of a second set of inputs
    way: float  # fraction of the distance that landmarks are dragged towards those of another face
    methods: tuple[str, ...]  # that drag the inverted faces
    pulls: int  # number of inverted and of generated faces on which pulls that break the face are counted
    invert: InvertConfig
    device: str
    out: str  # JSON file of the results


@dataclass(frozen=True)
class Inverted:
    """The inversion of one render."""

    error: float  # mean absolute error, 0-255
    first: float  # CPU seconds until the first image
    seconds: float  # CPU seconds until the last one
    landmarks: float | None  # mean distance to the landmarks of the input, in pixels; None: no face was detected
    left: dict[str, float] = field(default_factory=dict)  # remaining fraction of a drag, by method and number of points
    photo_left: dict[str, float] = field(default_factory=dict)  # the same for edits with the detail of the input


@dataclass(frozen=True)
class Bench:
    """State shared by all inversions."""

    generator: FrozenGenerator
    detector: LandmarkDetector
    methods: dict[str, DragMethod]
    way: float


def run(config: InvertBench) -> None:
    """Print a line per kind of inversion; write the numbers to `config.out` and an image sheet beside it."""
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    generator, detector = load_generator(DOMAIN, device), load_detector(DOMAIN, MODEL_DIR)
    methods = {name: _load_method(name, generator) for name in config.methods}
    bench = Bench(generator, detector, methods, config.way)
    encoder = Encoder.load(weights_path(DOMAIN, "encoder.safetensors"))
    plain = replace(config.invert, tune_steps=0)
    print(f"{device_name(device)}, torch {torch.__version__}; seconds are the processor's")
    kinds = {
        "generated": (config.images, None, plain, None),
        "encoder": (config.images, None, plain, encoder),
        f"encoder, JPEG {config.quality}": (config.images, config.quality, plain, encoder),
        "no encoder": (config.slow, None, plain, None),
        "encoder, tuned": (config.slow, None, config.invert, encoder),
    }
    numbers: dict[str, object] = {}
    for name, (count, quality, settings, used) in kinds.items():
        if count == 0:
            continue
        found, rows = [], []
        for index in range(count):
            made = generated(bench, index) if name == "generated" else inverted(bench, settings, used, index, quality)
            found.append(made[0])
            rows.append(made[1])
        numbers[name] = [asdict(each) for each in found]
        print(f"{name}: {described(found)}", flush=True)
        write_record(config.out, device, config, numbers)
        if name == "encoder":
            save_image(sheet(rows[:10]), Path(config.out).with_suffix(".png"))
    for name, method in methods.items() if config.pulls else ():
        numbers[f"pulls, {name}"] = broken = broken_pulls(generator, encoder, method, plain, config.pulls)
        shares = "; ".join(f"{source} " + ", ".join(f"{v:.2f}" for v in of.values()) for source, of in broken.items())
        print(f"broken pulls of {config.pulls} faces, {name} ({', '.join(PULLS)}): {shares}", flush=True)
        write_record(config.out, device, config, numbers)


def inverted(
    bench: Bench, config: InvertConfig, encoder: Encoder | None, index: int, quality: int | None
) -> tuple[Inverted, list[UInt8[Tensor, "3 H W"]]]:
    """Invert a render, after JPEG compression if a quality is given, and drag the result towards another geometry.

    Also returns the render, the inversion, and the first method's drags with the photograph's detail.
    """
    clean, other = renders(index)
    picture = clean if quality is None else compressed(clean, quality)
    start, first = process_time(), 0.0
    work = Inversion(bench.generator, picture, config, encoder)
    for progress in work.run():
        if progress.phase == "invert" or encoder is not None:  # before that, random images are compared
            first = first or process_time() - start
    seconds = process_time() - start
    with torch.no_grad():
        image = work.generator.synthesize(work.ws).float().cpu()
    error = (image - picture).abs().mean().item() * 127.5
    wanted, found = bench.detector(to_pixels(torch.cat([clean, image])))
    apart = None if wanted is None or found is None else (wanted - found).norm(dim=1).mean().item()
    on = replace(bench, generator=work.generator)
    motion = next((method.model.motion for method in bench.methods.values() if isinstance(method, LandingMethod)), None)
    detail = PhotoDetail(work.generator, work.ws, picture, motion)
    left, _ = drags(on, work.ws, image, other)
    photo_left, dragged = drags(on, work.ws, picture, other, detail)
    pictures = [to_uint8(each)[0] for each in (picture, image)] + dragged
    return Inverted(error, first, seconds, apart, left, photo_left), pictures


def generated(bench: Bench, index: int) -> tuple[Inverted, list[UInt8[Tensor, "3 H W"]]]:
    """The same drags on the generator's own image of the same face, as an upper bound."""
    face, other = renders(index)
    with torch.no_grad():
        ws = bench.generator.map(_draws(index)[:1])
        image = bench.generator.synthesize(ws).float().cpu()
    left, dragged = drags(bench, ws, image, other)
    error = (image - face).abs().mean().item() * 127.5
    return Inverted(error, 0.0, 0.0, None, left), [to_uint8(image)[0], *dragged]


def drags(
    bench: Bench,
    ws: Float[Tensor, "1 L D"],
    image: Float[Tensor, "1 3 H W"],
    other: Float[Tensor, "1 3 H W"],
    detail: PhotoDetail | None = None,
) -> tuple[dict[str, float], list[UInt8[Tensor, "3 H W"]]]:
    """Drag landmarks of the image part of the way to those of another image.

    Returns the remaining fraction by method and number of points, and images of the first method; empty if no face is
    detected. detail: added to the edits.
    """
    handles, goals = bench.detector(to_pixels(torch.cat([image, other])))
    left: dict[str, float] = {}
    pictures = []
    if handles is None or goals is None:
        return left, [to_uint8(image)[0]] * len(POINTS)
    for name, method in bench.methods.items():
        for count, points in POINTS.items():
            start, targets = handles[points], torch.lerp(handles, goals, bench.way)[points]
            *_, last = method.drag(ws, start, targets)
            with torch.no_grad():
                moved = bench.generator.synthesize(last.ws).float()
                moved = (moved if detail is None else detail(moved, last.ws)).cpu()
            (reached,) = bench.detector(to_pixels(moved))
            if reached is not None:
                rest = (reached[points] - targets).norm(dim=1).sum() / (start - targets).norm(dim=1).sum()
                left[f"{name} {count}"] = rest.item()
            if name == next(iter(bench.methods)):
                pictures.append(draw_points(to_uint8(moved)[0], start, targets))
    return left, pictures


def described(found: list[Inverted]) -> str:
    """Means as text."""
    apart = [each.landmarks for each in found if each.landmarks is not None]
    parts = [f"{mean(each.error for each in found):.2f} of 255 off"]
    if apart:
        parts.append(f"landmarks {mean(apart):.2f} px apart")
    if any(each.seconds for each in found):
        first, seconds = mean(each.first for each in found), mean(each.seconds for each in found)
        parts.append(f"first picture after {first:.1f} s, {seconds:.1f} s")
    parts.append(f"of a drag left {_shares(each.left for each in found)}")
    if any(each.photo_left for each in found):
        parts.append(f"of the photograph's {_shares(each.photo_left for each in found)}")
    return "; ".join([*parts, f"{len(found)} pictures"])


def _shares(found: Iterable[dict[str, float]]) -> str:
    each = list(found)
    names = list(dict.fromkeys(name for left in each for name in left))
    shares = {name: mean(left[name] for left in each if name in left) for name in names}
    return ", ".join(f"{share:.3f} ({name})" for name, share in shares.items()) or "unknown: no face found"


def compressed(picture: Float[Tensor, "1 3 H W"], quality: int) -> Float[Tensor, "1 3 H W"]:
    """The image after JPEG compression at this quality."""
    pixels = cv2.cvtColor(to_pixels(picture)[0], cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None  # it was encoded above
    return to_tensor(cv2.cvtColor(read, cv2.COLOR_BGR2RGB))


def renders(index: int) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 3 H W"]]:
    """Renders of a random face and of another with the same appearance, in [-1, 1]."""
    geometry, appearance = parameters(_draws(index))
    return render(geometry[:1], appearance[:1]).image, render(geometry[1:], appearance[:1]).image


def _draws(index: int) -> Float[Tensor, "2 Z"]:
    return torch.randn(2, Z_DIM, generator=rng(0, "inversion bench", index))


def _load_method(name: str, generator: FrozenGenerator) -> DragMethod:
    options = {"track": False} if name == "autodrag" else {}  # only the final positions matter
    return load_method(name, generator, **options)
