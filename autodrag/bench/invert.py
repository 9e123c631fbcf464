"""`scripts/bench.py invert`: how well faces that the generator never saw are inverted, and then dragged."""

from dataclasses import dataclass, replace
from statistics import mean
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.app.invert import Inversion, InvertConfig
from autodrag.bench.measure import device_name, write_record
from autodrag.config import MODEL_DIR
from autodrag.devices import pick_device
from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.renderer import render
from autodrag.evaluation.detectors import LandmarkDetector, load_detector, to_uint8
from autodrag.evaluation.tasks.landmarks import PRESETS
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.methods import load_method
from autodrag.seeding import rng

DOMAIN = "synthface"  # the one whose pictures can be drawn without a generator
POINTS = PRESETS["dlib5-nose"][5]


@dataclass(frozen=True)
class InvertBench:
    """What is measured; see configs/bench/invert.yaml."""

    images: int
    way: float
    invert: InvertConfig
    device: str
    out: str


@dataclass(frozen=True)
class Inverted:
    """Of one render. error: mean absolute difference of 255. left: share of a drag's distance that remains."""

    error: float
    seconds: float
    left: float | None


def run(config: InvertBench) -> None:
    """Prints a line without tuning and one with, and writes the numbers to `config.out`."""
    device = pick_device(config.device)
    generator, detector = load_generator(DOMAIN, device), load_detector(DOMAIN, MODEL_DIR)
    print(f"{device_name(device)}, torch {torch.__version__}")
    plain = replace(config.invert, tune_steps=0)
    numbers = {}
    for name, settings in (("latents alone", plain), ("and a tuned generator", config.invert)):
        found = [inverted(generator, detector, settings, index, config.way) for index in range(config.images)]
        left = [each.left for each in found if each.left is not None]
        error, seconds = mean(each.error for each in found), mean(each.seconds for each in found)
        dragged = f"{mean(left):.3f} of a drag left" if left else "no face found"
        print(f"{name}: {error:.2f} of 255 off, {seconds:.0f} s a picture, {dragged} ({len(left)} of {len(found)})")
        numbers[name] = [each.__dict__ for each in found]
    write_record(config.out, device, config, numbers)


def inverted(
    generator: FrozenGenerator, detector: LandmarkDetector, config: InvertConfig, index: int, way: float
) -> Inverted:
    """Invert a render, then drag five landmarks `way` of the way to those of another one's geometry."""
    picture, other = renders(index)
    start = perf_counter()
    work = Inversion(generator, picture, config)
    for _ in work.run():
        pass
    seconds = perf_counter() - start
    with torch.no_grad():
        image = work.generator.synthesize(work.ws).float()
    error = (image - picture.to(image.device)).abs().mean().item() * 127.5
    return Inverted(error, seconds, _left(detector, work, image, other, way))


def renders(index: int) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 3 H W"]]:
    """A random face and another with the same appearance, as the renderer draws them, in [-1, 1]."""
    geometry, appearance = parameters(torch.randn(2, Z_DIM, generator=rng(0, "inversion bench", index)))
    return render(geometry[:1], appearance[:1]).image, render(geometry[1:], appearance[:1]).image


def _left(detector: LandmarkDetector, work: Inversion, image: Tensor, other: Tensor, way: float) -> float | None:
    """None where no face is found."""
    handles, goals = detector(to_uint8(torch.cat([image.cpu(), other])))
    if handles is None or goals is None:
        return None
    handles, targets = handles[POINTS], torch.lerp(handles, goals, way)[POINTS]
    method = load_method("autodrag", work.generator, track=False)
    *_, last = method.drag(work.ws, handles, targets)
    with torch.no_grad():
        (reached,) = detector(to_uint8(work.generator.synthesize(last.ws).float().cpu()))
    if reached is None:
        return None
    return ((reached[POINTS] - targets).norm(dim=1).sum() / (handles - targets).norm(dim=1).sum()).item()
