"""Whom it is worth comparing somebody with: who looks alike, and who is about."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.parties import Parties
from pipeline.types import BoolMask, Int64

_FEW = 64  # identities with a tracklet in the store: up to so many all of them are candidates
_AGAIN = 1.5  # look-alikes are looked up again when a tracklet has so many times as many clips
_WAYS_S = 30.0  # so often it is looked up between which cameras people walk
_WAY = 0.9  # transits that make a way


class Candidates:
    """For every tracklet of the store the identities that resembled it most when that was last looked up.

    Beside them candidates are the identities that wear a tracklet of the store: all of them where they are few, else
    those in the same camera, in one that overlaps with it or that people come from or go to, or on a known floor.
    """

    def __init__(
        self,
        num_neighbours: int,
        overlaps: frozenset[tuple[int, int]],
        num_cameras: int,
        state: FuserState,
    ) -> None:
        self._store = state.store
        self._gallery = state.gallery
        self._book = state.book
        self._travel = state.travel
        self._overlapping: BoolMask = np.eye(num_cameras, dtype=np.bool_)
        for a, b in overlaps:
            self._overlapping[a, b] = self._overlapping[b, a] = True
        self._linked: BoolMask = self._overlapping.copy()
        self._linked_s = -math.inf
        self._near: Int64 = np.zeros((self._store.num_slots, num_neighbours), np.int64)  # global ids, 0: none
        self._num_clips: Int64 = np.zeros(self._store.num_slots, np.int64)  # of a slot when it was looked up

    def follow(self, overlaps: frozenset[tuple[int, int]], num_cameras: int) -> None:
        """There are more cameras, and these pairs look at one place."""
        self._overlapping = np.eye(num_cameras, dtype=np.bool_)
        for a, b in overlaps:
            self._overlapping[a, b] = self._overlapping[b, a] = True
        self._linked = self._ways()

    def look_up(self, slots: Int64, now_s: float) -> None:
        """Look for those who resemble the tracklets (N,), where these have got enough clips since the last time."""
        if now_s >= self._linked_s + _WAYS_S:
            self._linked_s = now_s
            self._linked = self._ways()
        self._fit()
        num_clips = self._store.num_clips[slots]
        slots = slots[num_clips > self._num_clips[slots] * _AGAIN]
        if not len(slots):
            return
        near, _ = self._gallery.search(self._store.vectors(slots), self._near.shape[1])
        self._near[slots] = 0
        self._near[slots, : near.shape[1]] = near
        self._num_clips[slots] = self._store.num_clips[slots]

    def forget(self, slot: int) -> None:
        """A slot of the store shows somebody else from now on."""
        if slot < len(self._near):
            self._near[slot] = self._num_clips[slot] = 0

    def of(self, parties: Parties) -> tuple[Int64, BoolMask]:
        """-> ids of open identities (C,) ascending, who is a candidate for whom (R, C)."""
        near = self._near[parties.slot]
        row, _ = np.nonzero(near)
        near, row = near[near > 0], parties.slot_owner[row]
        slots = self._store.slots()
        slots = slots[self._store.global_id[slots] > 0]
        worn = self._store.global_id[slots]
        about = self._about(parties, slots)
        ids = np.unique(np.concatenate((near, worn[about.any(axis=0)])))
        ids = ids[self._book.rows(ids) >= 0]
        return ids, self._table(len(parties), ids, (row, near), (about, worn))

    def again(self, parties: Parties, global_ids: Sequence[int], before: BoolMask) -> BoolMask:
        """(R, C) who is a candidate now that these identities (C,) have got a tracklet more; before: who was (R, C)."""
        ids = np.array(global_ids, np.int64)
        slots = self._store.slots()
        slots = slots[np.isin(self._store.global_id[slots], ids)]
        about = self._about(parties, slots)
        nobody = np.zeros(0, np.int64), np.zeros(0, np.int64)
        return before | self._table(len(parties), ids, nobody, (about, self._store.global_id[slots]))

    @staticmethod
    def _table(num_parties: int, ids: Int64, near: tuple[Int64, Int64], about: tuple[BoolMask, Int64]) -> BoolMask:
        """near: party and id (N,); about: (R, S) for identities (S,)."""
        table = np.zeros((num_parties, len(ids)), np.bool_)
        if not len(ids):
            return table
        for row, gid in (near, _pairs_of(*about)):
            col = np.minimum(np.searchsorted(ids, gid), len(ids) - 1)
            known = ids[col] == gid
            table[row[known], col[known]] = True
        return table

    def _about(self, parties: Parties, slots: Int64) -> BoolMask:
        """(R, S) whether time and place suggest the tracklets `slots` (S,)."""
        store = self._store
        worn = store.global_id[store.slots()]
        if len(slots) <= _FEW or len(np.unique(worn[worn > 0])) <= _FEW:
            return np.ones((len(parties), len(slots)), np.bool_)
        reach = np.zeros((len(parties), len(self._linked)), np.bool_)
        for row, members in enumerate(parties.members):
            for camid in {m.camid for m in members if m.slot >= 0}:
                reach[row] |= self._linked[camid]
        about = reach[:, store.camid[slots]]
        if np.isfinite(store.ground_xy[slots, 0]).any():
            stands = np.zeros(len(parties), np.bool_)
            stands[parties.slot_owner[np.isfinite(store.ground_xy[parties.slot, 0])]] = True
            about |= stands[:, None] & np.isfinite(store.ground_xy[slots, 0])
        return about

    def _ways(self) -> BoolMask:
        """(C, C) cameras that overlap, or between which somebody is known to have walked, either way."""
        linked = self._overlapping.copy()
        for start, goal, count in self._travel.cameras.pairs():
            if count.sum() >= _WAY:
                linked[start, goal] = linked[goal, start] = True
        return linked

    def _fit(self) -> None:
        old, size = len(self._near), self._store.num_slots
        if old < size:
            self._near = np.concatenate((self._near, np.zeros((size - old, self._near.shape[1]), np.int64)))
            self._num_clips = np.concatenate((self._num_clips, np.zeros(size - old, np.int64)))


def _pairs_of(table: BoolMask, global_ids: Int64) -> tuple[Int64, Int64]:
    row, col = np.nonzero(table)
    return row, global_ids[col]
