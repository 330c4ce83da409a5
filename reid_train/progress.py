"""What training shows: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_PLAIN_PERIOD_S = 10.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where a run stands after a step: `epoch` and `batch` are counted from 1; `loss` is the mean of the epoch."""

    step: int
    epoch: int
    num_epochs: int
    batch: int
    num_batches: int
    loss: float
    lr: float
    clips_per_s: float


class TrainingDisplay:
    """Shows the steps of a run; `show` is what `train` calls."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._printed_s = time.perf_counter()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def show(self, report: StepReport) -> None:
        if self._quiet:
            return
        figures = f"loss {report.loss:.4g}, lr {report.lr:.3g}, {report.clips_per_s:.1f} clips/s"
        title = f"epoch {report.epoch}/{report.num_epochs}"
        total = report.num_epochs * report.num_batches
        done = (report.epoch - 1) * report.num_batches + report.batch
        if self._console.is_terminal:
            if self._task is None:
                self._bar.start()
                self._task = self._bar.add_task(title, total=total, figures=figures)
            self._bar.update(self._task, description=title, completed=done, total=total, figures=figures)
            if done == total:  # what comes next, scoring for example, may have a bar of its own
                self._bar.remove_task(self._task)
                self._bar.stop()
                self._task = None
        elif time.perf_counter() - self._printed_s >= _PLAIN_PERIOD_S or done == total:
            self._printed_s = time.perf_counter()
            self._console.print(f"{title}, batch {report.batch}/{report.num_batches}: {figures}", highlight=False)


class ClipsDisplay:
    """A bar for clips that are embedded, on a terminal; nothing elsewhere. A new count begins a new bar."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
            transient=True,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._is_terminal = console.is_terminal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        if not self._is_terminal:
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("clips", total=total)
        self._bar.update(self._task, completed=done, total=total)
        if done >= total:
            self._bar.remove_task(self._task)
            self._bar.stop()
            self._task = None
