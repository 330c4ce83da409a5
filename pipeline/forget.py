"""`forget`: a person is taken out of all files of a finished run, and a scan proves it."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.journal.journal import Journal, JournalError
from pipeline.person import NobodyError, Person, person_of
from pipeline.saved_state import StateError, load_state
from pipeline.sinks.events import EVENTS_FILE, read_events, resolve
from pipeline.sinks.files import JOURNAL_FOLDER, PARTIAL, AtomicFile, OutputError, closing_path, naming
from pipeline.sinks.final import (
    COLUMNS,
    COUNTS_FILE,
    IDENTITIES_FILE,
    TABLE_FILE,
    TRACKLETS_FILE,
    TRANSITIONS_FILE,
    WINDOWS,
    Windows,
    write_final_tables,
)
from pipeline.sinks.mot import MOT_FOLDER
from pipeline.sinks.recording import VIDEO_FILE
from pipeline.sinks.report.page import REPORT_FILE, write_report
from pipeline.sinks.rotation import period_folders
from pipeline.types import AnyArray, BoolMask

RUN_FILE = "run.json"
TRAVEL_FILE = "transitions.json"
_TABLES = (TABLE_FILE, TRACKLETS_FILE, IDENTITIES_FILE, TRANSITIONS_FILE)
_ABOUT_NOBODY = (COUNTS_FILE, RUN_FILE, TRAVEL_FILE, REPORT_FILE, "association.json")
VECTORS_FILE = "association.npz"
_IDS = 1 << 44  # more tracks than a camera ever has
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_LEFTOVER = ".forgetting"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a file said of the person before, and says now."""

    path: Path
    num_before: int
    num_after: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done. `left` are files that can not be edited or are not known, with what to do about them."""

    global_ids: tuple[int, ...]
    num_tracklets: int
    traces: tuple[Trace, ...]
    left: tuple[tuple[Path, str], ...]

    @property
    def is_gone(self) -> bool:
        return not any(trace.num_after for trace in self.traces)


def forget(folder: Path, global_id: int) -> Forgotten:
    """Remove the person `global_id` from every file of the finished run in `folder`.

    Raises OutputError where there is no such run, it has not finished, or nobody has that number; nothing is changed
    then. A crash on the way leaves the old files or the new ones; a second call finishes the work.
    """
    person = person_of(folder, global_id)
    _check_finished(folder)
    texts = _texts(folder)
    before = {path: _hits(path, person) for path in texts}
    pictures = [path for path in _walk(folder) if path.suffix.lower() in _PICTURES]
    vectors = _forget_vectors(folder, person)
    _rewrite(folder, person)  # the events last: as long as they name the person, a second call finds them
    for path in pictures:
        path.unlink()
    journal = _compact(folder)
    if (folder / REPORT_FILE).is_file():
        write_report(folder)
    traces = [Trace(path, before.get(path, 0), _hits(path, person)) for path in _texts(folder)]
    traces += [Trace(path, count, 0, "removed") for path, count in before.items() if not path.exists()]
    traces += [Trace(path, 1, int(path.exists()), "a picture of people, removed") for path in pictures]
    traces += [trace for trace in (vectors, journal) if trace is not None]
    ids = tuple(sorted(person.ids))
    traces += [trace for period in period_folders(folder) for trace in _forget_period(period, ids)]
    return Forgotten(ids, len(person.tracklets), tuple(traces), tuple(_left(folder)))


def _forget_period(folder: Path, global_ids: Iterable[int]) -> list[Trace]:
    """The person in the tables of an hour or a day, where numbers that became one later may still be several."""
    traces: list[Trace] = []
    for global_id in global_ids:
        try:
            traces += forget(folder, global_id).traces
        except NobodyError:
            continue
    return traces


def _check_finished(folder: Path) -> None:
    left = sorted(folder.glob(f"*{PARTIAL}"))
    if left:
        raise OutputError(f"{left[0]}: the run has not finished; go on with it (--resume) or `recover` it first")
    if any((folder / JOURNAL_FOLDER).glob("*.journal")):
        with _journal(folder) as journal:
            last = max(journal.records(), key=lambda record: record.seq, default=None)
            try:
                done = last is None or bool(load_state(last.payload, ()).get("finished"))
            except StateError as error:
                raise OutputError(
                    f"{folder / JOURNAL_FOLDER}: {error}; move it away if nobody goes on with it"
                ) from error
        if not done:
            raise OutputError(f"{folder}: the run has not finished; go on with it (--resume) or `recover` it first")


def _journal(folder: Path) -> Journal:
    try:
        return Journal(folder / JOURNAL_FOLDER)
    except JournalError as error:
        raise OutputError(str(error)) from error


def _rewrite(folder: Path, person: Person) -> None:
    """New events and tables without the person; that others keep what they have is checked before."""
    events, rows = folder / EVENTS_FILE, folder / f"{TABLE_FILE}{_LEFTOVER}"
    kept_events = folder / f"{EVENTS_FILE}{_LEFTOVER}"
    with ExitStack() as stack:
        stack.callback(rows.unlink, missing_ok=True)
        stack.callback(kept_events.unlink, missing_ok=True)
        with naming(folder):
            _write_lines(kept_events, _kept_events(events, person))
            _write_lines(rows, _kept_rows(folder / TABLE_FILE, person))
        camids = {name: camid for camid, name in enumerate(person.names)}
        others = resolve(read_events(kept_events, camids))
        for tracklet, parts in person.decisions.items():
            wanted = [part.global_id for part in parts if part.global_id not in person.ids]
            if [part.global_id for part in others.get(tracklet, [])] != wanted:
                raise OutputError(
                    f"{events}: without identity {min(person.ids)} the events would give track {tracklet[1]} of camera "
                    f"{person.names[tracklet[0]]} to somebody else; nothing was changed"
                )
        write_final_tables(folder, rows, kept_events, mot=(folder / MOT_FOLDER).is_dir(), windows=_windows(folder))
        with AtomicFile(events, temporary=closing_path(events)) as whole, kept_events.open(encoding="utf-8") as file:
            for line in file:
                whole.write(line)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def _kept_events(path: Path, person: Person) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line.get("global_id") in person.ids:
                continue
            if line.get("other_id") in person.ids:
                if line.get("kind") == "merge":
                    continue
                text = json.dumps({k: v for k, v in line.items() if k != "other_id"}, ensure_ascii=False) + "\n"
            yield text


def _kept_rows(path: Path, person: Person) -> Iterator[str]:
    camids = {name: camid for camid, name in enumerate(person.names)}
    with path.open(encoding="utf-8", newline="") as file:
        yield file.readline()
        for text in file:
            row = next(csv.reader([text]))
            if len(row) == len(COLUMNS) and person.has(camids.get(row[1], -1), int(row[4]), float(row[0])):
                continue
            yield text


def _windows(folder: Path) -> Windows:
    """As the run counted people."""
    run = folder / RUN_FILE if (folder / RUN_FILE).is_file() else folder.parent / RUN_FILE  # of a period: the whole's
    try:
        output = json.loads(run.read_text(encoding="utf-8"))["config"]["output"]
        return Windows(float(output["count_window_s"]), float(output["visit_gap_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return WINDOWS


def _forget_vectors(folder: Path, person: Person) -> Trace | None:
    """The vectors that are kept for `why`. Of a tracklet that was split all go, whoever else it shows."""
    path = folder / VECTORS_FILE
    if not path.is_file():
        return None
    theirs = {camid * _IDS + track_id for camid, track_id in person.tracklets}

    def is_theirs() -> BoolMask:
        return np.isin(arrays["name"][:, 0] * _IDS + arrays["name"][:, 1], sorted(theirs))

    try:
        arrays = _arrays(path)
        before = int(is_theirs().sum())
        kept = ~is_theirs()
        temporary = path.with_name(path.name + _LEFTOVER)
        with naming(path):
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **{name: rows[kept] for name, rows in arrays.items()})
            os.replace(temporary, path)
        arrays = _arrays(path)
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path}: can not be read ({error}); delete it, then forget again") from error
    return Trace(path, before, int(is_theirs().sum()), "vectors")


def _arrays(path: Path) -> dict[str, AnyArray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file.items())


def _compact(folder: Path) -> Trace | None:
    """Of a finished run's journal all but the word that it has finished goes: states hold vectors and crops."""
    if not any((folder / JOURNAL_FOLDER).glob("*.journal")):
        return None
    with _journal(folder) as journal:
        last = journal.last_seq
        before = sum(record.seq != last for record in journal.records())
        journal.compact(lambda record: record.payload if record.seq == last else None)
        after = sum(record.seq != last for record in journal.records())
    return Trace(folder / JOURNAL_FOLDER, before, after, "saved states (vectors, crops)")


def _walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _texts(folder: Path) -> list[Path]:
    """The files in which people have numbers."""
    named = [folder / name for name in (*_TABLES, EVENTS_FILE) if (folder / name).is_file()]
    return named + sorted((folder / MOT_FOLDER).glob("*.txt"))


def _hits(path: Path, person: Person) -> int:
    """Rows or lines of the file that name the person."""
    if not path.is_file():
        return 0
    with naming(path), path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".txt":
            return sum(int(line.split(",", 2)[1]) in person.ids for line in file)
        if path.name == EVENTS_FILE:
            lines: Iterator[dict[str, Any]] = (json.loads(line) for line in file)
            return sum(line.get("global_id") in person.ids or line.get("other_id") in person.ids for line in lines)
        return sum(bool(row["global_id"]) and int(row["global_id"]) in person.ids for row in csv.DictReader(file))


def _left(folder: Path) -> Iterator[tuple[Path, str]]:
    known = {*_texts(folder), folder / VECTORS_FILE, *(folder / name for name in _ABOUT_NOBODY)}
    periods = set(period_folders(folder))
    for path in _walk(folder):
        if periods & set(path.parents):
            continue
        if path == folder / VIDEO_FILE:
            yield path, "shows the person: a film can not be edited; delete it, or run again without --video"
        elif path not in known and path.parent != folder / JOURNAL_FOLDER:
            yield path, "is not known to hold people and was not looked into"
