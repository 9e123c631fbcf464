"""`scripts/bench.py invert`: how well faces that the generator never saw are inverted, and then dragged."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from time import process_time

import cv2
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.bench.measure import device_name, write_record
from autodrag.config import MODEL_DIR
from autodrag.devices import pick_device
from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.renderer import render
from autodrag.editor.inversion import Inversion, InvertConfig
from autodrag.evaluation.tasks.landmarks import PRESETS
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.images import to_pixels, to_tensor, to_uint8
from autodrag.methods import load_method
from autodrag.models import Encoder
from autodrag.seeding import rng
from autodrag.vision.detectors import LandmarkDetector, load_detector
from autodrag.visualize import draw_points, save_image, sheet
from autodrag.weights import weights_path

DOMAIN = "synthface"  # the one whose pictures can be drawn without a generator
POINTS = PRESETS["dlib5-nose"]


@dataclass(frozen=True)
class InvertBench:
    """What is measured; see configs/bench/invert.yaml."""

    images: int
    slow: int
    quality: int
    way: float
    drag_method: str
    invert: InvertConfig
    device: str
    out: str


@dataclass(frozen=True)
class Inverted:
    """Of one render. error: mean absolute difference of 255. first, seconds: of the processor until the first picture
    and the last. landmarks: mean distance to the photograph's, in pixels; None: no face was found. left: by number of
    points, the share of a drag's distance that remains."""

    error: float
    first: float
    seconds: float
    landmarks: float | None
    left: dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What all inversions share."""

    generator: FrozenGenerator
    detector: LandmarkDetector
    method: str
    way: float


def run(config: InvertBench) -> None:
    """Prints a line for each kind of inversion; writes the numbers to `config.out` and a sheet beside it."""
    device = pick_device(config.device)
    generator, detector = load_generator(DOMAIN, device), load_detector(DOMAIN, MODEL_DIR)
    bench = Bench(generator, detector, config.drag_method, config.way)
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
    numbers: dict[str, list[dict[str, object]]] = {}
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
            save_image(sheet(rows), Path(config.out).with_suffix(".png"))


def inverted(
    bench: Bench, config: InvertConfig, encoder: Encoder | None, index: int, quality: int | None
) -> tuple[Inverted, list[UInt8[Tensor, "3 H W"]]]:
    """Invert a render, kept as a JPEG of that quality if one is given, then drag what was found towards another's
    geometry. Also the render, what was found and what the drags made of it."""
    clean, other = renders(index)
    picture = clean if quality is None else compressed(clean, quality)
    start, first = process_time(), 0.0
    work = Inversion(bench.generator, picture, config, encoder)
    for progress in work.run():
        if progress.phase == "invert" or encoder is not None:  # before, random pictures are looked through
            first = first or process_time() - start
    seconds = process_time() - start
    with torch.no_grad():
        image = work.generator.synthesize(work.ws).float().cpu()
    error = (image - picture).abs().mean().item() * 127.5
    wanted, found = bench.detector(to_pixels(torch.cat([clean, image])))
    apart = None if wanted is None or found is None else (wanted - found).norm(dim=1).mean().item()
    on = replace(bench, generator=work.generator)
    left, dragged = drags(on, work.ws, image, other)
    return Inverted(error, first, seconds, apart, left), [to_uint8(each)[0] for each in (picture, image)] + dragged


def generated(bench: Bench, index: int) -> tuple[Inverted, list[UInt8[Tensor, "3 H W"]]]:
    """The same drags on a picture of the generator's own: what there is to reach."""
    generator = bench.generator
    z = torch.randn(1, generator.z_dim, generator=rng(0, "inversion bench generated", index))
    with torch.no_grad():
        ws = generator.map(z)
        image = generator.synthesize(ws).float().cpu()
    left, dragged = drags(bench, ws, image, renders(index)[1])
    return Inverted(0.0, 0.0, 0.0, 0.0, left), [to_uint8(image)[0], *dragged]


def drags(
    bench: Bench, ws: Float[Tensor, "1 L D"], image: Float[Tensor, "1 3 H W"], other: Float[Tensor, "1 3 H W"]
) -> tuple[dict[str, float], list[UInt8[Tensor, "3 H W"]]]:
    """Landmarks dragged part of the way to those of another picture: by number of points, what is left, and pictures.
    Empty where no face is found."""
    handles, goals = bench.detector(to_pixels(torch.cat([image, other])))
    left: dict[str, float] = {}
    pictures = []
    if handles is None or goals is None:
        return left, [to_uint8(image)[0]] * len(POINTS)
    method = load_method(bench.method, bench.generator, track=False)
    for count, points in POINTS.items():
        start, targets = handles[points], torch.lerp(handles, goals, bench.way)[points]
        *_, last = method.drag(ws, start, targets)
        with torch.no_grad():
            moved = bench.generator.synthesize(last.ws).float().cpu()
        (reached,) = bench.detector(to_pixels(moved))
        if reached is not None:
            rest = (reached[points] - targets).norm(dim=1).sum() / (start - targets).norm(dim=1).sum()
            left[str(count)] = rest.item()
        pictures.append(draw_points(to_uint8(moved)[0], start, targets))
    return left, pictures


def described(found: list[Inverted]) -> str:
    """Means in words."""
    apart = [each.landmarks for each in found if each.landmarks is not None]
    left = {count: [each.left[count] for each in found if count in each.left] for count in map(str, POINTS)}
    dragged = ", ".join(f"{mean(rest):.3f} ({count})" for count, rest in left.items() if rest) or "no face found"
    parts = [
        f"{mean(each.error for each in found):.2f} of 255 off",
        f"landmarks {mean(apart):.2f} px apart" if apart else "no face found",
        f"first picture after {mean(each.first for each in found):.1f} s, {mean(each.seconds for each in found):.1f} s",
        f"of a drag left, by points: {dragged}; {len(found)} pictures",
    ]
    return "; ".join(parts)


def compressed(picture: Float[Tensor, "1 3 H W"], quality: int) -> Float[Tensor, "1 3 H W"]:
    """What a JPEG file of that quality keeps."""
    pixels = cv2.cvtColor(to_pixels(picture)[0], cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None  # it was encoded above
    return to_tensor(cv2.cvtColor(read, cv2.COLOR_BGR2RGB))


def renders(index: int) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 3 H W"]]:
    """A random face and another with the same appearance, as the renderer draws them, in [-1, 1]."""
    geometry, appearance = parameters(torch.randn(2, Z_DIM, generator=rng(0, "inversion bench", index)))
    return render(geometry[:1], appearance[:1]).image, render(geometry[1:], appearance[:1]).image
