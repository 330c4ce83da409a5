"""Who is who: creates, links, merges, splits and closes identities, each with its event."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pipeline.assignment import assign
from pipeline.fusion.affinity import posterior
from pipeline.fusion.archive import TrackletArchive
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.evidence import Evidence, Scores
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import IdentityBook, Member
from pipeline.fusion.store import TrackletStore
from pipeline.fusion.threshold import LinkThreshold
from pipeline.fusion.tracklet_record import TrackletRecord
from pipeline.fusion.travel import TravelModel
from pipeline.types import Event, EventKind, Float32, Int64

_LINGER = 4.0  # an ended tracklet stays in the store for so many times `motion_s`, to be continued by another one
_WORTH_BELIEVING = 0.5  # chances below teach nothing of what a change of camera does to looks
_SLIP_CONFIDENCE = 0.9  # of an identity that a tracklet's change of looks founds
_MOMENT_S = 1e-4  # shorter than any frame, longer than times are rounded to
_DISAGREEMENT = -2.0  # mean log-odds on the floor from which two tracklets are clearly not one person


class Decisions:
    """The only one who changes identities. `events` of a step wait in it until they are taken."""

    def __init__(
        self,
        config: FusionConfig,
        *,
        store: TrackletStore,
        gallery: Gallery,
        book: IdentityBook,
        floor: FloorAgreement,
        evidence: Evidence,
        travel: TravelModel,
        archive: TrackletArchive | None = None,
        record: TrackletRecord | None = None,
    ) -> None:
        """archive: where tracklets go that are over, if anybody wants them; record: the same, for later questions."""
        self._config = config
        self._archive = archive
        self._record = record
        self._store = store
        self._gallery = gallery
        self._book = book
        self._floor = floor
        self._evidence = evidence
        self._travel = travel
        self._threshold = LinkThreshold(config.false_merge_rate)
        self._member_of: dict[int, Member] = {}  # by slot
        self._reviewed_s = -math.inf
        self._now_s = -math.inf
        self._events: list[Event] = []

    @property
    def least_confidence(self) -> float:
        """How probable a link has to be by now."""
        return self._threshold.value

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def see(self, slots: Int64, time_s: float) -> None:
        """The tracklets `slots` are in view."""
        for slot, gid in zip(slots.tolist(), self._store.global_id[slots].tolist(), strict=True):
            if gid:
                self._member_of[slot].last_s = time_s
                self._book[gid].last_s = max(self._book[gid].last_s, time_s)

    def end(self, slot: int) -> None:
        """The tracklet will not come back; without effect for slot -1."""
        if slot >= 0:
            self._store.ended[slot] = True
            if slot in self._member_of:
                self._member_of[slot].open = False
                self._member_of[slot].exit_zone = self._evidence.zone(slot, entry=False)

    def step(self, now_s: float, changed: Iterable[int]) -> None:
        """Bring all identities up to date. changed: ids that have got new clips."""
        self._now_s = now_s
        due = now_s >= self._reviewed_s + self._config.review_s
        if due:
            self._reviewed_s = now_s
            self._close()
        self._split()
        self._decide()
        self._merge({*changed, *(self._store.global_id[self._store.slots()].tolist() if due else ())})
        slots = self._store.slots()
        linger_s = min(_LINGER * self._config.motion_s, self._config.stale_s)
        gone = self._store.ended[slots] & (self._store.last_s[slots] < now_s - linger_s)
        for slot in slots[gone].tolist():
            self._keep(slot)
            self._member_of.pop(slot).slot = -1
            self._floor.clear(slot)
            self._store.release(slot)

    def _decide(self) -> None:
        """Link or found, by one assignment over all undecided tracklets that have a clip, have ended, or have been in
        view for `decide_s`.

        Two tracklets that overlapping cameras see at once may be one person, which a one-to-one assignment can not
        say: whoever lost the best candidate to another one tries again in the next round.
        """
        store = self._store
        slots = store.slots()
        long = store.last_s[slots] - store.first_s[slots] >= self._config.decide_s
        waiting = slots[(store.global_id[slots] == 0) & ((store.num_clips[slots] > 0) | store.ended[slots] | long)]
        waiting = waiting[np.lexsort((store.track_id[waiting], store.camid[waiting]))]
        while len(waiting):
            parties = [self._evidence.tracklet(slot) for slot in waiting.tolist()]
            candidates = self._evidence.candidates(parties)
            scores = self._evidence.score(parties, candidates)
            linked, wait = self._links(waiting, scores)
            for row, col in linked:
                self._link(int(waiting[row]), candidates, scores, row, col)
            done = [row for row, _ in linked] + wait
            if not linked and len(wait) < len(waiting):
                founded: list[int] = []  # who can not be any of them need not be compared with them first
                for row in sorted(set(range(len(waiting))) - set(wait)):
                    if all(self._evidence.apart(parties[row], parties[other]) for other in founded):
                        self._found(int(waiting[row]), candidates, scores, row)
                        founded.append(row)
                done += founded
            waiting = np.delete(waiting, done)

    def _links(self, slots: Int64, scores: Scores) -> tuple[list[tuple[int, int]], list[int]]:
        """-> (row, column) pairs to link, rows that had better wait.

        A tracklet waits while its best candidate is barred only by a tracklet that is out of view but may come back.
        """
        if not scores.log_odds.shape[1]:
            return [], []
        old = self._store.first_s[slots] < self._now_s - self._config.revise_s
        best = scores.log_odds.argmax(axis=1)
        rows = np.arange(len(slots))
        wait = scores.pending[rows, best] & (scores.log_odds[rows, best] > 0)
        wait &= ~self._store.ended[slots] & ~old
        allowed = np.where(scores.pending | (wait | old)[:, None], -np.inf, scores.log_odds)
        rows, cols = assign(-allowed, 0.0)
        linked = []
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True):
            chance = float(posterior(allowed[row])[0][col])
            if allowed[row, col] >= allowed[row].max() and chance >= self._threshold.value:
                linked.append((row, col))
        return linked, np.flatnonzero(wait).tolist()

    def _link(self, slot: int, candidates: list[int], scores: Scores, row: int, col: int) -> None:
        gid = candidates[col]
        self._learn(slot, scores, row)
        confidence, other_id, margin = _ranking(candidates, scores, row, col)
        self._book.join(gid, self._new_member(slot))
        self._wear(slot, gid, confidence)
        event = Event(
            "link",
            self._now_s,
            gid,
            camid=int(self._store.camid[slot]),
            track_id=int(self._store.track_id[slot]),
            other_id=other_id,
            confidence=confidence,
            margin=margin,
        )
        self._events.append(replace(event, **scores.evidence(row, col)))
        self._hand_over(gid)

    def _learn(self, slot: int, scores: Scores, row: int) -> None:
        """What the decision on a tracklet teaches of travel times: who it may be counts as probable as that is."""
        goal = self._evidence.zone(slot, entry=True)
        self._travel.arrive(goal)
        chances, _ = posterior(scores.log_odds[row])
        self._threshold.see(float(chances.max(initial=0.0)))
        told = scores.left_at[row] >= 0
        for col in np.flatnonzero((chances >= _WORTH_BELIEVING) & np.isfinite(scores.across[row])).tolist():
            self._evidence.linked(float(scores.across[row, col]), float(chances[col]))
        self._travel.learn(scores.left_at[row, told], goal, scores.gap_s[row, told], chances[told])

    def _found(self, slot: int, candidates: list[int], scores: Scores, row: int) -> None:
        self._learn(slot, scores, row)
        confidence, other_id, margin = _ranking(candidates, scores, row, -1)
        self._new_identity("create", slot, self._now_s, confidence, other_id=other_id, margin=margin)

    def _new_identity(
        self,
        kind: EventKind,
        slot: int,
        time_s: float,
        confidence: float,
        *,
        other_id: int,
        margin: float,
        similarity: float = math.nan,
    ) -> None:
        identity = self._book.found(self._new_member(slot))
        self._wear(slot, identity.global_id, confidence)
        camid, track_id = int(self._store.camid[slot]), int(self._store.track_id[slot])
        self._events.append(
            Event(
                kind,
                time_s,
                identity.global_id,
                camid=camid,
                track_id=track_id,
                other_id=other_id,
                confidence=confidence,
                similarity=similarity,
                margin=margin,
            )
        )

    def _new_member(self, slot: int) -> Member:
        store = self._store
        first_s, last_s = float(store.first_s[slot]), float(store.last_s[slot])
        camid, track_id = int(store.camid[slot]), int(store.track_id[slot])
        zones = self._evidence.zone(slot, entry=True), self._evidence.zone(slot, entry=False)
        member = Member(camid, track_id, first_s, last_s, slot, not store.ended[slot], *zones)
        self._member_of[slot] = member
        return member

    def _wear(self, slot: int, global_id: int, confidence: float) -> None:
        store = self._store
        store.global_id[slot] = global_id
        store.confidence[slot] = confidence
        self._gallery.add(global_id, int(store.camid[slot]), store.vector_sum[slot], float(store.quality_sum[slot]))

    def _merge(self, review: Iterable[int]) -> None:
        """Young identities that turn out to be another one. The lower number stays."""
        least = 1 - self._config.false_merge_rate
        young_s = self._now_s - self._config.revise_s
        queue = sorted(gid for gid in set(review) if gid in self._book and self._book[gid].first_s >= young_s)
        while queue:
            parties = [self._evidence.identity(self._book[gid]) for gid in queue]
            candidates = self._evidence.candidates(parties)
            scores = self._evidence.score(parties, candidates)
            scores.log_odds[np.array(queue)[:, None] == np.array(candidates)] = -np.inf  # itself
            allowed = np.where(scores.pending, -np.inf, scores.log_odds)
            changed: set[int] = set()  # in this round: what was compared with them holds no more
            for row, gid in enumerate(queue):
                best = int(allowed[row].argmax()) if candidates else -1
                if best < 0 or allowed[row, best] < math.log(least / (1 - least)) or gid in changed:
                    continue
                other = candidates[best]
                confidence, _, margin = _ranking(candidates, scores, row, best)
                if other not in changed and confidence >= least:
                    self._unite(min(gid, other), max(gid, other), scores, (row, best), confidence, margin)
                    changed |= {gid, other}
            queue = sorted(gid for gid in changed if gid in self._book and self._book[gid].first_s >= young_s)

    def _unite(
        self, kept: int, gone: int, scores: Scores, at: tuple[int, int], confidence: float, margin: float
    ) -> None:
        self._book.merge(kept, gone)
        self._gallery.merge(kept, gone)
        slots = self._store.slots()
        moved = slots[self._store.global_id[slots] == gone]
        self._store.global_id[moved] = kept
        self._store.confidence[moved] = np.minimum(self._store.confidence[moved], confidence)
        event = Event(
            "merge",
            self._now_s,
            kept,
            other_id=gone,
            confidence=confidence,
            margin=margin,
        )
        self._events.append(replace(event, **scores.evidence(*at)))
        self._hand_over(kept)

    def _hand_over(self, gid: int) -> None:
        """Where a tracklet of an identity went on while the next one had begun, the rest of it is nobody's.

        That rest becomes an identity of its own, so that none is in two places of a picture, nor in two cameras that
        do not overlap.
        """
        members = sorted(self._book[gid].members, key=lambda m: (m.first_s, m.camid, m.track_id))
        for place, later in enumerate(members):
            for earlier in members[:place]:
                if earlier.last_s < later.first_s or not self._evidence.exclude(earlier, later):
                    continue
                rest = Member(earlier.camid, earlier.track_id, later.first_s, earlier.last_s, slot=-1, open=False)
                earlier.last_s, earlier.exit_zone = math.nextafter(later.first_s, -math.inf), -1
                self._events.append(
                    Event(
                        "split",
                        later.first_s,
                        self._book.found(rest).global_id,
                        camid=earlier.camid,
                        track_id=earlier.track_id,
                        other_id=gid,
                        confidence=0.5,
                    )
                )

    def _split(self) -> None:
        """Tracklets that clearly stand elsewhere than the others of their identity leave it, one per identity and step.

        The event holds from when the tracklet last agreed with another one: a tracker may slip onto somebody else.
        """
        if not self._floor.active:
            return
        slots = self._store.slots()
        live = slots[~self._store.ended[slots] & (self._store.global_id[slots] > 0)]
        worn = self._store.global_id[live]
        odds_s, _, seen_s = self._floor.pairs(live, live)
        together = worn[:, None] == worn[None]
        seen = (seen_s * together).sum(axis=1)
        mean = (odds_s * together).sum(axis=1) / np.maximum(seen, 1e-9)
        clear = (seen >= self._config.split_s) & (mean < _DISAGREEMENT)
        for gid in np.unique(worn[clear]).tolist():
            places = np.flatnonzero(clear & (worn == gid))
            joined = [m.slot for m in self._book[gid].members]
            # Of those that disagree most, the one that joined last.
            place = min(places.tolist(), key=lambda p: (round(float(mean[p]), 3), -joined.index(int(live[p]))))
            self._leave(int(live[place]), gid, live[(worn == gid) & (live != live[place])], float(mean[place]))

    def _leave(self, slot: int, gid: int, others: Int64, mean: float) -> None:
        store = self._store
        until_s = max(self._floor.agreed_at_s(slot, others), self._member_of[slot].first_s)
        self._restart(slot, until_s)
        confidence = float(posterior(np.array([mean]))[1])
        self._new_identity("split", slot, store.first_s[slot], confidence, other_id=gid, margin=-mean)

    def slip(self, slot: int, vector: Float32, quality: float) -> None:
        """A decided tracklet looks like somebody else in its newest clip (D,), so since the last one that did not."""
        store = self._store
        gid = int(store.global_id[slot])
        self._restart(slot, max(float(store.clip_s[slot]), self._member_of[slot].first_s))
        store.add_vectors(np.array([slot]), vector[None], np.array([quality], np.float32), self._now_s)
        self._floor.clear(slot)
        similarity, from_s = self._evidence.likeness(slot, gid), float(store.first_s[slot])
        self._new_identity(
            "split", slot, from_s, _SLIP_CONFIDENCE, other_id=gid, margin=math.nan, similarity=similarity
        )

    def _restart(self, slot: int, until_s: float) -> None:
        """The tracklet belongs to its identity until then, and to nobody yet from the next moment on."""
        self._keep(slot, until_s)
        member = self._member_of[slot]
        member.last_s, member.open, member.slot, member.exit_zone = until_s, False, -1, -1
        self._store.restart(slot, until_s + _MOMENT_S)

    def keep_rest(self) -> None:
        """All that is left goes where tracklets go that are over."""
        for slot in self._store.slots().tolist():
            self._keep(slot)

    def _keep(self, slot: int, until_s: float | None = None) -> None:
        zones = self._evidence.zone(slot, entry=True), self._evidence.zone(slot, entry=False)
        if self._archive is not None:
            self._archive.keep(self._store, self._floor, slot, zones, until_s)
        if self._record is not None:
            self._record.keep(self._store, slot, zones, until_s)

    def _close(self) -> None:
        self._book.prune(self._now_s - self._config.revise_s)
        unseen = self._book.unseen_since(self._now_s - self._config.open_s)
        excess = len(self._book) - len(unseen) - self._config.capacity
        if excess > 0:
            unseen = self._book.unseen_since(math.inf)[: len(unseen) + excess]
        for gid in unseen:
            gone = self._book.close(gid)
            for member in gone.members:
                if member.slot >= 0:
                    self._member_of[member.slot].slot = -1
            self._gallery.remove(gid)
            self._events.append(Event("close", self._now_s, gid, gap_s=self._now_s - gone.last_s))


def _ranking(candidates: list[int], scores: Scores, row: int, col: int) -> tuple[float, int, float]:
    """-> posterior of the choice (col -1: somebody new), runner-up (0: none), by how much log-odds it was better."""
    log_odds = scores.log_odds[row]
    chances, none = posterior(log_odds)
    rivals = log_odds.copy()
    if col >= 0:
        rivals[col] = -np.inf
    second = int(rivals.argmax()) if len(rivals) else -1
    if second < 0 or not math.isfinite(rivals[second]):
        return (float(chances[col]), 0, float(log_odds[col])) if col >= 0 else (none, 0, float("nan"))
    if col < 0:
        return none, candidates[second], -float(rivals[second])
    return float(chances[col]), candidates[second], float(log_odds[col] - rivals[second])
