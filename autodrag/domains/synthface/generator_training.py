"""Training of the synthface generator: a StyleGAN2 learns the renderer, geometry in rows 0-5, appearance in the rest.

Resolution grows 32 -> 64 -> 128 -> 256; each stage keeps the trained blocks of the previous ones (the skip architecture
outputs an image at each). Training starts with the squared error: under the absolute error, the optimal prediction of a
small feature of uncertain position is to omit it. Auxiliary heads that predict the renderer's maps from coarse features
exist only during training.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from autodrag.domains.synthface.canvas import MAPS
from autodrag.domains.synthface.parameters import Z_DIM
from autodrag.domains.synthface.targets import Target, Targets
from autodrag.errors import InputError
from autodrag.files import make_folder, read_tensors, write_tensors
from autodrag.latents import EDITED_ROWS
from autodrag.seeding import seeded
from autodrag.stylegan2 import CheckpointError, Generator, GeneratorConfig, read_checkpoint

HEAD_BLOCKS = (3, 4, 5)  # 16, 32, 64 px
ENERGY_PATCH = 8
STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class GrowthStage:
    """A training stage at one resolution."""

    name: str
    size: int  # resolution in pixels
    images: int  # training images
    batch: int
    lr: float = 2e-3  # initial
    lr_end: float = 2e-3  # final, after cosine decay
    loss: str = "squared"  # squared | absolute
    feature_weight: float = 8.0  # additional weight of eyes, brows, nose and mouth
    gradient_weight: float = 2.0  # of the error of image gradients
    energy_weight: float = 0.0  # of the error of local sharpness; the other terms favour blur where edges are uncertain
    mixed: float = 0.5  # share of a batch with appearance and geometry from different latents
    head_weight: float = 0.3  # of the auxiliary heads, which teach geometry faster than pixels


@dataclass(frozen=True)
class GeneratorTraining:
    """Settings of the training of the bundled generator."""

    stages: tuple[GrowthStage, ...]
    seed: int = 0
    start: str | None = None  # generator file or training state to start from
    w_dim: int = 128
    mapping_layers: int = 3
    channels: tuple[tuple[int, int], ...] = ((4, 160), (8, 160), (16, 160), (32, 160), (64, 128), (128, 64), (256, 32))
    average_images: int = 4000  # half-life of the averaged weights
    save_seconds: float = 120.0
    device: str = "cpu"
    precision: Literal["bfloat16", "float32"] = "bfloat16"  # float32 for CPUs without bfloat16 units
    compile: bool = False  # torch.compile the synthesis network: takes a minute per stage, then steps are faster

    def config(self, size: int) -> GeneratorConfig:
        return GeneratorConfig(
            z_dim=Z_DIM,
            c_dim=0,
            w_dim=self.w_dim,
            resolution=(size, size),
            channels={s: c for s, c in self.channels if s <= size},
            mapping_layers=self.mapping_layers,
            mapping_lr_multiplier=1.0,
        )


class Learner(nn.Module):
    """The generator at one resolution with auxiliary heads: `forward(target) -> (loss, logs)`."""

    def __init__(self, training: GeneratorTraining, stage: GrowthStage) -> None:
        super().__init__()
        self.stage, self.low = stage, training.precision == "bfloat16"
        self.generator = Generator(training.config(stage.size))
        widths = dict(training.channels)
        # 1 x 1 convolutions from block features to the renderer's maps, for the blocks at this resolution.
        self.heads = nn.ModuleDict(
            {str(b): nn.Conv2d(widths[2 ** (b + 1)], len(MAPS), 1) for b in HEAD_BLOCKS if 2 ** (b + 1) <= stage.size}
        )

    def images(self, target: Target, taps: tuple[int, ...] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        ends = self.generator.mapping(target.z.flatten(0, 1)).unflatten(0, (4, -1))  # [4, B, L, D]
        place = target.place[:, :, None, None]
        rows = torch.lerp(ends[0], ends[1], place[0]), torch.lerp(ends[2], ends[3], place[1])
        ws = torch.cat([rows[0][:, :EDITED_ROWS], rows[1][:, EDITED_ROWS:]], dim=1)
        # No noise: the image should depend only on the latents, without texture fixed to pixels.
        image, features = self.generator.synthesis(ws, noise="none", taps=taps)
        assert image is not None
        return image, features

    def forward(self, target: Target) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(target.image.device.type, dtype=torch.bfloat16, enabled=self.low):
            image, features = self.images(target, tuple(int(b) for b in self.heads))
            read = {b: head(features[int(b)]).float() for b, head in self.heads.items()}
        heads = sum(F.mse_loss(maps, F.adaptive_avg_pool2d(target.maps, maps.shape[-1])) for maps in read.values())
        absolute = self.stage.loss == "absolute"
        weight = 1 + self.stage.feature_weight * target.weight
        difference = image.float() - target.image
        error = difference.abs() if absolute else difference.square()
        across, down = difference.diff(dim=3), difference.diff(dim=2)
        edges = (across.abs(), down.abs()) if absolute else (across.square(), down.square())
        gradient = (edges[0] * weight[..., 1:]).mean() + (edges[1] * weight[:, :, 1:]).mean()
        loss = (error * weight).mean() + self.stage.gradient_weight * gradient
        loss = loss + self.stage.head_weight * torch.as_tensor(heads)
        if self.stage.energy_weight:
            loss = loss + self.stage.energy_weight * energy_error(image.float(), target.image)
        return loss, {
            "mae": difference.detach().abs().mean().item() / 2,
            "heads": float(torch.as_tensor(heads).detach()),
            "loss": loss.detach().item(),
        }


def energy_error(image: Float[Tensor, "B 3 S S"], target: Float[Tensor, "B 3 S S"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the local sharpness of two images, averaged over patches."""
    errors = []
    for axis in (2, 3):
        ours, theirs = (F.avg_pool2d(x.diff(dim=axis).abs(), ENERGY_PATCH, ceil_mode=True) for x in (image, target))
        errors.append((ours - theirs).abs().mean())
    return errors[0] + errors[1]


def _initial_state(path: str) -> dict[str, Tensor]:
    """Initial training state: from another training, or from the weights of a generator file."""
    if Path(path).name == STATE_FILE:
        return read_tensors(Path(path))[0]
    try:
        weights = read_checkpoint(path).state
    except CheckpointError as error:
        raise InputError(str(error)) from error
    return {f"{kind}/generator.{name}": v.float() for kind in ("now", "average") for name, v in weights.items()}


def _yield_cores(worker: int) -> None:
    """Lower the priority of a renderer process, so that it does not slow down the threads of the training."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(19)


class GeneratorTrainer:
    """Runs the stages in order; a killed run resumes from its last checkpoint in `folder`.

    Raises InputError if the folder holds a training with other settings, or `start` cannot be read.
    """

    def __init__(self, training: GeneratorTraining, folder: Path) -> None:
        self.training, self.folder = training, folder
        make_folder(folder)
        self.stage_index, self.step = 0, 0
        self.carried: dict[str, Tensor] = {}
        if self.state_path.exists():
            self.carried, metadata = read_tensors(self.state_path)
            if json.loads(metadata["training"]) != self._settings():
                raise InputError(f"{folder} holds a training with other settings: give another folder, or remove it.")
            progress = json.loads(metadata["progress"])
            self.stage_index, self.step = progress["stage"], progress["step"]
        elif training.start is not None:
            self.carried = _initial_state(training.start)

    def _settings(self) -> dict[str, Any]:
        """The settings that affect the weights, as JSON."""
        settings = json.loads(json.dumps(asdict(self.training)))
        return {k: v for k, v in settings.items() if k not in ("device", "compile", "save_seconds")}

    @property
    def state_path(self) -> Path:
        return self.folder / STATE_FILE

    def run(self) -> None:
        """Train to the end of the last stage."""
        while self.stage_index < len(self.training.stages):
            self._stage(self.training.stages[self.stage_index])
            self.stage_index, self.step = self.stage_index + 1, 0
            self._save()

    def _stage(self, stage: GrowthStage) -> None:
        with seeded(self.training.seed, "synthface/weights", self.stage_index):
            self.learner = Learner(self.training, stage).to(self.training.device)
        self.average = Learner(self.training, stage).to(self.training.device)
        self.optimiser = torch.optim.Adam(self.learner.parameters(), lr=stage.lr, betas=(0.9, 0.99), fused=True)
        if self.training.compile:
            self.learner.generator.synthesis.compile()
        self._restore(self.carried)
        steps = stage.images // stage.batch
        decay = 0.5 ** (stage.batch / self.training.average_images)
        saved, began, first = time.monotonic(), time.monotonic(), self.step
        for target in self._targets(stage, steps):
            share = self.step / steps
            lr = stage.lr_end + 0.5 * (stage.lr - stage.lr_end) * (1 + torch.cos(torch.tensor(torch.pi * share)).item())
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            loss, logs = self.learner(target)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            with torch.no_grad():
                # Lower decay early in a stage, so that the average of new blocks forgets their initial values.
                keep = min(decay, (1 + self.step) / (10 + self.step))
                torch._foreach_lerp_(list(self.average.parameters()), list(self.learner.parameters()), 1 - keep)
            self.step += 1
            if self.step % 50 == 0:
                rate = (self.step - first) * stage.batch / (time.monotonic() - began)
                self._log(stage, self.step * stage.batch, rate, logs)
            if time.monotonic() - saved > self.training.save_seconds:
                self._save()
                saved = time.monotonic()
        self._save()

    def _targets(self, stage: GrowthStage, steps: int) -> Iterator[Target]:
        data = Targets(self.training.seed + self.stage_index, stage.size, stage.batch, stage.mixed)
        loader = DataLoader(
            data,
            batch_size=None,
            sampler=range(self.step, steps),
            num_workers=2,
            prefetch_factor=4,
            worker_init_fn=_yield_cores,
        )
        for target in loader:
            yield Target(**{k: v.to(self.training.device) for k, v in vars(target).items()})

    def _log(self, stage: GrowthStage, images: int, rate: float, logs: dict[str, float]) -> None:
        line = {"stage": stage.name, "images": images, "rate": round(rate, 2)} | {
            k: round(v, 5) for k, v in logs.items()
        }
        with (self.folder / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _tensors(self) -> dict[str, Tensor]:
        names = [name for name, _ in self.learner.named_parameters()]
        states = self.optimiser.state_dict()["state"]
        moments = {f"adam/{key}/{names[i]}": value for i, state in states.items() for key, value in state.items()}
        weights = {f"now/{k}": v for k, v in self.learner.state_dict().items()}
        return weights | {f"average/{k}": v for k, v in self.average.state_dict().items()} | moments

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        """Load a saved state; blocks missing from it keep their initial values, also in the average."""
        for prefix, module in (("now/", self.learner), ("average/", self.average)):
            own = module.state_dict()
            found = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            module.load_state_dict(
                {k: found.get(k, self.learner.state_dict()[k] if prefix == "average/" else v) for k, v in own.items()}
            )
        for name, parameter in self.learner.named_parameters():
            state = {  # fused Adam counts its steps on the device of the parameter too
                key: tensors[f"adam/{key}/{name}"].to(parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam/{key}/{name}" in tensors
            }
            if state:
                self.optimiser.state[parameter] = state

    def _save(self) -> None:
        self.carried = {k: v.detach().cpu().clone() for k, v in self._tensors().items()}
        progress = {"stage": self.stage_index, "step": self.step}
        metadata = {"progress": json.dumps(progress), "training": json.dumps(self._settings())}
        write_tensors(self.state_path, self.carried, metadata)

    def averaged(self) -> Generator:
        """The averaged generator of the last checkpoint, at its current resolution."""
        names = [k for k in self.carried if k.startswith("average/generator.")]
        size = max(int(n.split(".b")[1].split(".")[0]) for n in names if ".synthesis.b" in n)
        generator = Generator(self.training.config(size))
        generator.load_state_dict({k.removeprefix("average/generator."): self.carried[k] for k in names})
        return generator.eval()
