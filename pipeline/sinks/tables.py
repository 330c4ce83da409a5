"""global_tracks.csv, one row per person and frame, and the tables that follow from it.

While the run goes, rows and events are only appended, to `global_tracks.csv.partial` and `events.jsonl.partial`; each
tick is handed to the operating system before `write` returns. The identity in a row is what is known by then, or
empty. At the end `pipeline.sinks.final` reads both files again, once and in order, and writes the tables in which
every row has the final identity of its tracklet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.sinks.events import EVENTS_FILE, EventLog, copy_whole_lines
from pipeline.sinks.files import AtomicFile, closing_path, ends_well, naming, remove_rows
from pipeline.sinks.final import COLUMNS, TABLE_FILE, WINDOWS, Windows, seconds_text, write_final_tables
from pipeline.sinks.rotation import RotatedRows, Rotation
from pipeline.types import FusedFrame


class TableSink:
    """Writes the rows and events of a run, and the final tables when it ends. One instance per run and folder.

    Memory does not grow with the run; only while the final tables are made is a small record kept per tracklet.
    """

    def __init__(
        self,
        folder: Path,
        camera_names: Sequence[str],
        *,
        mot: bool = True,
        windows: Windows = WINDOWS,
        resumable: bool = False,
        kept: Mapping[str, int] | None = None,
        rotation: Rotation | None = None,
    ) -> None:
        """resumable: leave the `.partial` rows in place at the end; `remove_partials` is called once all is whole.
        kept: what `settle` gave in a run that was killed; it is gone on with from there.
        rotation: rows in a file per period, None for one file.
        """
        twice = sorted({name for name in camera_names if list(camera_names).count(name) > 1})
        if twice:
            raise ValueError(f"two cameras are called {twice[0]!r}; every camera needs a name of its own")
        self._folder = folder
        self._mot = mot
        self._windows = windows
        self._quoted_names = tuple(quoted(name) for name in camera_names)
        self._resumable = resumable
        self.events = EventLog(folder, camera_names, keep_bytes=kept[EVENTS_FILE] if kept else None)
        self._table: RotatedRows | _Rows = (
            RotatedRows(folder, rotation, self._finish_period, kept=kept) if rotation else _Rows(folder, kept)
        )

    def follow(self, camera_names: Sequence[str]) -> None:
        """The cameras of the run have changed; names by camid."""
        self._quoted_names = tuple(quoted(name) for name in camera_names)
        self.events.follow(camera_names)

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """Append one tick: rows by camera, then track. Raises OutputError where the disk does not take it."""
        self.events.write(frames)
        in_order = sorted(frames, key=lambda frame: (frame.camid, frame.frame_idx))
        rows = "".join(_rows(frame, self._quoted_names[frame.camid]) for frame in in_order if len(frame.tracks))
        if rows:
            self._table.write(rows, max(frame.time_s for frame in frames))

    def settle(self) -> dict[str, int]:
        """Write through to the disk what was written so far -> the bytes of each file. Raises OutputError."""
        return {**self._table.settle(), EVENTS_FILE: self.events.settle()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if ends_well(kind):
                rows = self._table.close()
                self.events.close()
                sources = rows, self.events.temporary
                write_final_tables(self._folder, *sources, mot=self._mot, windows=self._windows)
                self.events.publish()
                if not self._resumable:
                    remove_rows(self._folder)
        finally:
            self._table.abandon()
            self.events.abandon()

    def _finish_period(self, rows: Path, folder: Path) -> None:
        """The tables of a period that is over."""
        with naming(folder):
            folder.mkdir(exist_ok=True)
        events = folder / EVENTS_FILE
        with AtomicFile(events, temporary=closing_path(events)) as whole:
            copy_whole_lines(self.events.current, whole)
        write_final_tables(folder, rows, events, mot=self._mot, windows=self._windows)


class _Rows:
    """The rows of a run in one file."""

    def __init__(self, folder: Path, kept: Mapping[str, int] | None) -> None:
        self._file = AtomicFile(folder / TABLE_FILE, keep_bytes=kept[TABLE_FILE] if kept else None)
        if not kept:
            self._file.write(",".join(COLUMNS) + "\n")
            self._file.flush()

    def write(self, text: str, time_s: float) -> None:
        self._file.write(text)
        self._file.flush()

    def settle(self) -> dict[str, int]:
        return {TABLE_FILE: self._file.settle()}

    def close(self) -> Path:
        self._file.close()
        return self._file.temporary

    def abandon(self) -> None:
        self._file.abandon()


def _rows(frame: FusedFrame, quoted_name: str) -> str:
    """The frame's lines of the table, by track_id."""
    tracks, known = frame.tracks, frame.global_tracks
    identities = {
        track_id: (global_id, confidence)
        for track_id, global_id, confidence in zip(
            known.track_id.tolist(), known.global_id.tolist(), known.confidence.tolist(), strict=True
        )
    }
    order = np.argsort(tracks.track_id, kind="stable")
    xyxy = tracks.xyxy[order].astype(np.float64)
    boxes = np.concatenate((xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]), axis=1).tolist()
    ids, scores, ground = tracks.track_id[order].tolist(), tracks.score[order].tolist(), frame.ground_xy[order].tolist()
    head = f"{seconds_text(frame.time_s)},{quoted_name},{frame.frame_idx},"
    lines = []
    for track_id, (left, top, width, height), score, (x, y) in zip(ids, boxes, scores, ground, strict=True):
        global_id, confidence = identities.get(track_id, ("", float("nan")))
        lines.append(
            f"{head}{global_id},{track_id},{left:z.2f},{top:z.2f},{width:z.2f},{height:z.2f},"
            f"{_number(score)},{_number(confidence)},{_ground(x, y)}\n"
        )
    return "".join(lines)


def _number(value: float) -> str:
    return "" if value != value else f"{value:.4f}"


def _ground(x: float, y: float) -> str:
    return "," if x != x or y != y else f"{x:z.3f},{y:z.3f}"


def quoted(name: str) -> str:
    """The name as one CSV field, in quotes where it needs them."""
    field = io.StringIO()
    csv.writer(field, lineterminator="").writerow([name])
    return field.getvalue()
