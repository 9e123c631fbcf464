"""Logging of a training run on its first rank: metrics, images, progress and checkpoint intervals."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from autodrag.errors import InputError
from autodrag.runs.folder import RunFolder
from autodrag.runs.ranks import Ranks
from autodrag.training.checkpoint import Progress
from autodrag.training.stages.base import Budget, Report
from autodrag.typed import check_bounds


@dataclass(frozen=True)
class LoggerConfig:
    """How often to log, validate and save."""

    log_every: int  # steps between logged means
    checkpoint_minutes: float  # between checkpoints; 0: after every step
    validation_minutes: float  # between validations; 0: after every step

    def __post_init__(self) -> None:
        minutes = (0.0, math.inf)
        check_bounds(
            "loop.logger", self, log_every=(1, math.inf), checkpoint_minutes=minutes, validation_minutes=minutes
        )


class Logger:
    """folder: the run folder on the first rank; None on other ranks, which only take part in averaging the values."""

    def __init__(
        self, folder: RunFolder | None, ranks: Ranks, budget: Budget, config: LoggerConfig, progress: Progress
    ) -> None:
        self.folder, self.ranks, self.budget, self.config = folder, ranks, budget, config
        hidden = None if folder else True  # None: hidden unless on a terminal
        self.bar = tqdm(total=budget.steps, initial=progress.step, unit="step", smoothing=0.05, disable=hidden)
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()  # steps with each value: some losses are part of some steps only
        self.steps = 0
        self.since = self.saved = self.reported = time.monotonic()
        start = f"resumes at step {progress.step}" if progress.step else "starts"
        self._say(f"Training {start}: {budget.steps} steps of {budget.batch} samples on {ranks.world} rank(s).")

    def note(self, progress: Progress, values: Mapping[str, Tensor], rates: Mapping[str, float]) -> None:
        """Add the values of a step (none if it was skipped), and log their means every `log_every` steps.

        All ranks must give values of the same names.
        """
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.counts.update(values.keys())
        self.steps += 1
        self.bar.update()
        if progress.step % self.config.log_every == 0 or progress.step == self.budget.steps:
            self._write(progress, rates)
            self.sums, self.counts, self.steps, self.since = {}, Counter(), 0, time.monotonic()

    def _write(self, progress: Progress, rates: Mapping[str, float]) -> None:
        numbers: dict[str, float] = {}
        if self.sums:
            names = sorted(self.sums)
            means = self.ranks.mean(torch.stack([self.sums[name] / self.counts[name] for name in names]))
            numbers = dict(zip(names, means.tolist(), strict=True))
        seconds = (time.monotonic() - self.since) / self.steps  # a step
        numbers |= {"epoch": progress.step * self.budget.batch / self.budget.samples, **rates}
        numbers |= {"skipped": float(progress.skipped), "samples_per_second": self.budget.batch / seconds}
        if self.folder:
            self.folder.add(progress.step, numbers)
        loss = f"loss {numbers['loss']:.4f}" if self.sums else "loss not finite"
        self.bar.set_postfix_str(loss)
        if self.bar.disable:
            left = tqdm.format_interval((self.budget.steps - progress.step) * seconds)
            speed = f"{numbers['samples_per_second']:.1f} samples/s"
            self._say(f"step {progress.step}/{self.budget.steps}  {loss}  {speed}  {left} left")

    def report_due(self, step: int) -> bool:
        """Whether it is time to validate."""
        due = time.monotonic() - self.reported >= 60 * self.config.validation_minutes
        return self.folder is not None and (due or step == self.budget.steps)

    def report(self, step: int, report: Report) -> None:
        """Log the numbers and images of a validation."""
        if self.folder:
            self.folder.add(step, {f"validation/{name}": value for name, value in report.numbers.items()})
            self.folder.show(step, report.pictures)
            self._say(f"step {step}  validation: " + "  ".join(f"{k} {v:.4f}" for k, v in report.numbers.items()))
        self.reported = time.monotonic()

    def checkpoint_due(self, last: bool) -> bool:
        """Whether it is time to save a checkpoint."""
        due = time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes
        return self.folder is not None and (last or due)

    def checkpoint(self, save: Callable[[], None], last: bool) -> None:
        """Save a checkpoint. If the disk is full, retry later; raises InputError at the end of a run."""
        try:
            save()
        except InputError as error:
            if last:
                raise InputError(f"{error} The previous checkpoint is intact: then run the same command.") from None
            self._say(f"{error} The previous checkpoint is intact, and training continues.")
        self.saved = time.monotonic()

    def close(self, progress: Progress) -> None:
        """Close the progress bar; log the last step of an unfinished run."""
        self.bar.close()
        if progress.step < self.budget.steps:
            self._say(f"Stopped at step {progress.step}; the same command resumes from there.")

    def _say(self, line: str) -> None:
        if self.folder:
            self.folder.say(line)
