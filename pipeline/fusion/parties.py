"""What is to be compared with the identities, and what came out of it: tables, a row each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pipeline.fusion.affinity import posterior
from pipeline.fusion.identities import Member
from pipeline.types import BoolMask, Float32, Float64, Int64

_TOLD = ("similarity", "ground_m", "gap_s", "appearance", "travel", "motion", "floor")


@dataclass(frozen=True, slots=True, eq=False)
class Parties:
    """Undecided tracklets, or identities that may be other ones (R,)."""

    first_s: Float64
    last_s: Float64
    entry_zone: Int64
    exit_zone: Int64
    members: tuple[tuple[Member, ...], ...]  # the tracklets of each
    slot: Int64  # (S,) those of them that are in the store
    slot_owner: Int64  # (S,) their party, ascending
    vector: Float32  # (E, D) exemplars
    camid: Int64  # (E,)
    owner: Int64  # (E,) their party, ascending
    item: Int64  # (I,) their tracklets in `Reranking`, if that is on
    item_owner: Int64  # (I,) their party, ascending

    def __len__(self) -> int:
        return len(self.first_s)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The evidence of single comparisons (P,). Where nothing is known of it a number is NaN."""

    log_odds: Float64  # all evidence together, -inf where forbidden
    pending: BoolMask  # forbidden only as long as a tracklet that is out of view may come back
    similarity: Float64
    ground_m: Float64
    gap_s: Float64
    appearance: Float64  # log-odds of the parts of the evidence
    travel: Float64
    motion: Float64
    floor: Float64
    across: Float64  # cosine of sightings by different cameras alone
    across_mixed: Float64  # the same of the cosine mixed with k-reciprocal similarity
    left_at: Int64  # zone where the earlier one of the two left, -1: unknown, or they were in view at once


class Scores:
    """Parties (R) against identities (C), as far as they were compared."""

    def __init__(self, num_parties: int, global_ids: Int64, at: Int64, pairs: Pairs) -> None:
        """global_ids (C,) ascending; at (R, C): the place of a comparison in `pairs`, -1 where there is none."""
        self.global_ids = global_ids
        self.log_odds: Float64 = np.full((num_parties, len(global_ids)), -np.inf)
        self.pending: BoolMask = np.zeros(self.log_odds.shape, np.bool_)
        self._at = at
        self._pairs = pairs
        self._write(at)

    def compared(self) -> BoolMask:
        """(R, C)"""
        return self._at >= 0

    def told(self, row: int, names: Sequence[str]) -> list[Any]:
        """What came out of the comparisons of a party (N,): columns of `Pairs`, in the order of the identities."""
        places = self._at[row]
        places = places[places >= 0]
        return [getattr(self._pairs, name)[places] for name in names]

    def evidence(self, row: int, col: int) -> dict[str, Any]:
        """What an event says of one comparison."""
        place = self._at[row, col]
        return {name: float(getattr(self._pairs, name)[place]) for name in _TOLD}

    def ranking(self, row: int, col: int) -> tuple[float, int, float]:
        """-> posterior of a choice (-1: somebody new), runner-up (0: none), by how much log-odds it was better."""
        cols = (self.log_odds[row] > -np.inf).nonzero()[0]
        log_odds = self.log_odds[row, cols]
        chances, chance = posterior(log_odds)
        own = 0.0
        if col >= 0:
            place = int(cols.searchsorted(col))
            own, chance = float(log_odds[place]), float(chances[place])
            log_odds[place] = -np.inf
        if len(cols) == (col >= 0):
            return chance, 0, own if col >= 0 else math.nan
        second = int(log_odds.argmax())
        return chance, int(self.global_ids[cols[second]]), own - float(log_odds[second])

    def replace(self, newer: Scores) -> None:
        """Take over all comparisons with the identities of `newer`; those that are not here are the highest ids."""
        cols = np.searchsorted(self.global_ids, newer.global_ids)
        added = newer.global_ids[cols >= len(self.global_ids)]
        if len(added):
            self.global_ids = np.concatenate((self.global_ids, added))
            for name, nothing in (("log_odds", -np.inf), ("pending", False), ("_at", -1)):
                old = getattr(self, name)
                more = np.full((len(old), len(added)), nothing, old.dtype)
                setattr(self, name, np.concatenate((old, more), axis=1))
            cols = np.searchsorted(self.global_ids, newer.global_ids)
        num_old = len(self._pairs.log_odds)
        self._pairs = Pairs(
            **{
                column.name: np.concatenate((getattr(self._pairs, column.name), getattr(newer._pairs, column.name)))
                for column in fields(Pairs)
            }
        )
        self._at[:, cols] = np.where(newer._at >= 0, newer._at + num_old, -1)
        self.log_odds[:, cols], self.pending[:, cols] = newer.log_odds, newer.pending

    def _write(self, at: Int64) -> None:
        flat = at.ravel()
        known = np.flatnonzero(flat >= 0)
        places = flat[known]
        self.log_odds.reshape(-1)[known] = self._pairs.log_odds[places]
        self.pending.reshape(-1)[known] = self._pairs.pending[places]
