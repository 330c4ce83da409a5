"""The tables at the end, a pure function of the rows and the events that a run left behind.

One pass over the rows, in order, gives every row the final identity of its tracklet and writes

    global_tracks.csv   the rows, in the order in which they came: tick, camera, track
    tracklets.csv       one line per tracklet, by first appearance; two for one that was split
    identities.csv      one line per identity, by number
    transitions.csv     one line per walk from one camera to another
    counts.csv          how many people were in each camera, and on the site, in each window of time
    mot/<camera>.txt    MOTChallenge text with global ids

What identity a row had while the run went does not matter. Rows stay on the disk; memory holds one record per tracklet.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pipeline.sinks.events import Decision, Tracklet, read_events, resolve
from pipeline.sinks.files import TABLE_FILE as TABLE_FILE
from pipeline.sinks.files import AtomicFile, closing_path, naming
from pipeline.sinks.mot import MotFiles, mot_path
from pipeline.sinks.visits import Stay, counts_of, transitions_of, visits_of

logger = logging.getLogger(__name__)

TRACKLETS_FILE = "tracklets.csv"
IDENTITIES_FILE = "identities.csv"
TRANSITIONS_FILE = "transitions.csv"
COUNTS_FILE = "counts.csv"
COLUMNS = (
    *("time_s", "camera", "frame", "global_id", "track_id", "left", "top", "width", "height"),
    *("score", "confidence", "ground_x", "ground_y"),
)
TRACKLET_COLUMNS = (
    *("camera", "track_id", "global_id", "first_s", "last_s", "first_frame", "last_frame", "num_frames"),
    *("mean_score", "confidence", "first_ground_x", "first_ground_y", "last_ground_x", "last_ground_y"),
)
IDENTITY_COLUMNS = ("global_id", "first_s", "last_s", "cameras", "num_cameras", "num_tracklets", "num_frames")
TRANSITION_COLUMNS = ("global_id", "from", "to", "left_s", "arrived_s", "travel_s")
COUNT_COLUMNS = ("start_s", "end_s", "camera", "present", "entered", "distinct")
_GLOBAL_ID, _CONFIDENCE = COLUMNS.index("global_id"), COLUMNS.index("confidence")
BETWEEN_CAMERAS = ">"


class Windows(NamedTuple):
    """How people are counted."""

    count_s: float = 3.0  # length of a window of counts.csv
    visit_gap_s: float = 3.0  # who is unseen in a camera for no longer has not left it


WINDOWS = Windows()


class _Path:
    """What tracklets.csv says of one tracklet, gathered row by row."""

    __slots__ = ("camera", "first", "first_ground", "last", "last_ground", "num_frames", "num_scores", "sum_score")

    def __init__(self, row: Sequence[str]) -> None:
        self.camera = row[1]
        self.first = self.last = (row[0], row[2])  # time_s, frame
        self.first_ground = self.last_ground = ("", "")
        self.num_frames = self.num_scores = 0
        self.sum_score = 0.0

    def add(self, row: Sequence[str], score: float) -> None:
        self.last = (row[0], row[2])
        self.num_frames += 1
        if not math.isnan(score):
            self.sum_score += score
            self.num_scores += 1
        if row[11]:
            self.last_ground = (row[11], row[12])
            if not self.first_ground[0]:
                self.first_ground = self.last_ground

    def mean_score(self) -> float:
        return self.sum_score / self.num_scores if self.num_scores else math.nan


_Decisions = Mapping[Tracklet, Sequence[Decision]]
_Part = tuple[int, int, int]  # camid, track_id, and which of the tracklet's decisions; one unless it was split


def write_final_tables(
    folder: Path, rows_path: Path, events_path: Path | None, *, mot: bool = True, windows: Windows = WINDOWS
) -> list[Path]:
    """Write the final tables of the rows and events in these files into `folder`; none gets its name before all are
    whole. A tracklet that no event speaks of (a run that was killed) keeps its rows, with an empty identity.

    Returns the files. Raises OutputError; files of an earlier run are then untouched.
    """
    camids: dict[str, int] = {}
    decisions = resolve(read_events(events_path, camids)) if events_path else {}
    paths: dict[_Part, _Path] = {}
    with ExitStack() as stack:

        def opened(path: Path) -> AtomicFile:
            file = AtomicFile(path, temporary=closing_path(path))
            stack.callback(file.abandon)
            return file

        table = opened(folder / TABLE_FILE)
        mot_files = MotFiles({name: opened(mot_path(folder, name)) for name in camids} if mot else {})
        write_row = _writer(table, COLUMNS)
        for row in _final_rows(rows_path, camids, decisions, paths):
            write_row(row)
            mot_files.write(row)
        tracklets, identities = opened(folder / TRACKLETS_FILE), opened(folder / IDENTITIES_FILE)
        _write_tracklets(tracklets, paths, decisions)
        _write_identities(identities, paths, decisions)
        transitions, counts = opened(folder / TRANSITIONS_FILE), opened(folder / COUNTS_FILE)
        visits = visits_of(_stays(paths, decisions), windows.visit_gap_s)
        _write_transitions(transitions, visits)
        _write_counts(counts, visits, windows.count_s)
        files = [table, tracklets, identities, transitions, counts, *mot_files.files()]
        for file in files:
            file.close()
        for file in files:
            file.publish()
    return [file.path for file in files]


def _final_rows(
    path: Path, camids: dict[str, int], decisions: _Decisions, paths: dict[_Part, _Path]
) -> Iterator[list[str]]:
    """The rows with their final identities, one at a time; `paths` gathers them by tracklet. A row that was cut off
    or is damaged is left out with a warning."""
    texts = {
        tracklet: [(str(d.global_id), _decimals(d.confidence)) for d in parts] for tracklet, parts in decisions.items()
    }
    with naming(path), path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(line for line in file if line.endswith("\n"))  # a last line that was cut off has no end
        next(reader, None)
        for row in reader:
            try:
                if len(row) != len(COLUMNS):
                    raise ValueError(f"{len(row)} fields")
                tracklet = (camids.setdefault(row[1], len(camids)), int(row[4]))
                time_s, _ = float(row[0]), int(row[2])
                score = float(row[9]) if row[9] else math.nan
            except ValueError:
                logger.warning("%s:%d: left out, the row is cut off or damaged", path, reader.line_num)
                continue
            place = _place(decisions.get(tracklet, ()), time_s)
            part = (*tracklet, place)
            if part not in paths:
                paths[part] = _Path(row)
            paths[part].add(row, score)
            row[_GLOBAL_ID], row[_CONFIDENCE] = texts[tracklet][place] if tracklet in texts else ("", "")
            yield row


def _place(parts: Sequence[Decision], time_s: float) -> int:
    """Which of a tracklet's decisions holds at `time_s`; the first one holds before any."""
    place = len(parts) - 1
    while place > 0 and parts[place].from_s > time_s:
        place -= 1
    return max(place, 0)


def _write_tracklets(file: AtomicFile, paths: Mapping[_Part, _Path], decisions: _Decisions) -> None:
    write_row = _writer(file, TRACKLET_COLUMNS)
    for part, path in paths.items():
        decision = _decision(decisions, part)
        write_row(
            [
                *(path.camera, str(part[1]), str(decision.global_id) if decision else ""),
                *(path.first[0], path.last[0], path.first[1], path.last[1], str(path.num_frames)),
                *(_decimals(path.mean_score()), _decimals(decision.confidence) if decision else ""),
                *(*path.first_ground, *path.last_ground),
            ]
        )


def _write_identities(file: AtomicFile, paths: Mapping[_Part, _Path], decisions: _Decisions) -> None:
    by_identity: dict[int, list[_Path]] = {}
    for part, path in paths.items():
        decision = _decision(decisions, part)
        if decision:
            by_identity.setdefault(decision.global_id, []).append(path)
    write_row = _writer(file, IDENTITY_COLUMNS)
    for global_id, members in sorted(by_identity.items()):
        in_order = sorted(members, key=lambda path: float(path.first[0]))
        visits = [name for name, _ in groupby(path.camera for path in in_order)]
        write_row(
            [
                *(str(global_id), in_order[0].first[0], max((path.last[0] for path in members), key=float)),
                *(BETWEEN_CAMERAS.join(visits), str(len(set(visits))), str(len(members))),
                str(sum(path.num_frames for path in members)),
            ]
        )


def _stays(paths: Mapping[_Part, _Path], decisions: _Decisions) -> Iterator[Stay]:
    for part, path in paths.items():
        if decision := _decision(decisions, part):
            yield Stay(decision.global_id, path.camera, float(path.first[0]), float(path.last[0]))


def _write_transitions(file: AtomicFile, visits: Sequence[Stay]) -> None:
    write_row = _writer(file, TRANSITION_COLUMNS)
    for walk in transitions_of(visits):
        times = (walk.left_s, walk.arrived_s, walk.arrived_s - walk.left_s)
        write_row([str(walk.global_id), walk.from_camera, walk.to_camera, *map(seconds_text, times)])


def _write_counts(file: AtomicFile, visits: Sequence[Stay], window_s: float) -> None:
    write_row = _writer(file, COUNT_COLUMNS)
    for count in counts_of(visits, window_s):
        start, end = seconds_text(count.start_s), seconds_text(count.start_s + window_s)
        write_row([start, end, count.camera, *map(str, (count.present, count.entered, count.distinct))])


def seconds_text(time_s: float) -> str:
    """Seconds to the microsecond, without idle zeros but with at least three decimals."""
    text = f"{time_s:z.6f}"
    return text[:-3] if text.endswith("000") else text.rstrip("0")


def _decision(decisions: _Decisions, part: _Part) -> Decision | None:
    parts = decisions.get(part[:2])
    return parts[part[2]] if parts else None


def _writer(file: AtomicFile, columns: Sequence[str]) -> Callable[[Sequence[str]], object]:
    """A function that appends one row to the table, which begins with its head."""
    write_row = csv.writer(file, lineterminator="\n").writerow
    write_row(columns)
    return write_row


def _decimals(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
