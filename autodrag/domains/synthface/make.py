"""Makes the files that ship with synthface: generator, landmark predictor, reader, measurements and model card."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from autodrag.data.matching import MatchingConfig
from autodrag.devices import keep_freed_memory
from autodrag.domains.synthface import card, report
from autodrag.domains.synthface.generator_training import GeneratorTrainer, GeneratorTraining
from autodrag.domains.synthface.landmark_predictor import make_landmark_predictor
from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.reader_training import ReaderTraining, make_reader
from autodrag.domains.synthface.renderer import render
from autodrag.errors import InputError
from autodrag.files import make_folder
from autodrag.images import to_pixels
from autodrag.loading import load_generator
from autodrag.seeding import rng
from autodrag.stylegan2 import write_safetensors
from autodrag.vision.detectors import SYNTHFACE_SCALE, SYNTHFACE_THRESHOLD, LandmarkDetector

STEPS = ("generator", "landmarks", "reader", "report")


@dataclass(frozen=True)
class MakeSynthfaceConfig:
    """`scripts/make_synthface.py`."""

    steps: tuple[str, ...]  # of STEPS, in that order
    run: str  # folder of the training state, for resuming
    assets: str  # output folder of the shipped files
    sheets: str  # output folder of image sheets
    threads: int | None  # of torch; None: its default
    generator: GeneratorTraining
    match: MatchingConfig  # matcher measured in the report
    frames: report.Frames  # trajectories on which it is measured
    landmark_faces: int  # training faces of the landmark predictor
    reader: ReaderTraining
    history: str  # text for the model card on how the shipped files were made
    report_images: int  # validation images; slow measurements use fewer


def make(config: MakeSynthfaceConfig) -> None:
    """Run the steps. Raises InputError for an unknown one."""
    unknown = [step for step in config.steps if step not in STEPS]
    if unknown:
        raise InputError(f"There is no step {unknown[0]!r}; choose from {', '.join(STEPS)}.")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    assets = make_folder(Path(config.assets), "assets")
    if "generator" in config.steps:
        _generator(config, assets / "generator.safetensors")
    if "landmarks" in config.steps:
        make_landmark_predictor(
            load_generator(assets / "generator.safetensors"), assets / "landmarks.dat", config.landmark_faces
        )
    if "reader" in config.steps:
        found = make_reader(
            load_generator(assets / "generator.safetensors"), assets / "reader.safetensors", config.reader
        )
        print(f"{assets / 'reader.safetensors'}: {found}")
    if "report" in config.steps:
        _report(config, assets)


def _generator(config: MakeSynthfaceConfig, path: Path) -> None:
    keep_freed_memory()
    begin = time.monotonic()
    trainer = GeneratorTrainer(config.generator, Path(config.run))
    trainer.run()
    network = trainer.averaged()
    z = torch.randn(10_000, Z_DIM, generator=rng(config.generator.seed, "synthface/average"))
    with torch.no_grad():
        network.mapping.w_avg.copy_(network.mapping(z)[:, 0].mean(dim=0))
    # Half precision halves the file; images change by less than a grey level.
    half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    write_safetensors(path, network.config, half)
    print(f"Wrote {path} after {(time.monotonic() - begin) / 60:.0f} min")


def _report(config: MakeSynthfaceConfig, assets: Path) -> None:
    path = assets / "generator.safetensors"
    generator = load_generator(path)
    detector = LandmarkDetector(assets / "landmarks.dat", SYNTHFACE_SCALE, threshold=SYNTHFACE_THRESHOLD)
    count = config.report_images
    numbers = {"images": float(count)} | report.fidelity(generator, count)
    numbers |= report.landmark_error(generator, detector, max(8, count // 4))
    numbers |= report.swaps(generator, detector, max(8, count // 16))
    numbers |= report.walking(generator, detector)
    numbers |= report.frame_matches(generator, config.match, config.frames)
    numbers |= report.speed(path)
    files = {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(assets.glob("*"))
        if p.suffix in (".safetensors", ".dat")
    }
    record = {"numbers": numbers, "files": files, "history": config.history, "generator": asdict(config.generator)}
    (assets / "report.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (assets / "README.md").write_text(card.model_card(record), encoding="utf-8")
    _sheets(config, Path(config.sheets))


def _sheets(config: MakeSynthfaceConfig, folder: Path) -> None:
    make_folder(folder)
    generator = load_generator(Path(config.assets) / "generator.safetensors")
    z = torch.randn(32, Z_DIM, generator=rng(report.SEED, "synthface/sheet"))
    drawn = render(*parameters(z)).image
    made = generator.synthesize(generator.map(z[:16]))
    save_sheet(folder / "synthface-renders.jpg", drawn, 8)
    rows = [x for i in range(0, 16, 8) for x in (drawn[i : i + 8], made[i : i + 8])]
    save_sheet(folder / "synthface-generator.jpg", torch.cat(rows), 8)
    walks = [report.walk(generator, z[2 * i : 2 * i + 2], 8)[0] for i in range(4)]
    save_sheet(folder / "synthface-walks.jpg", torch.cat(walks), 8)


def save_sheet(path: Path, images: Tensor, columns: int, side: int = 160) -> None:
    """Save images [N, 3, H, W] in [-1, 1] as a grid with `columns` columns, each image `side` pixels wide."""
    small = [cv2.resize(np.ascontiguousarray(x), (side, side), interpolation=cv2.INTER_AREA) for x in to_pixels(images)]
    rows = [np.concatenate(small[i : i + columns], axis=1) for i in range(0, len(small), columns)]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
