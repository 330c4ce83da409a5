"""All evidence for and against 'these are one person', brought together from the stateful parts of the fuser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.affinity import return_log_odds
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.exclusion import Exclusion
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.identities import Member
from pipeline.fusion.motion import HEADING_S, moved_log_odds, walked_log_odds
from pipeline.fusion.parties import Pairs, Parties, Scores
from pipeline.types import BoolMask, Float64, Int64

_HOPELESS = -7.0  # log-odds that no travel time can make good


class Evidence:
    """Reads the state of the others; has none of its own."""

    def __init__(self, config: FusionConfig, state: FuserState, exclusion: Exclusion) -> None:
        self._config = config
        self._exclusion = exclusion
        self._store = state.store
        self._gallery = state.gallery
        self._book = state.book
        self._floor = state.floor
        self._calibration = state.calibration
        self._zones = state.zones
        self._travel = state.travel
        self._reranking = state.reranking

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
        pending = self._exclusion.forbid(parties, global_ids, rows, row, col, log_odds=log_odds)
        told = similarity, ground_m, gap_s, looks, travel, motion, floor, across, mixed
        return Scores(len(parties), global_ids, at, Pairs(log_odds, pending, *told, left_at))

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
