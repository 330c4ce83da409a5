"""Whole files out of what a run left behind that was killed."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from pipeline.sinks.events import EVENTS_FILE, copy_whole_lines
from pipeline.sinks.files import (
    JOURNAL_FOLDER,
    PARTS_FOLDER,
    AtomicFile,
    OutputError,
    alone_in,
    closing_path,
    partial_path,
    remove_rows,
)
from pipeline.sinks.final import TABLE_FILE, write_final_tables
from pipeline.sinks.recording import VIDEO_FILE, finish_recording
from pipeline.sinks.rotation import join_parts

logger = logging.getLogger(__name__)


def recover(folder: Path, *, mot: bool = True) -> list[Path]:
    """Make the final files from the `.partial` ones in `folder`, which no run may be writing any more.

    The run's journal goes: what it holds can not be gone on with any more.

    Lines that were cut off are left out. Tracklets on which the run had not decided keep an empty identity. A second
    call after an interrupted one is safe. Returns the files. Raises OutputError, also where there is nothing to do.
    """
    rows = partial_path(folder / TABLE_FILE)
    if not rows.is_file() and (folder / PARTS_FOLDER).is_dir():
        join_parts(folder)
    if not rows.is_file():
        raise OutputError(f"{folder}: nothing to recover, no {rows.name}; name the folder of a run that was killed")
    with alone_in(folder):
        return _recovered(folder, rows, mot)


def _recovered(folder: Path, rows: Path, mot: bool) -> list[Path]:
    events = folder / EVENTS_FILE
    cut_events = partial_path(events)
    if cut_events.is_file():
        with AtomicFile(events, temporary=closing_path(events)) as whole:
            copy_whole_lines(cut_events, whole)
    elif not events.is_file():
        logger.warning("%s: no %s; all identities stay empty", folder, cut_events.name)
    paths = write_final_tables(folder, rows, events if events.is_file() else None, mot=mot)
    if events.is_file():
        paths.append(events)
    recording = partial_path(folder / VIDEO_FILE)
    if recording.is_file():
        try:
            finish_recording(recording, folder / VIDEO_FILE)
            paths.append(folder / VIDEO_FILE)
        except OutputError as error:
            logger.warning("%s; the tables are not touched by that", error)
    cut_events.unlink(missing_ok=True)
    shutil.rmtree(folder / JOURNAL_FOLDER, ignore_errors=True)
    remove_rows(folder)
    return paths
