"""All evidence for and against 'these are one person', brought together from the stateful parts of the fuser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fusion.affinity import motion_log_odds, return_log_odds, walk_log_odds
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import Identity, IdentityBook
from pipeline.fusion.store import TrackletStore
from pipeline.geometry.boxes import foot_point
from pipeline.types import BoolMask, Float32, Float64, Int64

_LONGEST_GLIDE_S = 1.0  # a lost person is taken to walk on for so long, then to stand
_WALK_SPEED_SIGMA = 0.8  # m/s per axis, of a person whose way was not seen


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


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Parties (R) against identities (C); all arrays (R, C). Where nothing is known of it a number is NaN."""

    log_odds: Float64  # all evidence together, -inf where forbidden
    pending: BoolMask  # forbidden only as long as a tracklet that is out of view may come back
    similarity: Float64
    ground_m: Float64
    gap_s: Float64


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
    ) -> None:
        self._config = config
        self._overlaps = overlaps
        self._store = store
        self._gallery = gallery
        self._book = book
        self._floor = floor
        self._calibration = calibration

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
        )

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
        looks, similarity = self._appearance(parties, global_ids)
        floor, ground_m = self._on_floor(parties, identities)
        gap_s = self._gaps(parties, identities)
        config = self._config
        prior = return_log_odds(gap_s, config.return_log_odds, config.return_s, config.return_decay)
        log_odds = prior + looks + floor + self._motion(parties, identities)
        pending = np.zeros(shape, np.bool_)
        for row, party in enumerate(parties):
            for col in np.flatnonzero(log_odds[row] > -config.floor_max_looks):
                members = identities[col].members
                if self._clash(party.presences, tuple(m.presence() for m in members)):
                    pending[row, col] = not self._clash(party.seen, tuple(m.presence(as_seen=True) for m in members))
                    if not pending[row, col]:
                        log_odds[row, col] = -np.inf
        return Scores(log_odds, pending, similarity, ground_m, gap_s)

    def _clash(self, one: tuple[Presence, ...], other: tuple[Presence, ...]) -> bool:
        return cannot_be_one(one, other, self._overlaps, self._config.simultaneous_s, self._config.handover_s)

    def _appearance(self, parties: Sequence[Party], global_ids: Sequence[int]) -> tuple[Float64, Float64]:
        """-> log-odds (R, C), the mean over all pairs of exemplars; cosine (R, C). 0 and NaN where there are none."""
        vector, camid, owner = self._gallery.exemplars(global_ids)
        log_odds = np.zeros((len(parties), len(global_ids)))
        similarity = np.full(log_odds.shape, np.nan)
        known, places, count = np.unique(owner, return_index=True, return_counts=True)
        for row, party in enumerate(parties):
            if not len(party.vector) or not len(vector):
                continue
            cosine = party.vector @ vector.T
            within = self._calibration.log_odds(cosine, across=False)
            across = self._calibration.log_odds(cosine, across=True)
            odds = np.where(party.camid[:, None] == camid[None], within, across).mean(axis=0)
            log_odds[row, known] = np.add.reduceat(odds, places) / count
            similarity[row, known] = np.add.reduceat(cosine.mean(axis=0), places) / count
        return log_odds, similarity

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
            log_odds[row, owner[there]] = self._walked(start, slots[there], gap_s[there])
            log_odds[row, owner[here]] = self._moved(start, slots[here], gap_s[here])
        return log_odds

    def _moved(self, start: int, slots: Int64, gap_s: Float64) -> Float64:
        store, config = self._store, self._config
        box, lost = store.entry_xyxy[start], store.exit_xyxy[slots]
        height = np.maximum(lost[:, 3] - lost[:, 1], 1.0)
        glide = store.velocity_px[slots] * np.minimum(gap_s, _LONGEST_GLIDE_S)[:, None]
        apart = foot_point(box[None]) - foot_point(lost) - glide
        offset = np.hypot(apart[:, 0], apart[:, 1]) / height
        sigma = config.motion_sigma + config.motion_sigma_per_s * gap_s
        return motion_log_odds(offset, sigma, np.log(max(box[3] - box[1], 1.0) / height))

    def _walked(self, start: int, slots: Int64, gap_s: Float64) -> Float64:
        store, config = self._store, self._config
        glide = store.ground_velocity[slots] * np.minimum(gap_s, _LONGEST_GLIDE_S)[:, None]
        apart = store.entry_ground_xy[start][None] - store.ground_xy[slots] - glide
        variance = store.ground_sigma_m[slots] ** 2 + 2 * config.floor_sigma_m**2 + (_WALK_SPEED_SIGMA * gap_s) ** 2
        return walk_log_odds(np.hypot(apart[:, 0], apart[:, 1]), np.sqrt(variance), config.floor_area_m2)


def _member_slots(identities: Sequence[Identity]) -> tuple[Int64, Int64]:
    """-> slots (M,) of all tracklets that are still in the store, owner (M,): the place of their identity."""
    pairs = [(m.slot, place) for place, identity in enumerate(identities) for m in identity.members if m.slot >= 0]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
