"""All evidence for and against 'these are one person', brought together from the stateful parts of the fuser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.fusion.affinity import return_log_odds
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import Identity, IdentityBook, Member
from pipeline.fusion.motion import HEADING_S, moved_log_odds, walked_log_odds
from pipeline.fusion.store import TrackletStore
from pipeline.fusion.travel import Stays, TravelModel
from pipeline.fusion.zones import Zones
from pipeline.types import BoolMask, Float32, Float64, Int64

_HOPELESS = -7.0  # log-odds that no travel time can make good


@dataclass(frozen=True, slots=True, eq=False)
class Party:
    """What is to be compared with the identities: an undecided tracklet, or an identity that may be another one."""

    slots: Int64
    presences: tuple[Presence, ...]
    seen: tuple[Presence, ...]  # the same, but open tracklets end where they were last seen
    vector: Float32  # (E, D) exemplars
    camid: Int64  # (E,)
    first_s: float
    last_s: float
    entry_zone: int
    exit_zone: int


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Parties (R) against identities (C); all arrays (R, C). Where nothing is known of it a number is NaN."""

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
    left_at: Int64  # zone where the earlier one of the two left, -1: unknown, or they were in view at once

    def evidence(self, row: int, col: int) -> dict[str, Any]:
        """What an event says of one comparison."""
        tables = {name: getattr(self, name) for name in _TOLD}
        return {name: float(table[row, col]) for name, table in tables.items()}


_TOLD = ("similarity", "ground_m", "gap_s", "appearance", "travel", "motion", "floor")


class Evidence:
    """Reads the state of the others; has none of its own."""

    def __init__(
        self,
        config: FusionConfig,
        overlaps: frozenset[tuple[int, int]],
        *,
        store: TrackletStore,
        gallery: Gallery,
        book: IdentityBook,
        floor: FloorAgreement,
        calibration: SimilarityCalibration,
        zones: Zones,
        travel: TravelModel,
    ) -> None:
        self._config = config
        self._overlaps = overlaps
        self._store = store
        self._gallery = gallery
        self._book = book
        self._floor = floor
        self._calibration = calibration
        self._zones = zones
        self._travel = travel

    def tracklet(self, slot: int) -> Party:
        """The party of one undecided tracklet."""
        store = self._store
        camid, first_s, last_s = int(store.camid[slot]), float(store.first_s[slot]), float(store.last_s[slot])
        seen = Presence(camid, first_s, last_s)
        vector = store.vectors(np.array([slot])) if store.num_clips[slot] else np.zeros((0, store.dim), np.float32)
        return Party(
            slots=np.array([slot], np.int64),
            presences=(seen if store.ended[slot] else Presence(camid, first_s, float("inf")),),
            seen=(seen,),
            vector=vector,
            camid=np.full(len(vector), camid, np.int64),
            first_s=first_s,
            last_s=last_s,
            entry_zone=self.zone(slot, entry=True),
            exit_zone=self.zone(slot, entry=False),
        )

    def identity(self, identity: Identity) -> Party:
        """The party of all tracklets of an identity."""
        vector, camid, _ = self._gallery.exemplars([identity.global_id])
        return Party(
            slots=np.array([m.slot for m in identity.members if m.slot >= 0], np.int64),
            presences=tuple(m.presence() for m in identity.members),
            seen=tuple(m.presence(as_seen=True) for m in identity.members),
            vector=vector,
            camid=camid,
            first_s=identity.first_s,
            last_s=identity.last_s,
            entry_zone=identity.entry_zone,
            exit_zone=int(self._exit_zones([identity])[0]),
        )

    def linked(self, similarity: float, probability: float) -> None:
        """A decision that teaches the calibration."""
        self._calibration.linked(similarity, probability)

    def apart(self, one: Party, other: Party) -> bool:
        """Whether what was seen of two parties shows that they are two people."""
        return self._clash(one.seen, other.seen)

    def exclude(self, one: Member, other: Member) -> bool:
        """Whether nobody can be in these two tracklets at one time, each until it was last seen."""
        return cannot_be_one(
            (one.presence(as_seen=True),), (other.presence(as_seen=True),), self._overlaps, self._config.simultaneous_s
        )

    def likeness(self, slot: int, global_id: int) -> float:
        """Cosine of a tracklet of the store and the mean of an identity's exemplars, NaN where there are none."""
        vector, _, _ = self._gallery.exemplars([global_id])
        return float((vector @ self._store.vectors(np.array([slot]))[0]).mean()) if len(vector) else float("nan")

    def zone(self, slot: int, *, entry: bool) -> int:
        """Where a tracklet of the store came in, or where it was last seen."""
        box = (self._store.entry_xyxy if entry else self._store.exit_xyxy)[slot]
        return int(self._zones.zone(self._store.camid[slot : slot + 1], box[None])[0])

    def _exit_zones(self, identities: Sequence[Identity]) -> Int64:
        """(C,) where each identity was last seen."""
        zones, live = np.full(len(identities), -1, np.int64), []
        for place, identity in enumerate(identities):
            last = identity.latest()
            if last is None:
                zones[place] = identity.exit_zone
            elif last.open and last.slot >= 0:
                live.append((place, last.slot))
            else:
                zones[place] = last.exit_zone
        if live:
            places, slots = np.array(live, np.int64).T
            zones[places] = self._zones.zone(self._store.camid[slots], self._store.exit_xyxy[slots])
        return zones

    def candidates(self, parties: Sequence[Party]) -> list[int]:
        """Identities worth a look, ascending: similar ones, and all that wear a tracklet of the store."""
        vectors = np.concatenate([party.vector for party in parties]) if parties else self._store.vector_sum[:0]
        near, _ = self._gallery.search(vectors, self._config.num_neighbours)
        present = self._store.global_id[self._store.slots()]
        found = np.unique(np.concatenate((near.ravel(), present)))
        return [gid for gid in found.tolist() if gid > 0 and gid in self._book]

    def score(self, parties: Sequence[Party], global_ids: Sequence[int]) -> Scores:
        """Compare every party with every identity; an identity is not compared with itself by the caller."""
        shape = len(parties), len(global_ids)
        identities = [self._book[gid] for gid in global_ids]
        looks, similarity, across = self._appearance(parties, global_ids)
        floor, ground_m = self._on_floor(parties, identities)
        gap_s = self._gaps(parties, identities)
        config = self._config
        prior = return_log_odds(gap_s, config.return_log_odds, config.return_s, config.return_decay)
        motion = self._motion(parties, identities)
        log_odds = prior + looks + floor + motion
        travel, left_at = self._travelled(parties, identities, gap_s, log_odds > _HOPELESS)
        log_odds += travel
        pending = np.zeros(shape, np.bool_)
        for row, party in enumerate(parties):
            for col in np.flatnonzero(log_odds[row] > -config.floor_max_looks):
                members = identities[col].members
                seen = tuple(m.presence(as_seen=True) for m in members)
                if self._too_fast(party.seen, seen):
                    log_odds[row, col] = -np.inf
                elif self._clash(party.presences, tuple(m.presence() for m in members)):
                    pending[row, col] = not self._clash(party.seen, seen)
                    if not pending[row, col]:
                        log_odds[row, col] = -np.inf
        return Scores(log_odds, pending, similarity, ground_m, gap_s, looks, travel, motion, floor, across, left_at)

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

    def _appearance(self, parties: Sequence[Party], global_ids: Sequence[int]) -> tuple[Float64, Float64, Float64]:
        """-> log-odds (R, C), the mean over all pairs of exemplars; cosine (R, C), and that of different cameras alone.

        0 and NaN where there are none.
        """
        vector, camid, owner = self._gallery.exemplars(global_ids)
        mixed = self._calibration.coherent(self._gallery.coherence(global_ids))
        log_odds = np.zeros((len(parties), len(global_ids)))
        similarity, between = np.full(log_odds.shape, np.nan), np.full(log_odds.shape, np.nan)
        known, places, count = np.unique(owner, return_index=True, return_counts=True)
        for row, party in enumerate(parties):
            if not len(party.vector) or not len(vector):
                continue
            cosine = (party.vector @ vector.T) * mixed
            within = self._calibration.log_odds(cosine, across=False)
            across = self._calibration.log_odds(cosine, across=True)
            here = party.camid[:, None] == camid[None]
            odds = np.where(here, within, across).mean(axis=0)
            pairs = np.add.reduceat((~here).sum(axis=0), places)
            total = np.add.reduceat(np.where(here, 0.0, cosine).sum(axis=0), places)
            between[row, known[pairs > 0]] = total[pairs > 0] / pairs[pairs > 0]
            log_odds[row, known] = np.add.reduceat(odds, places) / count
            similarity[row, known] = np.add.reduceat(cosine.mean(axis=0), places) / count
        return log_odds, similarity, between

    def _on_floor(self, parties: Sequence[Party], identities: Sequence[Identity]) -> tuple[Float64, Float64]:
        """-> log-odds (R, C), 0 where never seen together; mean distance (R, C) in metres, NaN there."""
        log_odds = np.zeros((len(parties), len(identities)))
        ground_m = np.full(log_odds.shape, np.nan)
        slots, owner = _member_slots(identities)
        if not self._floor.active or not len(slots):
            return log_odds, ground_m
        known, places = np.unique(owner, return_index=True)
        for row, party in enumerate(parties):
            tables = self._floor.pairs(party.slots, slots)
            odds_s, distance_s, seen_s = (np.add.reduceat(table.sum(axis=0), places) for table in tables)
            log_odds[row, known] = self._floor.log_odds(odds_s, seen_s)
            met = seen_s > 0
            ground_m[row, known[met]] = distance_s[met] / seen_s[met]
        return log_odds, ground_m

    def _gaps(self, parties: Sequence[Party], identities: Sequence[Identity]) -> Float64:
        """(R, C) seconds between the two, 0 where one was in view with or within the time of the other."""
        first_s = np.array([identity.first_s for identity in identities])
        last_s = np.array([identity.last_s for identity in identities])
        gaps = np.zeros((len(parties), len(identities)))
        for row, party in enumerate(parties):
            gaps[row] = np.maximum(np.maximum(party.first_s - last_s, first_s - party.last_s), 0.0)
        return gaps

    def _travelled(
        self, parties: Sequence[Party], identities: Sequence[Identity], gap_s: Float64, likely: BoolMask
    ) -> tuple[Float64, Int64]:
        """-> (R, C) log-odds of time and way from where one left to where the other came in; zone of leaving."""
        out_zone = self._exit_zones(identities)
        in_zone = np.array([identity.entry_zone for identity in identities], np.int64)
        last_s = np.array([identity.last_s for identity in identities])
        first_s = np.array([party.first_s for party in parties])[:, None]
        entry = np.array([party.entry_zone for party in parties], np.int64)[:, None]
        leave = np.array([party.exit_zone for party in parties], np.int64)[:, None]
        later = last_s < first_s  # the party is the later one of the two
        start, goal = np.where(later, out_zone, leave), np.where(later, entry, in_zone)
        known = (gap_s > 0) & (start >= 0) & (goal >= 0)
        log_odds, left_at = np.zeros(gap_s.shape), np.where(known, start, -1)
        known &= likely & (self._config.travel != "off")
        log_odds[known] = self._travel.log_odds(start[known], goal[known], gap_s[known])
        return log_odds, left_at

    def _motion(self, parties: Sequence[Party], identities: Sequence[Identity]) -> Float64:
        """(R, C) log-odds: the party begins near where a tracklet of the identity was lost shortly before."""
        log_odds = np.zeros((len(parties), len(identities)))
        slots, owner = _member_slots(identities)
        store = self._store
        order = np.argsort(store.last_s[slots], kind="stable")
        slots, owner = slots[order], owner[order]
        for row, party in enumerate(parties):
            if not len(party.slots):
                continue
            start = int(party.slots[np.argmin(store.first_s[party.slots])])
            gap_s = store.first_s[start] - store.last_s[slots]
            recent = (gap_s > 0) & (gap_s <= self._config.motion_s)
            if store.first_s[start] > party.first_s or not recent.any():
                continue
            here = recent & (store.camid[slots] == store.camid[start])
            there = recent & ~here & np.isfinite(store.ground_xy[slots, 0] + store.entry_ground_xy[start, 0])
            # The later tracklet of an identity speaks last.
            begin = np.full(len(slots), start)
            log_odds[row, owner[there]] = walked_log_odds(store, begin[there], slots[there], gap_s[there], self._config)
            known = store.last_s[start] - store.first_s[start] >= HEADING_S
            start_px = np.where(known, store.velocity_px[begin[here]], np.nan)
            log_odds[row, owner[here]] = moved_log_odds(
                store, begin[here], slots[here], gap_s[here], self._config, start_px=start_px
            )
        return log_odds


def _member_slots(identities: Sequence[Identity]) -> tuple[Int64, Int64]:
    """-> slots (M,) of all tracklets that are still in the store, owner (M,): the place of their identity."""
    pairs = [(m.slot, place) for place, identity in enumerate(identities) for m in identity.members if m.slot >= 0]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
