"""The people known by now, and in which tracklets they were seen."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fusion.constraints import Presence
from pipeline.fusion.number_table import NumberTable
from pipeline.fusion.vector_index import grow
from pipeline.types import BoolMask, Float64, Int64

_FIRST_ROWS = 64
_COLUMNS = ("global_id", "first_s", "last_s", "entry_zone", "exit_zone", "exit_s", "live_slot", "left_zone", "in_view")


@dataclass(slots=True)
class Member:
    """A tracklet of an identity. `slot` is its place in the store, -1 once it has left it.

    Who changes a member of an identity says so with `IdentityBook.touch`.
    """

    camid: int
    track_id: int
    first_s: float
    last_s: float
    slot: int
    open: bool  # may still go on
    entry_zone: int = -1  # where it came in and went out (`zones.Zones`), -1: unknown
    exit_zone: int = -1

    def presence(self, as_seen: bool = False) -> Presence:
        """In view from first to last; for good while it may go on, unless only what was seen counts."""
        return Presence(self.camid, self.first_s, math.inf if self.open and not as_seen else self.last_s)


class IdentityBook:
    """All open identities. Numbers rise by one and are never used again.

    A table with a row for each identity, used again once it is closed. Columns (N,) are public, to be read only, after
    `rows` was asked for the rows: global_id; first_s, last_s; entry_zone of the first tracklet; exit_zone, exit_s of
    the last one that has been forgotten; live_slot of the tracklet that was seen last, if it may go on, else -1, and
    then left_zone, where that one went out of view; in_view, whether any tracklet may go on.

    Tracklets are kept for the identities that were seen of late. What has to be done as time passes waits in heaps, so
    that it costs as much as there is to do, however many identities there are. Their times may be out of date, always
    too early: then an entry is put back with the true one.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self._row_of = NumberTable(1)  # by global_id
        self._free: list[int] = []
        self._num_rows = 0  # rows from here on were never used
        self._members: dict[int, list[Member]] = {}  # by global_id
        self._touched: set[int] = set()  # ids of which the last three columns are out of date
        self._num_joined = 0
        self._unseen: list[tuple[float, int]] = []  # last_s, global_id: one of each identity
        self._to_prune: list[tuple[float, int, int, Member]] = []  # last_s, number, global_id: one of each member
        self.global_id: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self.first_s: Float64 = np.zeros(_FIRST_ROWS)
        self.last_s: Float64 = np.zeros(_FIRST_ROWS)
        self.entry_zone: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self.exit_zone: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self.exit_s: Float64 = np.zeros(_FIRST_ROWS)
        self.live_slot: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self.left_zone: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self.in_view: BoolMask = np.zeros(_FIRST_ROWS, np.bool_)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, global_id: int) -> bool:
        return self.row(global_id) >= 0

    def members(self, global_id: int) -> Sequence[Member]:
        """Its tracklets, in the order in which they joined, but for those that have been forgotten."""
        return self._members.get(global_id, ())

    def rows(self, global_ids: Sequence[int] | Int64) -> Int64:
        """(N,) the row of each identity, -1 where it is not open; all columns are right from then on."""
        for gid in sorted(self._touched):
            row = self.row(gid)
            if row >= 0:
                self._sum_up(row, self._members.get(gid, ()))
        self._touched.clear()
        return self._row_of.of_all(np.asarray(global_ids, np.int64))[:, 0]

    def row(self, global_id: int) -> int:
        """Where `first_s` and `last_s` of an identity are, -1 where it is not open."""
        return int(self._row_of.get(global_id)[0])

    def touch(self, global_id: int) -> None:
        """A tracklet of this identity has changed."""
        self._touched.add(global_id)

    def see(self, global_id: int, member: Member, time_s: float) -> None:
        """A tracklet of an identity is in view."""
        member.last_s = time_s
        row = self.row(global_id)
        if time_s > self.last_s[row]:
            self.last_s[row] = time_s
        if self.live_slot[row] != member.slot:
            self._touched.add(global_id)

    def new_number(self) -> int:
        """A number that no identity has had."""
        self._next_id += 1
        return self._next_id - 1

    def found(self, member: Member) -> int:
        """A new identity with its first tracklet -> its number."""
        global_id, row = self.new_number(), self._open()
        self._row_of.put(global_id, 0, row)
        self.global_id[row], self.first_s[row], self.last_s[row] = global_id, member.first_s, member.last_s
        self.entry_zone[row], self.exit_zone[row], self.exit_s[row] = member.entry_zone, -1, -math.inf
        self._members[global_id] = [member]
        self._touched.add(global_id)
        heapq.heappush(self._unseen, (member.last_s, global_id))
        self._expect_end(member, global_id)
        return global_id

    def join(self, global_id: int, member: Member) -> None:
        row = self.row(global_id)
        self._members.setdefault(global_id, []).append(member)
        self._touched.add(global_id)
        self._expect_end(member, global_id)
        if member.first_s < self.first_s[row]:
            self.entry_zone[row], self.first_s[row] = member.entry_zone, member.first_s
        self.last_s[row] = max(self.last_s[row], member.last_s)

    def merge(self, kept_id: int, gone_id: int) -> None:
        kept, gone = self.row(kept_id), self.row(gone_id)
        self._row_of.drop(gone_id)
        for member in self._members.pop(gone_id, ()):
            self.join(kept_id, member)
        if self.first_s[gone] < self.first_s[kept]:
            self.entry_zone[kept] = self.entry_zone[gone]
        if self.exit_s[gone] > self.exit_s[kept]:
            self.exit_zone[kept], self.exit_s[kept] = self.exit_zone[gone], self.exit_s[gone]
        self.first_s[kept] = min(self.first_s[kept], self.first_s[gone])
        self.last_s[kept] = max(self.last_s[kept], self.last_s[gone])
        self._touched.add(kept_id)
        self._give_up(gone)

    def close(self, global_id: int) -> tuple[list[Member], float]:
        """-> the tracklets that are remembered, when the identity was last seen."""
        row = self.row(global_id)
        self._row_of.drop(global_id)
        self._give_up(row)
        return self._members.pop(global_id, []), float(self.last_s[row])

    def prune(self, before_s: float) -> None:
        """Forget tracklets that ended before `before_s`; nothing that is still to be decided can meet them."""
        over: dict[int, Member] = {}
        while self._to_prune and self._to_prune[0][0] < before_s:
            _, number, global_id, member = heapq.heappop(self._to_prune)
            members = self._members.get(global_id, ())
            if len(members) == 1 and members[0] is member and not member.open and member.last_s < before_s:
                over[global_id] = member
                del self._members[global_id]
                continue
            if not any(m is member for m in members):
                continue
            if member.open or member.last_s >= before_s:
                heapq.heappush(self._to_prune, (max(member.last_s, before_s), number, global_id, member))
                continue
            row = self.row(global_id)
            if member.last_s > self.exit_s[row]:
                self.exit_zone[row], self.exit_s[row] = member.exit_zone, member.last_s
            self._touched.add(global_id)
            self._members[global_id] = [m for m in members if m is not member]
        if over:
            self._forget_all(over)

    def _forget_all(self, over: Mapping[int, Member]) -> None:
        """These identities have lost their last tracklets, by global_id."""
        rows = self._row_of.of_all(np.array(list(over), np.int64))[:, 0]
        last_s = np.array([member.last_s for member in over.values()])
        zone = np.array([member.exit_zone for member in over.values()], np.int64)
        latest = last_s > self.exit_s[rows]
        self.exit_zone[rows[latest]], self.exit_s[rows[latest]] = zone[latest], last_s[latest]
        self.in_view[rows], self.live_slot[rows], self.left_zone[rows] = False, -1, self.exit_zone[rows]

    def unseen_since(self, before_s: float, limit: int | None = None) -> list[int]:
        """Ids that nobody in view wears and that were last seen before `before_s`, the longest unseen first.

        limit: at most so many; to ask for a few costs little.
        """
        found: list[tuple[float, int]] = []
        in_view: list[tuple[float, int]] = []
        while self._unseen and self._unseen[0][0] < before_s and (limit is None or len(found) < limit):
            last_s, global_id = heapq.heappop(self._unseen)
            row = self.row(global_id)
            if row < 0:
                continue
            if self.last_s[row] > last_s:
                heapq.heappush(self._unseen, (float(self.last_s[row]), global_id))
            else:
                open_now = any(member.open for member in self._members.get(global_id, ()))
                (in_view if open_now else found).append((last_s, global_id))
        for entry in (*found, *in_view):
            heapq.heappush(self._unseen, entry)
        return [global_id for _, global_id in found]

    def _sum_up(self, row: int, members: Sequence[Member]) -> None:
        last = max(members, key=lambda m: m.last_s, default=None)
        self.in_view[row] = any(m.open for m in members)
        self.live_slot[row] = -1
        if last is None or last.last_s < self.exit_s[row]:
            self.left_zone[row] = self.exit_zone[row]
        elif last.open and last.slot >= 0:
            self.live_slot[row] = last.slot
        else:
            self.left_zone[row] = last.exit_zone

    def _expect_end(self, member: Member, global_id: int) -> None:
        self._num_joined += 1
        heapq.heappush(self._to_prune, (member.last_s, self._num_joined, global_id, member))

    def _open(self) -> int:
        if self._free:
            return self._free.pop()
        size = len(self.first_s)
        if self._num_rows == size:
            for name in _COLUMNS:
                grow(getattr(self, name), size + max(min(size, 4096), size // 16))
        self._num_rows += 1
        return self._num_rows - 1

    def _give_up(self, row: int) -> None:
        self.global_id[row], self.live_slot[row] = 0, -1
        self._free.append(row)
