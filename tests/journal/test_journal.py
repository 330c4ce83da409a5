"""The journal keeps what it was given, whatever happens to the process, and says so where it can not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.journal.config import JournalConfig
from pipeline.journal.disk import RealDisk
from pipeline.journal.journal import Journal, JournalError
from pipeline.journal.records import MAGIC, SNAPSHOT, Damage, Record, decode, encode

SMALL = JournalConfig(fsync="always", segment_bytes=4096)


def payloads(journal: Journal) -> list[bytes]:
    return [record.payload for record in journal.replay()]


def entry(number: int) -> bytes:
    return f"{number:04d}".encode() * (1 + 5 * (number % 60))


def test_an_empty_journal_has_nothing_to_replay(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert payloads(journal) == [] and journal.last_seq == 0
    with Journal(tmp_path) as journal:
        assert payloads(journal) == []


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_what_was_appended_is_there_again_in_order_over_many_files(tmp_path: Path, fsync) -> None:
    config = JournalConfig(fsync=fsync, segment_bytes=4096)
    with Journal(tmp_path, config) as journal:
        assert [journal.append(entry(i), i / 10) for i in range(60)] == list(range(1, 61))
    assert len(list(tmp_path.glob("*.journal"))) > 3
    with Journal(tmp_path, config) as journal:
        assert payloads(journal) == [entry(i) for i in range(60)]
        assert [r.time_s for r in journal.replay()] == [i / 10 for i in range(60)]
        assert journal.append(b"more", 7.0) == 61
    with Journal(tmp_path, config) as journal:
        assert payloads(journal)[-2:] == [entry(59), b"more"]


def test_replay_begins_with_the_last_snapshot(tmp_path: Path) -> None:
    with Journal(tmp_path, SMALL) as journal:
        journal.append(b"a", 1)
        journal.snapshot(b"A", 1)
        journal.append(b"b", 2)
        journal.snapshot(b"AB", 2)
        journal.append(b"c", 3)
        assert payloads(journal) == [b"AB", b"c"]
    with Journal(tmp_path, SMALL) as journal:
        assert [(r.payload, r.kind == SNAPSHOT) for r in journal.replay()] == [(b"AB", True), (b"c", False)]
        assert [r.payload for r in journal.records()] == [b"a", b"A", b"b", b"AB", b"c"]


def test_a_snapshot_that_was_torn_leaves_the_one_before(tmp_path: Path) -> None:
    with Journal(tmp_path, SMALL) as journal:
        journal.snapshot(b"A", 1)
        journal.append(b"b", 2)
        journal.snapshot(b"AB" * 100, 2)
    last = max(tmp_path.glob("*.journal"))
    os.truncate(last, last.stat().st_size - 1)
    with Journal(tmp_path, SMALL) as journal:
        assert payloads(journal) == [b"A", b"b"]
        journal.append(b"c", 3)
    with Journal(tmp_path, SMALL) as journal:
        assert payloads(journal) == [b"A", b"b", b"c"]


def test_wherever_the_last_write_was_torn_all_before_it_is_kept(tmp_path: Path, caplog) -> None:
    with Journal(tmp_path / "whole") as journal:
        for i in range(4):
            journal.append(entry(i), i)
    (path,) = (tmp_path / "whole").glob("*.journal")
    data = path.read_bytes()
    ends = [end for end, _ in decode(data)]
    for length in range(len(data)):
        folder = tmp_path / f"torn{length}"
        folder.mkdir()
        (folder / path.name).write_bytes(data[:length])
        with Journal(folder, disk=Plug(0, "never")) as journal:
            kept = sum(end <= length for end in ends)
            assert payloads(journal) == [entry(i) for i in range(kept)]
            assert journal.append(b"next", 9) == kept + 1
        with Journal(folder, disk=Plug(0, "never")) as journal:
            assert payloads(journal)[-1] == b"next"
    assert "cut off" in caplog.text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_a_flipped_bit_is_never_taken_for_an_entry(entries, data) -> None:
    whole = MAGIC + b"".join(encode(Record(i + 1, i, 0, payload)) for i, payload in enumerate(entries))
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    broken = bytearray(whole)
    broken[at // 8] ^= 1 << at % 8
    found = [r for _, r in decode(bytes(broken))]
    good = [r.payload for r in found if isinstance(r, Record)]
    assert good == entries[: len(good)] and len(good) < max(1, len(entries)) and isinstance(found[-1], Damage)


def test_damage_before_the_end_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with Journal(tmp_path, SMALL) as journal:
        for i in range(60):
            journal.append(entry(i), i)
    first = min(tmp_path.glob("*.journal"))
    broken = bytearray(first.read_bytes())
    broken[100] ^= 1
    first.write_bytes(broken)
    with pytest.raises(JournalError, match=rf"{first.name}: damaged at byte .*checksum"):
        Journal(tmp_path, SMALL)


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.journal").write_bytes(b"precious holiday pictures")
    with pytest.raises(JournalError, match="no journal file"):
        Journal(tmp_path)
    assert (tmp_path / "00000000000000000001.journal").read_bytes() == b"precious holiday pictures"


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(JournalError, match="in use"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_old_files_go_once_a_snapshot_stands_for_them(tmp_path: Path) -> None:
    config = JournalConfig(fsync="never", segment_bytes=4096, retention_s=30)
    with Journal(tmp_path, config) as journal:
        for i in range(60):
            journal.append(entry(i), i)
        assert journal.overdue(60) and journal.retain(60) == 0  # nothing stands for them
        journal.snapshot(b"state", 60)
        assert journal.retain(60) > 0
        oldest = next(journal.records()).time_s
        assert 20 < oldest <= 30  # whole files: those with anything younger stay
        assert journal.retain(1000) > 0 and [r.payload for r in journal.records()] == [b"state"]
    with Journal(tmp_path, config) as journal:
        assert payloads(journal) == [b"state"]


def test_the_oldest_files_go_beyond_the_size(tmp_path: Path) -> None:
    config = JournalConfig(fsync="never", segment_bytes=4096, retention_bytes=8192)
    with Journal(tmp_path, config) as journal:
        for i in range(100):
            journal.append(entry(i), i)
        journal.snapshot(b"state", 100)
        journal.retain(0)
        assert journal.num_bytes <= 8192
        assert sum(p.stat().st_size for p in tmp_path.glob("*.journal")) == journal.num_bytes


def test_compaction_removes_and_changes_entries_and_keeps_their_numbers(tmp_path: Path) -> None:
    with Journal(tmp_path, SMALL) as journal:
        for i in range(60):
            journal.append(b"secret-7" if i == 7 else entry(i), i)
        assert journal.compact(lambda r: None if r.payload == b"secret-7" else b"9" if r.seq == 10 else r.payload) == 2
        assert journal.append(b"after", 99) == 61
    assert not any(b"secret-7" in p.read_bytes() for p in tmp_path.iterdir())
    with Journal(tmp_path, SMALL) as journal:
        assert [r.seq for r in journal.replay()] == [*range(1, 8), *range(9, 62)]
        assert next(r.payload for r in journal.replay() if r.seq == 10) == b"9"


class FullDisk(RealDisk):
    room = 10_000

    def write(self, descriptor, data):
        if self.room < len(data):
            os.write(descriptor, bytes(data[: self.room]))
            raise OSError(28, "No space left on device")
        self.room -= len(data)
        return os.write(descriptor, data)


def test_a_full_disk_costs_only_the_entry_that_did_not_fit(tmp_path: Path) -> None:
    disk, kept = FullDisk(), []
    with Journal(tmp_path, SMALL, disk) as journal:
        with pytest.raises(OSError, match="No space"):
            for i in range(100):
                journal.append(entry(i), i)
                kept.append(entry(i))
        disk.room = 10_000
        journal.append(b"again", 1)
        assert payloads(journal) == [*kept, b"again"]
    with Journal(tmp_path, SMALL) as journal:
        assert payloads(journal) == [*kept, b"again"]


class Plug(RealDisk):
    """Kills the process at step `at`: before it, in the middle of what it writes, or after it.

    Nothing is forced to the disk: what a process has written outlives it all the same.
    """

    def __init__(self, at: int, when: str) -> None:
        self.at, self.when, self.step = at, when, 0

    def _now(self) -> bool:
        self.step += 1
        return self.step == self.at

    def write(self, descriptor, data):
        if self._now():
            os.write(descriptor, bytes(data[: {"before": 0, "middle": len(data) // 2}.get(self.when, len(data))]))
            os.kill(os.getpid(), signal.SIGKILL)
        return os.write(descriptor, data)

    def __getattribute__(self, name):
        if name in ("fsync", "truncate", "create", "replace", "unlink"):
            real = super().__getattribute__(name) if name != "fsync" else lambda descriptor: None

            def step(*args):
                now = self._now()
                if now and self.when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                result = real(*args)
                if now:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return step
        return super().__getattribute__(name)


def _work(folder: Path, disk: RealDisk, told: int) -> None:
    """Appends, snapshots, retention and a compaction; tells through a pipe what it has been promised."""
    config = JournalConfig(fsync="always", segment_bytes=4096, retention_s=8)
    with Journal(folder, config, disk) as journal:
        for i in range(len(numbers_in(journal)), 20):
            journal.append(entry(i), i)
            os.write(told, bytes([i + 1]))
            if i % 6 == 5:
                journal.snapshot(str(i + 1).encode(), i)
                journal.retain(i)
        journal.compact(lambda r: r.payload[:4] if len(r.payload) > 4 else r.payload)


def numbers_in(journal: Journal) -> list[int]:
    """The entries that a reader of the journal knows of: a snapshot stands for as many as it says."""
    numbers: list[int] = []
    for record in journal.replay():
        if record.kind == SNAPSHOT:
            numbers = list(range(int(record.payload)))
        else:
            numbers.append(int(record.payload[:4]))
    return numbers


@pytest.mark.parametrize("when", ["before", "middle", "after"])
def test_killed_at_every_step_nothing_is_lost_or_doubled(tmp_path: Path, when: str) -> None:
    at, killed = 1, True
    null = os.open(os.devnull, os.O_WRONLY)
    while killed:
        folder = tmp_path / f"{at}"
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read)
                _work(folder, Plug(at, when), write)
            finally:
                os._exit(0)
        os.close(write)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        promised = max(os.read(read, 4096), default=0)
        os.close(read)
        with Journal(folder, JournalConfig(fsync="always", segment_bytes=4096)) as journal:
            numbers = numbers_in(journal)
            assert numbers == list(range(len(numbers))), f"step {at} {when}"
            assert promised <= len(numbers) <= promised + 1, f"step {at} {when}"
        _work(folder, Plug(0, when), null)
        with Journal(folder) as journal:
            assert numbers_in(journal) == list(range(20))
        at += 1
    assert at > 60
