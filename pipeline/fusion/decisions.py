"""Who is who: decides what is linked, founded, merged, split and closed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from pipeline.assignment import assign
from pipeline.fusion.affinity import posterior
from pipeline.fusion.candidates import Candidates
from pipeline.fusion.changes import Changes
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.exclusion import Exclusion
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.parties import Parties, Scores
from pipeline.fusion.threshold import LinkThreshold
from pipeline.types import Int64

_LINGER = 4.0  # an ended tracklet stays in the store for so many times `motion_s`, to be continued by another one
_WORTH_BELIEVING = 0.5  # chances below teach nothing of what a change of camera does to looks
_DISAGREEMENT = -2.0  # mean log-odds on the floor from which two tracklets are clearly not one person
_FEW = 64  # identities of the store that are reviewed at once; of more, a part in turn


class Decisions:
    """Decides by the evidence, and has it done."""

    def __init__(
        self,
        config: FusionConfig,
        state: FuserState,
        *,
        evidence: Evidence,
        exclusion: Exclusion,
        candidates: Candidates,
        changes: Changes,
    ) -> None:
        self._config = config
        self._store = state.store
        self._book = state.book
        self._floor = state.floor
        self._travel = state.travel
        self._evidence = evidence
        self._exclusion = exclusion
        self._candidates = candidates
        self._changes = changes
        self._threshold = LinkThreshold(config.false_merge_rate)
        self._reviewed_s = -math.inf
        self._turn = 0  # the last identity that was reviewed when its turn came
        self._barred: set[int] = set()  # who may be somebody as soon as a tracklet ends
        self._now_s = -math.inf

    @property
    def least_confidence(self) -> float:
        """How probable a link has to be by now."""
        return self._threshold.value

    def step(self, now_s: float, changed: Iterable[int]) -> None:
        """Bring all identities up to date. changed: ids that have got new clips."""
        self._now_s = self._changes.now_s = now_s
        due = now_s >= self._reviewed_s + self._config.review_s
        if due:
            self._reviewed_s = now_s
            self._close()
        self._split()
        self._decide()
        self._merge({*changed, *(self._due() if due else ())})
        slots = self._store.slots()
        linger_s = min(_LINGER * self._config.motion_s, self._config.stale_s)
        self._changes.forget(slots[self._store.ended[slots] & (self._store.last_s[slots] < now_s - linger_s)])

    def _decide(self) -> None:
        """Link or found, by one assignment over all undecided tracklets that have a clip, have ended, or have been in
        view for `decide_s`.

        Two tracklets that overlapping cameras see at once may be one person, which a one-to-one assignment can not
        say: whoever lost the best candidate to another one tries again in the next round, and so does who may be
        somebody that was founded in this one. What has changed by then is compared again.
        """
        store = self._store
        slots = store.slots()
        long = store.last_s[slots] - store.first_s[slots] >= self._config.decide_s
        slots = slots[(store.global_id[slots] == 0) & ((store.num_clips[slots] > 0) | store.ended[slots] | long)]
        if not len(slots):
            return
        slots = slots[np.lexsort((store.track_id[slots], store.camid[slots]))]
        self._candidates.look_up(slots, self._now_s)
        parties = self._evidence.tracklets(slots)
        scores = self._evidence.compare(parties, *self._candidates.of(parties))
        different = self._exclusion.different(parties)
        waiting = np.arange(len(slots))
        while len(waiting):
            linked, wait = self._links(waiting, slots, scores)
            done, changed = wait + [row for row, _ in linked], set()
            for row, col in linked:
                self._learn(parties, scores, row)
                changed.add(self._changes.link(parties.members[row][0], scores, row, col))
            if not linked:
                founded: list[int] = []  # who can not be any of them need not be compared with them first
                for row in waiting[~np.isin(waiting, wait)].tolist():
                    if different[row, founded].all():
                        self._learn(parties, scores, row)
                        changed.add(self._changes.found(parties.members[row][0], scores, row))
                        founded.append(row)
                done += founded
            waiting = waiting[~np.isin(waiting, done)]
            if len(waiting) and changed:
                self._compare_again(parties, scores, waiting, sorted(changed))

    def _compare_again(self, parties: Parties, scores: Scores, rows: Int64, changed: list[int]) -> None:
        """Some parties, with identities that have got a tracklet since."""
        ids = np.array(changed, np.int64)
        before = np.zeros((len(parties), len(ids)), np.bool_)
        col = np.minimum(np.searchsorted(scores.global_ids, ids), max(len(scores.global_ids) - 1, 0))
        if len(scores.global_ids):
            known = scores.global_ids[col] == ids
            before[:, known] = scores.compared()[:, col[known]]
        wanted = self._candidates.again(parties, changed, before)
        wanted[np.isin(np.arange(len(parties)), rows, invert=True)] = False
        scores.replace(self._evidence.compare(parties, ids, wanted))

    def _links(self, rows: Int64, slots: Int64, scores: Scores) -> tuple[list[tuple[int, int]], list[int]]:
        """rows: those of `scores` that wait -> (row, column) pairs to link, rows that had better wait on.

        A tracklet waits while its best candidate is barred only by a tracklet that is out of view but may come back.
        """
        if not len(scores.global_ids):
            return [], []
        log_odds, pending = scores.log_odds[rows], scores.pending[rows]
        old = self._store.first_s[slots[rows]] < self._now_s - self._config.revise_s
        every, best = np.arange(len(rows)), log_odds.argmax(axis=1)
        wait = pending[every, best] & (log_odds[every, best] > 0)
        wait &= ~self._store.ended[slots[rows]] & ~old
        allowed = np.where(pending | (wait | old)[:, None], -np.inf, log_odds)
        most, linked = allowed.max(axis=1).tolist(), []
        likely = np.flatnonzero((allowed >= 0).any(axis=0))
        places, chosen = assign(-allowed[:, likely], 0.0)
        for place, col in zip(places.tolist(), likely[chosen].tolist(), strict=True):
            if allowed[place, col] < most[place]:
                continue
            possible = allowed[place]
            if float(posterior(possible[possible > -np.inf])[0].max()) >= self._threshold.value:
                linked.append((int(rows[place]), col))
        return linked, rows[wait].tolist()

    def _learn(self, parties: Parties, scores: Scores, row: int) -> None:
        """What the decision on a tracklet teaches of travel times: who it may be counts as probable as that is."""
        goal = int(parties.entry_zone[row])
        self._travel.arrive(goal)
        wanted = "log_odds", "across", "across_mixed", "left_at", "gap_s"
        log_odds, across, across_mixed, left_at, gap_s = scores.told(row, wanted)
        chances = posterior(log_odds)[0]
        self._threshold.see(float(chances.max(initial=0.0)))
        for place in (chances >= _WORTH_BELIEVING).nonzero()[0].tolist():
            if math.isfinite(across[place]):
                looks = float(across[place]), float(across_mixed[place])
                self._evidence.linked(*looks, float(chances[place]))
        told = left_at >= 0
        if told.any():
            self._travel.learn(left_at[told], goal, gap_s[told], chances[told])

    def _due(self) -> list[int]:
        """Identities of the store that are to be reviewed: all where they are few.

        Else who is in view on a floor, who was only barred by a tracklet that had not ended, and others in turn.
        """
        store, barred = self._store, self._barred
        self._barred = set()
        slots = store.slots()
        slots = slots[store.global_id[slots] > 0]
        worn: list[int] = np.unique(store.global_id[slots]).tolist()
        if len(worn) <= _FEW:
            return worn
        stands = ~store.ended[slots] & np.isfinite(store.ground_xy[slots, 0]) & self._floor.active
        due = {*store.global_id[slots[stands]].tolist(), *barred}
        after = int(np.searchsorted(np.array(worn), self._turn, side="right"))
        turn = (worn[after:] + worn[:after])[: _FEW // 4]
        self._turn = turn[-1]
        return sorted(due | set(turn))

    def _merge(self, review: Iterable[int]) -> None:
        """Young identities that turn out to be another one. The lower number stays."""
        least = 1 - self._config.false_merge_rate
        queue = self._young(review)
        while queue:
            parties = self._evidence.identities(queue)
            self._candidates.look_up(parties.slot, self._now_s)
            ids, table = self._candidates.of(parties)
            table &= np.array(queue)[:, None] != ids
            scores = self._evidence.compare(parties, ids, table)
            if not len(ids):
                return
            allowed = np.where(scores.pending, -np.inf, scores.log_odds)
            self._barred.update(
                np.array(queue)[(scores.log_odds > 0).any(axis=1) & scores.pending.any(axis=1)].tolist()
            )
            best = allowed.argmax(axis=1)
            changed: set[int] = set()  # in this round: what was compared with them holds no more
            for row in np.flatnonzero(allowed.max(axis=1) >= math.log(least / (1 - least))).tolist():
                gid, other = queue[row], int(ids[best[row]])
                if gid in changed or other in changed or scores.ranking(row, int(best[row]))[0] < least:
                    continue
                self._changes.unite(min(gid, other), max(gid, other), scores, (row, int(best[row])))
                changed |= {gid, other}
            queue = self._young(changed)

    def _young(self, global_ids: Iterable[int]) -> list[int]:
        """Those of the identities that are open and may still become another one, ascending."""
        ids = sorted(set(global_ids))
        rows = self._book.rows(ids)
        young = (rows >= 0) & (self._book.first_s[rows] >= self._now_s - self._config.revise_s)
        return [gid for gid, fits in zip(ids, young.tolist(), strict=True) if fits]

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
            joined = [m.slot for m in self._book.members(gid)]
            # Of those that disagree most, the one that joined last.
            place = min(places.tolist(), key=lambda p: (round(float(mean[p]), 3), -joined.index(int(live[p]))))
            others = live[(worn == gid) & (live != live[place])]
            until_s = self._floor.agreed_at_s(int(live[place]), others)
            confidence = float(posterior(mean[place : place + 1])[1])
            self._changes.leave(int(live[place]), until_s, confidence, -float(mean[place]))

    def _close(self) -> None:
        self._book.prune(self._now_s - self._config.revise_s)
        unseen = self._book.unseen_since(self._now_s - self._config.open_s)
        excess = len(self._book) - len(unseen) - self._config.capacity
        if excess > 0:
            unseen = self._book.unseen_since(math.inf, len(unseen) + excess)
        for gid in unseen:
            self._changes.close(gid)
