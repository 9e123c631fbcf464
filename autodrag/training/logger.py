"""What a training writes down along the way, on its first rank: numbers, pictures, progress, and its state."""

import math
import time
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
    """How often. log_every: steps. checkpoint_minutes, report_minutes: 0 means after every step."""

    log_every: int
    checkpoint_minutes: float
    report_minutes: float

    def __post_init__(self) -> None:
        minutes = (0.0, math.inf)
        check_bounds("loop.logger", self, log_every=(1, math.inf), checkpoint_minutes=minutes, report_minutes=minutes)


class Logger:
    """folder: that of the run on the first rank, None on the others, which only take part in averaging the numbers."""

    def __init__(
        self, folder: RunFolder | None, ranks: Ranks, budget: Budget, config: LoggerConfig, progress: Progress
    ) -> None:
        self.folder, self.ranks, self.budget, self.config = folder, ranks, budget, config
        hidden = None if folder else True  # None: hidden unless on a terminal
        self.bar = tqdm(total=budget.steps, initial=progress.step, unit="step", smoothing=0.05, disable=hidden)
        self.sums: dict[str, Tensor] = {}
        self.counted = self.steps = 0
        self.since = self.saved = self.reported = time.monotonic()
        start = f"goes on at step {progress.step}" if progress.step else "begins"
        self._say(f"Training {start}: {budget.steps} steps of {budget.batch} samples on {ranks.world} rank(s).")

    def note(self, progress: Progress, values: Mapping[str, Tensor], rates: Mapping[str, float]) -> None:
        """The values of one step (none if it was skipped); every `log_every` steps their means are written."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.counted += bool(values)
        self.steps += 1
        self.bar.update()
        if progress.step % self.config.log_every == 0 or progress.step == self.budget.steps:
            self._write(progress, rates)
            self.sums, self.counted, self.steps, self.since = {}, 0, 0, time.monotonic()

    def _write(self, progress: Progress, rates: Mapping[str, float]) -> None:
        numbers: dict[str, float] = {}
        if self.counted:
            names = sorted(self.sums)
            means = self.ranks.mean(torch.stack([self.sums[name] for name in names]) / self.counted)
            numbers = dict(zip(names, means.tolist(), strict=True))
        pace = (time.monotonic() - self.since) / self.steps  # seconds a step
        numbers |= {"epoch": progress.step * self.budget.batch / self.budget.samples, **rates}
        numbers |= {"skipped": float(progress.skipped), "samples_per_second": self.budget.batch / pace}
        if self.folder:
            self.folder.add(progress.step, numbers)
        loss = f"loss {numbers['loss']:.4f}" if self.counted else "loss not finite"
        self.bar.set_postfix_str(loss)
        if self.bar.disable:
            left = tqdm.format_interval((self.budget.steps - progress.step) * pace)
            speed = f"{numbers['samples_per_second']:.1f} samples/s"
            self._say(f"step {progress.step}/{self.budget.steps}  {loss}  {speed}  {left} left")

    def report_due(self, step: int) -> bool:
        """Whether it is time to look at held-out samples."""
        due = time.monotonic() - self.reported >= 60 * self.config.report_minutes
        return self.folder is not None and (due or step == self.budget.steps)

    def report(self, step: int, report: Report) -> None:
        """Numbers and pictures of held-out samples."""
        if self.folder:
            self.folder.add(step, {f"validation/{name}": value for name, value in report.numbers.items()})
            self.folder.show(step, report.pictures)
            self._say(f"step {step}  validation: " + "  ".join(f"{k} {v:.4f}" for k, v in report.numbers.items()))
        self.reported = time.monotonic()

    def checkpoint_due(self, last: bool) -> bool:
        """Whether it is time to save the state."""
        due = time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes
        return self.folder is not None and (last or due)

    def checkpoint(self, save: Callable[[], None], last: bool) -> None:
        """Save the state. A disk that is full now may have room later; at the end it is an InputError."""
        try:
            save()
        except OSError as error:
            if last:
                raise InputError(f"{error}; the checkpoint before it is whole: make room and start again.") from None
            self._say(f"{error}; training goes on, and the checkpoint before it is whole.")
        self.saved = time.monotonic()

    def close(self, progress: Progress) -> None:
        """Take the progress bar away and say how it ended."""
        self.bar.close()
        if progress.step < self.budget.steps:
            self._say(f"Stopped at step {progress.step}; the same command goes on from there.")

    def _say(self, line: str) -> None:
        if self.folder:
            self.folder.say(line)
