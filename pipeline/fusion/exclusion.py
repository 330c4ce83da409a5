"""Who can not be one person, by when and where they were seen and how fast people walk: `constraints` at work."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.identities import Member
from pipeline.fusion.parties import Parties
from pipeline.fusion.travel import Stays
from pipeline.types import BoolMask, Float64, Int64


class Exclusion:
    """Knows which cameras look at one place; reads the state of the others."""

    def __init__(self, config: FusionConfig, overlaps: frozenset[tuple[int, int]], state: FuserState) -> None:
        self._config = config
        self._overlaps = overlaps
        self._book = state.book
        self._calibration = state.calibration
        self._travel = state.travel

    def follow(self, overlaps: frozenset[tuple[int, int]]) -> None:
        """There are more cameras, of which these pairs look at one place."""
        self._overlaps = overlaps

    def exclude(self, one: Member, other: Member) -> bool:
        """Whether nobody can be in these two tracklets at one time, each until it was last seen."""
        return cannot_be_one(
            (one.presence(as_seen=True),), (other.presence(as_seen=True),), self._overlaps, self._config.simultaneous_s
        )

    def different(self, parties: Parties) -> BoolMask:
        """(R, R) which undecided tracklets need not be compared: what was seen of two shows that they are two people.

        They were in two places at once, or were seen at one moment by cameras that do not overlap, where neither time
        nor place can speak for one person, and do not look so much alike that they could be linked.
        """
        num = len(parties)
        unlike = np.zeros((num, num), np.bool_)
        if len(parties.vector):
            odds = self._calibration.log_odds(parties.vector @ parties.vector.T, across=True)
            unlike[np.ix_(parties.owner, parties.owner)] = odds + self._config.return_log_odds < 0
        camid = [own[0].camid for own in parties.members]
        unlike &= np.maximum(parties.first_s[:, None], parties.first_s) <= np.minimum(
            parties.last_s[:, None], parties.last_s
        )
        different = unlike.copy()
        for one in range(num):
            for other in range(one):
                near = camid[one] == camid[other] or (camid[one], camid[other]) in self._overlaps
                if near or not unlike[one, other]:
                    clash = self._clash(_seen(parties.members[one]), _seen(parties.members[other]))
                    different[one, other] = different[other, one] = clash
        return different

    def forbid(
        self, parties: Parties, global_ids: Int64, rows: Int64, row: Int64, col: Int64, *, log_odds: Float64
    ) -> BoolMask:
        """Set the log-odds (P,) of what can not be to -inf -> (P,) what can not be for now."""
        book, pending = self._book, np.zeros(len(row), np.bool_)
        hopeful = log_odds > -self._config.floor_max_looks
        until_s = np.array([max(m.presence().last_s for m in own) if own else -math.inf for own in parties.members])
        at_once = (parties.first_s[row] <= book.last_s[rows[col]]) | book.in_view[rows[col]]
        at_once &= book.first_s[rows[col]] <= until_s[row]
        if not self._travel.has_least:
            hopeful &= at_once
        for pair in np.flatnonzero(hopeful).tolist():
            own, others = parties.members[row[pair]], self._book.members(int(global_ids[col[pair]]))
            seen = _seen(own), _seen(others)
            if self._too_fast(*seen):
                log_odds[pair] = -np.inf
            elif at_once[pair] and self._clash(_present(own), _present(others)):
                pending[pair] = not self._clash(*seen)
                if not pending[pair]:
                    log_odds[pair] = -np.inf
        return pending

    def _too_fast(self, one: tuple[Presence, ...], other: tuple[Presence, ...]) -> bool:
        """Whether somebody would have got from one camera to another sooner than anybody can."""
        if not self._travel.has_least or not one or not other:
            return False
        columns = [
            (np.array([stay.camid for stay in stays]), *np.array([(stay.first_s, stay.last_s) for stay in stays]).T)
            for stays in (one, other)
        ]
        rows: Stays = (columns[0][0][:, None], columns[0][1][:, None], columns[0][2][:, None])
        return bool(self._travel.too_fast(rows, (columns[1][0], columns[1][1], columns[1][2])).any())

    def _clash(self, one: tuple[Presence, ...], other: tuple[Presence, ...]) -> bool:
        return cannot_be_one(one, other, self._overlaps, self._config.simultaneous_s, self._config.handover_s)


def _seen(members: Sequence[Member]) -> tuple[Presence, ...]:
    return tuple(m.presence(as_seen=True) for m in members)


def _present(members: Sequence[Member]) -> tuple[Presence, ...]:
    return tuple(m.presence() for m in members)
