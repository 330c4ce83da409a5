"""The journal: entries and snapshots, appended to files that are never changed but by compaction.

A snapshot begins a new file, so that all files before it can go. Recovery reads from the last whole snapshot on, and
cuts off what a crash has left half written at the very end; damage anywhere else is an error, never passed over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.journal.config import JournalConfig
from pipeline.journal.disk import Disk, RealDisk, sync_folder, write_all
from pipeline.journal.records import ENTRY, MAGIC, SNAPSHOT, Damage, Record, decode, encode

log = logging.getLogger(__name__)

_SUFFIX = ".journal"
_TEMPORARY = ".tmp"


class JournalError(RuntimeError):
    """The journal can not be used; the message names the file and what to do."""


@dataclass(slots=True)
class _Segment:
    """One file: its records' numbers and the newest event time in it."""

    path: Path
    num_bytes: int
    last_seq: int
    newest_s: float
    is_snapshot: bool  # its first record is one


class Journal:
    """A journal in a folder of its own, open for writing by one process; a context manager.

    Opening it recovers it: `replay` then gives the last snapshot and all entries after it. `append` returns once the
    entry is with the operating system, so that it outlives this process; what a loss of power may cost is
    `config.fsync`. With `interval`, call `sync` now and then while nothing is appended.
    Raises JournalError where the folder is in use, or damaged other than at its end.
    """

    def __init__(self, folder: Path, config: JournalConfig | None = None, disk: Disk | None = None) -> None:
        self._folder = folder
        self._config = config or JournalConfig()
        self._disk: Disk = disk or RealDisk()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self._descriptor = -1
        self._synced_s = time.monotonic()
        self._unsynced = False
        try:
            for left in folder.glob(f"*{_SUFFIX}{_TEMPORARY}"):
                self._disk.unlink(left)
            self._segments = self._recover()
        except BaseException:
            os.close(self._lock)
            raise
        self.last_seq = max((segment.last_seq for segment in self._segments), default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, payload: bytes, time_s: float) -> int:
        """Add an entry of event time `time_s` -> its number. Raises OSError, after which the journal is as before."""
        return self._add(Record(self.last_seq + 1, time_s, ENTRY, payload))

    def snapshot(self, payload: bytes, time_s: float) -> int:
        """Add the state after all entries so far; recovery begins with it. It is forced to the disk."""
        self._begin_file()
        seq = self._add(Record(self.last_seq + 1, time_s, SNAPSHOT, payload))
        self._force()
        return seq

    def replay(self) -> Iterator[Record]:
        """The last snapshot, if there is one, and all entries after it, in order."""
        first = max((i for i, segment in enumerate(self._segments) if segment.is_snapshot), default=0)
        for segment in self._segments[first:]:
            for _, record in decode(segment.path.read_bytes()):
                if isinstance(record, Record):
                    yield record

    def records(self) -> Iterator[Record]:
        """All that is kept, from the oldest on."""
        for segment in self._segments:
            for _, record in decode(segment.path.read_bytes()):
                if isinstance(record, Record):
                    yield record

    def sync(self) -> None:
        """Force to the disk what is not there yet, where the policy has it."""
        if self._unsynced and self._config.fsync != "never":
            self._force()

    def retain(self, now_s: float) -> int:
        """Remove the files that are too old or too many by the settings -> how many.

        Only files that the last snapshot has made superfluous can go: where others are overdue, take a snapshot first
        (`overdue` says so).
        """
        first_needed = max((i for i, segment in enumerate(self._segments) if segment.is_snapshot), default=0)
        num_removed = 0
        while num_removed < first_needed and self._is_overdue(self._segments[0], now_s):
            self._disk.unlink(self._segments[0].path)
            self._segments.pop(0)
            num_removed += 1
        if num_removed:
            sync_folder(self._disk, self._folder)
        return num_removed

    def overdue(self, now_s: float) -> bool:
        """Whether the settings want something removed that only a new snapshot would make superfluous."""
        return bool(self._segments) and self._is_overdue(self._segments[0], now_s)

    def compact(self, keep: Callable[[Record], bytes | None]) -> int:
        """Write all files anew, each record with the payload that `keep` gives, or not at all where it gives None.

        Numbers and times stay. Each file is replaced as a whole, so that a crash leaves the old or the new one.
        -> how many records were dropped or changed. Old bytes are gone from the files, not from a disk's own copies.
        """
        self._close_file()
        num_changed = 0
        for segment in self._segments:
            changed, parts = 0, [MAGIC]
            for _, record in decode(segment.path.read_bytes()):
                assert isinstance(record, Record)
                payload = keep(record)
                changed += payload != record.payload
                if payload is not None:
                    parts.append(encode(record._replace(payload=payload)))
            if changed:
                self._rewrite(segment, b"".join(parts))
                num_changed += changed
        if num_changed:
            sync_folder(self._disk, self._folder)
        return num_changed

    @property
    def num_bytes(self) -> int:
        return sum(segment.num_bytes for segment in self._segments)

    def close(self) -> None:
        """Force everything to the disk, unless the policy is never, and let others open the journal."""
        if self._lock < 0:
            return
        self.sync()
        self._close_file()
        os.close(self._lock)
        self._lock = -1

    def _add(self, record: Record) -> int:
        data = encode(record)
        if self._descriptor < 0 or self._segments[-1].num_bytes + len(data) > max(
            self._config.segment_bytes, len(MAGIC) + len(data)
        ):
            self._begin_file()
        segment = self._segments[-1]
        try:
            write_all(self._disk, self._descriptor, data)
        except OSError:
            self._disk.truncate(self._descriptor, segment.num_bytes)
            raise
        segment.is_snapshot |= record.kind == SNAPSHOT and segment.num_bytes == len(MAGIC)
        segment.num_bytes += len(data)
        segment.last_seq = self.last_seq = record.seq
        segment.newest_s = max(segment.newest_s, record.time_s)
        self._unsynced = True
        if self._config.fsync == "always" or (
            self._config.fsync == "interval" and time.monotonic() - self._synced_s >= self._config.fsync_interval_s
        ):
            self._force()
        return record.seq

    def _begin_file(self) -> None:
        """A new file; the one before is on the disk by then, so that only the last can be torn."""
        self._close_file()
        path = self._folder / f"{self.last_seq + 1:020d}{_SUFFIX}"
        if path.exists():  # the last file holds nothing but its header
            self._disk.unlink(path)
            self._segments = [segment for segment in self._segments if segment.path != path]
        descriptor = self._disk.create(path)
        try:
            write_all(self._disk, descriptor, MAGIC)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        self._descriptor = descriptor
        self._segments.append(_Segment(path, len(MAGIC), self.last_seq, -float("inf"), False))
        if self._config.fsync != "never":
            sync_folder(self._disk, self._folder)

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def _force(self) -> None:
        self._disk.fsync(self._descriptor)
        self._synced_s, self._unsynced = time.monotonic(), False

    def _rewrite(self, segment: _Segment, data: bytes) -> None:
        temporary = segment.path.with_name(segment.path.name + _TEMPORARY)
        descriptor = self._disk.create(temporary)
        try:
            write_all(self._disk, descriptor, data)
            self._disk.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._disk.replace(temporary, segment.path)
        found, _ = _read(segment.path, 0)
        segment.num_bytes, segment.is_snapshot = found.num_bytes, found.is_snapshot
        segment.newest_s = found.newest_s

    def _is_overdue(self, segment: _Segment, now_s: float) -> bool:
        too_old = self._config.retention_s is not None and segment.newest_s < now_s - self._config.retention_s
        too_many = self._config.retention_bytes is not None and self.num_bytes > self._config.retention_bytes
        return too_old or too_many

    def _recover(self) -> list[_Segment]:
        segments: list[_Segment] = []
        paths = sorted(self._folder.glob(f"*{_SUFFIX}"))
        last_seq = 0
        for path in paths:
            segment, damage = _read(path, last_seq)
            if damage is not None and path is not paths[-1]:
                raise JournalError(
                    f"{path}: damaged at byte {damage.offset}: {damage.reason}. Later files are whole, so this is no "
                    "crash of ours; restore the file from a copy, or move it and all later ones away to go on without"
                )
            if damage is not None:
                if damage.reason == "this is no journal file":
                    raise JournalError(f"{path}: {damage.reason}; move it away")
                if segment.num_bytes:
                    self._cut(path, damage)
            if segment.num_bytes > len(MAGIC):
                segments.append(segment)
            else:
                self._disk.unlink(path)
            last_seq = max(last_seq, segment.last_seq)
        return segments

    def _cut(self, path: Path, damage: Damage) -> None:
        log.warning("%s: %s; its last %d bytes are cut off", path, damage.reason, path.stat().st_size - damage.offset)
        descriptor = os.open(path, os.O_WRONLY)
        try:
            self._disk.truncate(descriptor, damage.offset)
            self._disk.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: Path, last_seq: int) -> tuple[_Segment, Damage | None]:
    segment = _Segment(path, 0, last_seq, -float("inf"), False)
    data = path.read_bytes()
    if data[: len(MAGIC)] == MAGIC:
        segment.num_bytes = len(MAGIC)
    for end, record in decode(data, last_seq):
        if isinstance(record, Damage):
            return segment, record
        segment.is_snapshot |= record.kind == SNAPSHOT and segment.num_bytes == len(MAGIC)
        segment.num_bytes, segment.last_seq = end, record.seq
        segment.newest_s = max(segment.newest_s, record.time_s)
    return segment, None


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(f"{folder}: the journal is in use by another process") from None
    return descriptor
