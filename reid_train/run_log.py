"""The curves of a run: log.csv (a row per step), scores.csv (a row per scored epoch) and TensorBoard files.

The CSV files hold only what repeats: two runs that compute the same have equal files, to the last digit.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.yaml_file import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FIRST = ("step", "epoch")


class RunLog:
    """Appends to the files of `folder`; rows behind `kept_step` are cut off first, for they will be computed again."""

    def __init__(self, folder: Path, *, kept_step: int = 0, tensorboard: bool = False) -> None:
        self._log = _Table(folder / "log.csv", kept_step)
        self._scores = _Table(folder / "scores.csv", kept_step)
        self._writer = _tensorboard(folder, kept_step) if tensorboard else None

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """A row of log.csv: the loss, its terms, the learning rate, ..."""
        self._log.append({"step": step, "epoch": epoch, **values})
        self._show("train", step, values)

    def scores(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """A row of scores.csv: what the test set says after `epoch` epochs."""
        self._scores.append({"step": step, "epoch": epoch, **values})
        self._show("test", step, values)

    def speed(self, step: int, clips_per_s: float) -> None:
        """Clips per second, to TensorBoard only: it does not repeat."""
        self._show("speed", step, {"clips_per_s": clips_per_s})

    def _show(self, part: str, step: int, values: Mapping[str, float]) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(f"{part}/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._scores.close()
        if self._writer:
            self._writer.close()


class _Table:
    """A CSV file whose columns are those of its first row; every row reaches the file at once."""

    def __init__(self, path: Path, kept_step: int) -> None:
        self._columns = _cut(path, kept_step)
        self._file = path.open("a", newline="", encoding="utf-8", buffering=1)
        self._writer = csv.writer(self._file, lineterminator="\n")

    def append(self, row: Mapping[str, float]) -> None:
        if not self._columns:
            self._columns = tuple(row)
            self._writer.writerow(self._columns)
        self._writer.writerow([repr(row[name]) if name in row else "" for name in self._columns])

    def close(self) -> None:
        self._file.close()


def _cut(path: Path, kept_step: int) -> tuple[str, ...]:
    """Leave only whole rows up to a step in the file, and return its columns; empty where there is no such row."""
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last newline is no whole row
    columns = tuple(lines[0].split(",")) if lines else ()
    if columns[:2] != _FIRST:
        path.write_text("")
        return ()
    kept = [line for line in lines[1:] if int(line.split(",")[0]) <= kept_step]
    if not kept:
        columns, lines = (), []
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(f"{line}\n" for line in [*lines[:1], *kept]), encoding="utf-8")
    os.replace(partial, path)
    return columns


def _tensorboard(folder: Path, kept_step: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"training.tensorboard: needs `pip install tensorboard` ({error}); or set it to false"
        ) from None

    return SummaryWriter(str(folder / "tensorboard"), purge_step=kept_step + 1)
