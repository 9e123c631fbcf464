"""The training loop of all stages. A stage defines its batches and its loss; everything else is here.

Samples, noise and learning rates of a step depend only on its number. A run that was killed and resumed therefore ends
with the same weights, and N ranks take the same steps as one (except for the images of the encoder's image loss).
"""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from autodrag.errors import InputError
from autodrag.runs.folder import RunFolder
from autodrag.runs.ranks import Ranks
from autodrag.training.checkpoint import Progress, restore_checkpoint, save_checkpoint
from autodrag.training.ema import averaged, new_average, update_average
from autodrag.training.logger import Logger, LoggerConfig
from autodrag.training.prefetch import in_order
from autodrag.training.stages.base import Budget, Stage
from autodrag.typed import check_bounds

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class LoopConfig:
    """Optimisation settings of all stages. The paper gives none: Adam and these values are our choice."""

    precision: Precision  # autocast dtype of the networks and of the generator's features; auto: by device
    accumulate: int  # gradient accumulation steps, to save memory
    betas: tuple[float, float]  # of Adam
    clip: float | None  # maximum gradient norm; None: no clipping
    ema: float  # decay of the moving average of the weights, which is saved; 0: save the weights themselves
    compile: bool  # torch.compile the networks
    patience: int  # maximum number of consecutive steps with a loss or gradient that is not finite
    logger: LoggerConfig

    def __post_init__(self) -> None:
        above = (1e-12, math.inf)
        check_bounds("loop", self, accumulate=(1, math.inf), clip=above, ema=(0, 1), patience=(1, math.inf))


def train(
    stage: Stage,
    budget: Budget,
    config: LoopConfig,
    ranks: Ranks,
    checkpoints: Path,
    open_folder: Callable[[int], RunFolder],
) -> bool:
    """Train a stage to the end of its budget, or until SIGTERM or SIGINT. Returns True if it reached the end.

    checkpoints: folder of checkpoints; training resumes from the newest. open_folder: called on the first rank with
    the step to resume from. Afterwards, the stage holds the averaged weights if `ema` is above 0. Raises InputError if
    the loss is not finite for too many steps, or if the last checkpoint cannot be written.
    """
    _check(budget, config, ranks)
    training = _Training(stage, config, ranks)
    average, progress = training.average, training.restore(checkpoints)
    with _first_only(ranks, open_folder, progress.step) as folder, _stop_signal() as stop_requested:
        logger = Logger(folder, ranks, budget, config.logger, progress)
        parts = (part for step in range(progress.step, budget.steps) for part in _parts(step, budget, config, ranks))
        batches = in_order(stage.batch, parts, ahead=ranks.device.type == "cuda")
        while progress.step < budget.steps:
            rates = _set_rates(stage, training.optimizer, progress.step, budget)
            values, stop = training.step(batches, stop_requested)
            logger.note(progress, values, rates)
            if progress.streak > config.patience:
                raise InputError(_not_finite(progress))
            if logger.report_due(progress.step):
                with averaged(stage, average), torch.no_grad(), _autocast(config, ranks):
                    logger.report(progress.step, stage.eval().report())
                stage.train()
            last = stop or progress.step == budget.steps
            if logger.checkpoint_due(last):
                logger.checkpoint(lambda: training.save(checkpoints), last)
            if last:
                break
        logger.close(progress)
    if average:
        stage.load_state_dict(average, strict=False)
    return progress.step >= budget.steps


class _Training:
    """Training state: the stage, its moving average, the optimiser and the counters."""

    def __init__(self, stage: Stage, config: LoopConfig, ranks: Ranks) -> None:
        self.stage, self.config, self.ranks = stage, config, ranks
        self.network = _distribute(stage, config, ranks)
        self.optimizer = _adam(stage, config)
        self.average = new_average(stage) if config.ema > 0 else {}
        self.progress = Progress()

    def restore(self, checkpoints: Path) -> Progress:
        """Load the newest checkpoint, if there is one."""
        self.progress = restore_checkpoint(checkpoints, self.stage, self.average, self.optimizer)
        return self.progress

    def save(self, checkpoints: Path) -> None:
        """Write a checkpoint."""
        save_checkpoint(checkpoints, self.stage, self.average, self.optimizer, self.progress)

    def step(self, batches: Iterator[Any], stop_requested: Callable[[], bool]) -> tuple[dict[str, Tensor], bool]:
        """One optimiser step, with gradients averaged over the ranks.

        Returns the values to log (none if the step was skipped because they are not finite), and whether to stop.
        """
        progress, ranks = self.progress, self.ranks
        loss, logs = _gradients(self.network, batches, self.config, ranks)
        norm = nn.utils.clip_grad_norm_(self.stage.parameters(), self.config.clip or math.inf)
        # Averaged over ranks, so that all of them skip steps and stop together.
        shared = ranks.mean(torch.stack([loss, norm.detach(), loss.new_tensor(float(stop_requested()))])).tolist()
        finite = math.isfinite(shared[0] + shared[1])
        if finite:
            self.optimizer.step()
            update_average(self.average, self.stage, self.config.ema, progress.step)
            progress.streak = 0
        else:
            progress.skipped, progress.streak = progress.skipped + 1, progress.streak + 1
        self.optimizer.zero_grad()
        progress.step += 1
        return ({"loss": loss, "gradient": norm, **logs} if finite else {}), shared[2] > 0


def _check(budget: Budget, config: LoopConfig, ranks: Ranks) -> None:
    parts = ranks.world * config.accumulate
    if min(budget.epochs, budget.samples, budget.batch, config.accumulate) <= 0:
        raise InputError("Training needs epochs above 0, and samples, batch and loop.accumulate of at least 1.")
    if budget.batch % parts:
        raise InputError(
            f"A batch of {budget.batch} cannot be cut into {ranks.world} rank(s) x accumulate={config.accumulate} "
            f"equal parts: choose a multiple of {parts}."
        )


def _distribute(stage: Stage, config: LoopConfig, ranks: Ranks) -> nn.Module:
    """Move the stage to the device, optionally compile it, and wrap it in DDP for several ranks."""
    stage.to(ranks.device).train()
    if config.compile:
        for network in stage.networks():
            network.compile()
    return stage if ranks.world == 1 else DistributedDataParallel(stage)


def _adam(stage: Stage, config: LoopConfig) -> torch.optim.Adam:
    """Adam, fused if all parameters are on a GPU. Learning rates are set before each step."""
    groups = [{"params": list(group.parameters)} for group in stage.groups()]
    fused = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.Adam(groups, lr=0.0, betas=config.betas, fused=fused or None)


def _parts(step: int, budget: Budget, config: LoopConfig, ranks: Ranks) -> list[range]:
    """This rank's sample positions of a step, split into sub-batches. Rank r of N gets every N-th position from r."""
    mine = range(step * budget.batch + ranks.rank, (step + 1) * budget.batch, ranks.world)
    size = len(mine) // config.accumulate
    return [mine[part * size : (part + 1) * size] for part in range(config.accumulate)]


def _set_rates(stage: Stage, optimizer: torch.optim.Optimizer, step: int, budget: Budget) -> dict[str, float]:
    epoch = step * budget.batch / budget.samples
    rates = {group.name: group.schedule.at(epoch, budget.epochs) for group in stage.groups()}
    for target, rate in zip(optimizer.param_groups, rates.values(), strict=True):
        target["lr"] = rate
    return {f"lr/{name}": rate for name, rate in rates.items()}


def _gradients(
    network: nn.Module, batches: Iterator[Any], config: LoopConfig, ranks: Ranks
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Accumulate gradients over sub-batches, with a single all-reduce. Returns the mean loss and mean logs."""
    means: dict[str, Tensor] = {}
    for part in range(config.accumulate):
        batch = next(batches)
        last = part == config.accumulate - 1
        local = isinstance(network, DistributedDataParallel) and not last
        with network.no_sync() if local else nullcontext():  # type: ignore[operator]
            with _autocast(config, ranks):
                loss, logs = network(batch)
            (loss / config.accumulate).backward()
        for name, value in {"loss": loss, **logs}.items():
            means[name] = means.get(name, 0.0) + value.detach().float() / config.accumulate
    return means.pop("loss"), means


def _autocast(config: LoopConfig, ranks: Ranks) -> torch.autocast:
    """Without its cache: in older versions of PyTorch (2.6 for one), weights that a part without gradients, such as a
    rollout, has converted stay in it, and the rest of the step would train none of them.
    """
    low = config.precision == "bfloat16"
    return torch.autocast(ranks.device.type, torch.bfloat16, enabled=low, cache_enabled=False)


def _not_finite(progress: Progress) -> str:
    return (
        f"The loss was not finite in the last {progress.streak} steps (now at step {progress.step}): lower the "
        "learning rate or set loop.precision=float32, in a new out= folder."
    )


@contextmanager
def _first_only(ranks: Ranks, open_folder: Callable[[int], RunFolder], step: int) -> Iterator[RunFolder | None]:
    if not ranks.first:
        yield None
        return
    with open_folder(step) as folder:
        yield folder


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns True after SIGTERM or SIGINT; a second SIGINT interrupts immediately."""
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
