"""All evidence for and against 'these are one person', brought together from the stateful parts of the fuser."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.fusion.affinity import return_log_odds
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import IdentityBook, Member
from pipeline.fusion.motion import HEADING_S, moved_log_odds, walked_log_odds
from pipeline.fusion.parties import Pairs, Parties, Scores
from pipeline.fusion.reranking import Reranking
from pipeline.fusion.store import TrackletStore
from pipeline.fusion.travel import Stays, TravelModel
from pipeline.fusion.zones import Zones
from pipeline.types import BoolMask, Float64, Int64

_HOPELESS = -7.0  # log-odds that no travel time can make good


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
        reranking: Reranking,
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
        self._reranking = reranking

    def follow(self, overlaps: frozenset[tuple[int, int]]) -> None:
        """There are more cameras, of which these pairs look at one place."""
        self._overlaps = overlaps

    def tracklets(self, slots: Int64) -> Parties:
        """The parties of undecided tracklets (R,)."""
        store = self._store
        entry, leave = self.zones(slots, entry=True), self.zones(slots, entry=False)
        members = tuple(
            (Member(*row),)
            for row in zip(
                store.camid[slots].tolist(),
                store.track_id[slots].tolist(),
                store.first_s[slots].tolist(),
                store.last_s[slots].tolist(),
                slots.tolist(),
                (~store.ended[slots]).tolist(),
                entry.tolist(),
                leave.tolist(),
                strict=True,
            )
        )
        seen = np.flatnonzero(store.num_clips[slots] > 0)
        item, item_owner = self._reranking.of_slots(slots)
        return Parties(
            first_s=store.first_s[slots],
            last_s=store.last_s[slots],
            entry_zone=entry,
            exit_zone=leave,
            members=members,
            slot=slots,
            slot_owner=np.arange(len(slots)),
            vector=store.vectors(slots[seen]),
            camid=store.camid[slots[seen]],
            owner=seen,
            item=item,
            item_owner=item_owner,
        )

    def identities(self, global_ids: Sequence[int]) -> Parties:
        """The parties of all tracklets of each identity (R,); all are open."""
        book = self._book
        rows = book.rows(global_ids)
        vector, camid, owner = self._gallery.exemplars(global_ids)
        members = tuple(tuple(book.members(gid)) for gid in global_ids)
        held = [(m.slot, row) for row, own in enumerate(members) for m in own if m.slot >= 0]
        slot, slot_owner = np.array(held, np.int64).reshape(-1, 2).T
        item, item_owner = self._reranking.of_identities(global_ids)
        return Parties(
            first_s=book.first_s[rows],
            last_s=book.last_s[rows],
            entry_zone=book.entry_zone[rows],
            exit_zone=self._exit_zones(rows),
            members=members,
            slot=slot,
            slot_owner=slot_owner,
            vector=vector,
            camid=camid,
            owner=owner,
            item=item,
            item_owner=item_owner,
        )

    def linked(self, similarity: float, mixed: float, probability: float) -> None:
        """A decision that teaches the calibration of cosines, and of those mixed with k-reciprocal similarity."""
        self._calibration.linked(similarity, probability)
        self._reranking.calibration.linked(mixed, probability)

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

    def exclude(self, one: Member, other: Member) -> bool:
        """Whether nobody can be in these two tracklets at one time, each until it was last seen."""
        return cannot_be_one(
            (one.presence(as_seen=True),), (other.presence(as_seen=True),), self._overlaps, self._config.simultaneous_s
        )

    def likeness(self, slot: int, global_id: int) -> float:
        """Cosine of a tracklet of the store and the mean of an identity's exemplars, NaN where there are none."""
        vector, _, _ = self._gallery.exemplars([global_id])
        return float((vector @ self._store.vectors(np.array([slot]))[0]).mean()) if len(vector) else float("nan")

    def zones(self, slots: Int64, *, entry: bool) -> Int64:
        """(N,) where tracklets of the store came in, or where they were last seen."""
        box = (self._store.entry_xyxy if entry else self._store.exit_xyxy)[slots]
        return self._zones.zone(self._store.camid[slots], box)

    def compare(self, parties: Parties, global_ids: Int64, candidates: BoolMask) -> Scores:
        """Compare parties (R) with open identities (C) wherever one is a candidate (R, C); with itself nobody is."""
        row, col = np.nonzero(candidates)
        at = np.full(candidates.shape, -1, np.int64)
        at[row, col] = np.arange(len(row))
        rows = self._book.rows(global_ids)
        looks, similarity, across, mixed = self._appearance(parties, global_ids, row, col)
        held = self._held(global_ids)
        floor, ground_m = self._on_floor(parties, held, row, col, len(global_ids))
        gap_s = self._gaps(parties, rows[col], row)
        config = self._config
        prior = return_log_odds(gap_s, config.return_log_odds, config.return_s, config.return_decay)
        motion = self._motion(parties, held, at, len(row))
        log_odds = prior + looks + floor + motion
        travel, left_at = self._travelled(parties, rows, row, col, gap_s=gap_s, likely=log_odds > _HOPELESS)
        log_odds += travel
        pending = self._forbid(parties, global_ids, rows, row, col, log_odds=log_odds)
        told = similarity, ground_m, gap_s, looks, travel, motion, floor, across, mixed
        return Scores(len(parties), global_ids, at, Pairs(log_odds, pending, *told, left_at))

    def _forbid(
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

    def _appearance(
        self, parties: Parties, global_ids: Int64, row: Int64, col: Int64
    ) -> tuple[Float64, Float64, Float64, Float64]:
        """-> log-odds (P,), the mean over all pairs of exemplars; cosine (P,), and that of different cameras alone, as
        it is and mixed with k-reciprocal similarity.

        0 and NaN where there are none. Who mixes many people resembles everybody by the direction of an exemplar, and
        nobody by its clips: the cosine times the coherence is the mean cosine of those.
        """
        num_pairs = len(row)
        seen = self._gallery.likeness(parties.vector, parties.owner, (row, col), global_ids)
        pair, cosine = seen.pair, seen.cosine * self._calibration.coherent(seen.coherence)
        away = np.flatnonzero(parties.camid[seen.one] != seen.camid)
        odds = self._calibration.log_odds(cosine, across=False)
        odds[away] = self._calibration.log_odds(cosine[away], across=True)
        number = np.bincount(pair, minlength=num_pairs)
        apart = np.bincount(pair[away], minlength=num_pairs)
        across_mixed = np.full(num_pairs, np.nan)
        if self._reranking.active:
            items = self._reranking.of_identities(global_ids.tolist())
            tables = self._reranking.between((parties.item, parties.item_owner), items, (len(parties), len(global_ids)))
            here = np.ones(len(pair), np.bool_)
            here[away] = False
            similar = tuple(table[parties.owner[seen.one], col[pair]] for table in tables)
            mixed = self._reranked(odds, cosine, here, similar)
            across_mixed[apart > 0] = np.bincount(pair[away], mixed[away], num_pairs)[apart > 0] / apart[apart > 0]
        with np.errstate(invalid="ignore"):
            similarity = np.bincount(pair, cosine, num_pairs) / number
            across = np.bincount(pair[away], cosine[away], num_pairs) / apart
        return np.bincount(pair, odds, num_pairs) / np.maximum(number, 1), similarity, across, across_mixed

    def _reranked(self, odds: Float64, cosine: Float64, here: BoolMask, similar: tuple[Float64, ...]) -> Float64:
        """Make the log-odds (Q,) of pairs of exemplars those of mixed similarities -> these, NaN where not known.

        similar: k-reciprocal similarity (Q,) of the two in different cameras, and in one.
        """
        mixed = self._reranking.mix(cosine, np.where(here, similar[1], similar[0]))
        for across in (True, False):
            known = np.isfinite(mixed) & (here != across)
            odds[known] = self._reranking.calibration.log_odds(mixed[known], across=across)
        return mixed

    def _held(self, global_ids: Int64) -> tuple[Int64, Int64]:
        """-> slots (M,) of the tracklets of identities that are in the store, owner (M,) ascending: their identity."""
        store = self._store
        if not len(global_ids):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        slots = store.slots()
        worn = store.global_id[slots]
        owner = np.minimum(np.searchsorted(global_ids, worn), len(global_ids) - 1)
        known = global_ids[owner] == worn
        order = np.argsort(owner[known], kind="stable")
        return slots[known][order], owner[known][order]

    def _on_floor(
        self, parties: Parties, held: tuple[Int64, Int64], row: Int64, col: Int64, num_identities: int
    ) -> tuple[Float64, Float64]:
        """-> log-odds (P,), 0 where never seen together; mean distance (P,) in metres, NaN there."""
        slots, owner = held
        if not self._floor.active or not len(slots) or not len(parties.slot):
            return np.zeros(len(row)), np.full(len(row), np.nan)
        mine, starts = np.unique(parties.slot_owner, return_index=True)
        known, places = np.unique(owner, return_index=True)
        sums = []
        for table in self._floor.pairs(parties.slot, slots):
            whole = np.zeros((len(parties), num_identities))
            whole[np.ix_(mine, known)] = np.add.reduceat(np.add.reduceat(table, starts, axis=0), places, axis=1)
            sums.append(whole[row, col])
        odds_s, distance_s, seen_s = sums
        ground_m = np.full(len(row), np.nan)
        ground_m[seen_s > 0] = distance_s[seen_s > 0] / seen_s[seen_s > 0]
        return self._floor.log_odds(odds_s, seen_s), ground_m

    def _gaps(self, parties: Parties, rows: Int64, row: Int64) -> Float64:
        """(P,) seconds between the two, 0 where one was in view with or within the time of the other."""
        since_s = parties.first_s[row] - self._book.last_s[rows]
        until_s = self._book.first_s[rows] - parties.last_s[row]
        return np.asarray(np.maximum(np.maximum(since_s, until_s), 0.0), np.float64)

    def _exit_zones(self, rows: Int64) -> Int64:
        """(N,) where each identity, a row of the book, was last seen."""
        zones, slots = self._book.left_zone[rows], self._book.live_slot[rows]
        live = slots >= 0
        zones[live] = self.zones(slots[live], entry=False)
        return zones

    def _travelled(
        self, parties: Parties, rows: Int64, row: Int64, col: Int64, *, gap_s: Float64, likely: BoolMask
    ) -> tuple[Float64, Int64]:
        """-> (P,) log-odds of time and way from where one left to where the other came in; zone of leaving."""
        later = self._book.last_s[rows[col]] < parties.first_s[row]  # the party is the later one of the two
        start = np.where(later, self._exit_zones(rows)[col], parties.exit_zone[row])
        goal = np.where(later, parties.entry_zone[row], self._book.entry_zone[rows[col]])
        known = (gap_s > 0) & (start >= 0) & (goal >= 0)
        log_odds, left_at = np.zeros(len(row)), np.where(known, start, -1)
        known &= likely & (self._config.travel != "off")
        log_odds[known] = self._travel.log_odds(start[known], goal[known], gap_s[known])
        return log_odds, left_at

    def _motion(self, parties: Parties, held: tuple[Int64, Int64], at: Int64, num_pairs: int) -> Float64:
        """(P,) log-odds: the party begins near where a tracklet of the identity was lost shortly before."""
        log_odds, store = np.zeros(num_pairs), self._store
        if not len(parties.slot) or not len(held[0]):
            return log_odds
        order = np.argsort(store.last_s[held[0]], kind="stable")  # the later tracklet of an identity speaks last
        slots, owner = held[0][order], held[1][order]
        first = np.lexsort((store.first_s[parties.slot], parties.slot_owner))
        rows, places = np.unique(parties.slot_owner[first], return_index=True)
        start = parties.slot[first[places]]
        whole = store.first_s[start] <= parties.first_s[rows]
        rows, start = rows[whole], start[whole]
        gap_s = store.first_s[start][:, None] - store.last_s[slots]
        one, other = np.nonzero((gap_s > 0) & (gap_s <= self._config.motion_s) & (at[rows][:, owner] >= 0))
        begin, end, gap_s = start[one], slots[other], gap_s[one, other]
        pair = at[rows[one], owner[other]]
        here = store.camid[end] == store.camid[begin]
        there = ~here & np.isfinite(store.ground_xy[end, 0] + store.entry_ground_xy[begin, 0])
        if there.any():
            log_odds[pair[there]] = walked_log_odds(store, begin[there], end[there], gap_s[there], self._config)
        if here.any():
            begin, end = begin[here], end[here]
            known = store.last_s[begin] - store.first_s[begin] >= HEADING_S
            start_px = np.where(known[:, None], store.velocity_px[begin], np.nan)
            log_odds[pair[here]] = moved_log_odds(store, begin, end, gap_s[here], self._config, start_px=start_px)
        return log_odds


def _seen(members: Sequence[Member]) -> tuple[Presence, ...]:
    return tuple(m.presence(as_seen=True) for m in members)


def _present(members: Sequence[Member]) -> tuple[Presence, ...]:
    return tuple(m.presence() for m in members)
