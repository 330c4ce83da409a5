"""Rows of a long run in a file per hour or day, whole tables of each that is over, and an end to what is too old.

    parts/<period>.csv      rows as they were written, `.partial` while the period lasts
    <period>/               all tables of the period, and the events up to its end, made when it is over: a folder like
                            that of a run, with the identities as known then

Periods are those of UTC, 2026-11-21 or 2026-11-21T09; of recordings whose date is not known they begin at 1970-01-01.
When the run ends all parts that are left become its tables as ever.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.sinks.files import (
    PARTIAL,
    PARTS_FOLDER,
    TABLE_FILE,
    AtomicFile,
    OutputError,
    closing_path,
    naming,
    partial_path,
)
from pipeline.sinks.final import COLUMNS

log = logging.getLogger(__name__)

PERIODS_S = {"hour": 3600, "day": 86_400}
_PERIOD = re.compile(r"\d{4}-\d\d-\d\d(T\d\d)?")
_HEAD = ",".join(COLUMNS) + "\n"


class Rotation(NamedTuple):
    """How long a period is, and for how long (event time) or up to how many bytes periods that are over are kept."""

    period_s: int
    clock_zero_s: float  # seconds since 1970 at which the run's clock is 0
    retention_s: float | None = None
    retention_bytes: int | None = None

    def name_of(self, time_s: float) -> str:
        """The period in which a moment of the run's clock lies."""
        start_s = math.floor((self.clock_zero_s + time_s) / self.period_s) * self.period_s
        moment = datetime.fromtimestamp(max(0, start_s), UTC)
        return f"{moment:%Y-%m-%d}" if self.period_s == PERIODS_S["day"] else f"{moment:%Y-%m-%dT%H}"

    def ends_s(self, name: str) -> float:
        """When a period is over, on the run's clock."""
        moment = datetime.fromisoformat(name if "T" not in name else f"{name}:00").replace(tzinfo=UTC)
        return moment.timestamp() + self.period_s - self.clock_zero_s


class RotatedRows:
    """The rows of a run, in a part per period. `finish_period(part, folder)` makes the tables of a part that is over;
    it is called in a thread of its own, one part after the other."""

    def __init__(
        self,
        folder: Path,
        rotation: Rotation,
        finish_period: Callable[[Path, Path], object],
        *,
        kept: Mapping[str, int] | None = None,
    ) -> None:
        """kept: what `settle` gave in a run that was killed; it is gone on with from there."""
        self._folder, self._parts = folder, folder / PARTS_FOLDER
        self._rotation = rotation
        self._finish_period = finish_period
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="tables")
        self._name = ""
        self._file: AtomicFile | None = None
        with naming(self._parts):
            self._parts.mkdir(parents=True, exist_ok=True)
            self._go_back(dict(kept or {}))
        partial_path(folder / TABLE_FILE).unlink(missing_ok=True)  # of an end that was cut off

    def write(self, text: str, time_s: float) -> None:
        """Append rows that were seen at this time; they reach the operating system before this returns."""
        name = max(self._name, self._rotation.name_of(time_s))  # what comes late goes where the others are
        if self._file is None or name != self._name:
            self._close_part()
            self._name, self._file = name, AtomicFile(self._parts / f"{name}.csv")
            self._file.write(_HEAD)
            self._maker.submit(self._retain, name, time_s)  # after the tables that are still being made
        self._file.write(text)
        self._file.flush()

    def settle(self) -> dict[str, int]:
        """Write through to the disk what was written so far -> the bytes of the part that is written now."""
        return {} if self._file is None else {f"{PARTS_FOLDER}/{self._name}": self._file.settle()}

    def close(self) -> Path:
        """All parts in one `.partial` file, which is the run's table from now on. Raises OutputError."""
        self._close_part()
        self._maker.shutdown()
        return join_parts(self._folder)

    def abandon(self) -> None:
        """Close without a word; everything stays for recovery."""
        if self._file is not None:
            self._file.abandon()
        self._maker.shutdown(cancel_futures=True)

    def _close_part(self) -> None:
        if self._file is None:
            return
        self._file.publish()
        self._maker.submit(self._made, self._file.path, self._folder / self._name)
        self._file = None

    def _made(self, part: Path, folder: Path) -> None:
        try:
            if part.exists():  # it may have got too old meanwhile
                self._finish_period(part, folder)
        except OutputError as error:
            log.warning("%s: its tables are not made: %s", folder, error)

    def _retain(self, current: str, now_s: float) -> None:
        """Remove periods that are over and too old, or too many."""
        rule = self._rotation
        parts = [path for path in _parts(self._parts) if path.stem < current]
        sizes = {path: _bytes_of(path) + _bytes_of(self._folder / path.stem) for path in parts}
        too_many = sum(sizes.values()) - (rule.retention_bytes or math.inf)
        for path in parts:
            too_old = rule.retention_s is not None and rule.ends_s(path.stem) < now_s - rule.retention_s
            if not (too_old or too_many > 0):
                break
            too_many -= sizes[path]
            log.info("%s: is removed, as output.retention_s or retention_bytes says", path.stem)
            shutil.rmtree(self._folder / path.stem, ignore_errors=True)
            try:
                path.unlink()
            except OSError as error:
                log.warning("%s: is too old, and can not be removed: %s", path, error.strerror)

    def _go_back(self, kept: dict[str, int]) -> None:
        """Leave what was there when the run's state was saved, and open the part that was written then."""
        here = next((name for name in kept if name.startswith(f"{PARTS_FOLDER}/")), None)
        name = "" if here is None else here.removeprefix(f"{PARTS_FOLDER}/")
        for path in sorted(self._parts.iterdir()):
            if path.name.split(".")[0] > name:
                path.unlink()
        for path in self._folder.iterdir():
            if _PERIOD.fullmatch(path.name) and path.name >= name and here is not None:
                shutil.rmtree(path)
        for path in _parts(self._parts):
            if path.stem < name and not (self._folder / path.stem / TABLE_FILE).exists():
                self._maker.submit(self._made, path, self._folder / path.stem)
        if here is not None:
            self._name, self._file = name, AtomicFile(self._parts / f"{name}.csv", keep_bytes=kept[here])


def join_parts(folder: Path) -> Path:
    """All parts of a run in `folder`, the one that was being written last, as one `.partial` table -> its path."""
    table = partial_path(folder / TABLE_FILE)
    with AtomicFile(table, temporary=closing_path(table)) as whole:
        whole.write(_HEAD)
        for path in [*_parts(folder / PARTS_FOLDER), *sorted((folder / PARTS_FOLDER).glob(f"*{PARTIAL}"))]:
            with naming(path), path.open(encoding="utf-8", errors="replace", newline="") as file:
                next(file, None)
                for line in file:
                    if line.endswith("\n"):
                        whole.write(line)
    return table


def period_folders(folder: Path) -> Iterator[Path]:
    """The folders of periods in that of a run, in order."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and _PERIOD.fullmatch(path.name):
            yield path


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if _PERIOD.fullmatch(path.stem))


def _bytes_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else 0
