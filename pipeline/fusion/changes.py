"""The changes of identities, each with its event: the only ones who write in the book, in all its parts at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pipeline.fusion.candidates import Candidates
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.exclusion import Exclusion
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.identities import Member
from pipeline.fusion.parties import Scores
from pipeline.types import Event, EventKind, Float32, Float64, Int64

_SLIP_CONFIDENCE = 0.9  # of an identity that a tracklet's change of looks founds
_MOMENT_S = 1e-4  # shorter than any frame, longer than times are rounded to


class Changes:
    """Keeps book, gallery and store in step. Events wait in it until they are taken."""

    def __init__(self, state: FuserState, evidence: Evidence, exclusion: Exclusion, candidates: Candidates) -> None:
        self._archive = state.archive
        self._record = state.record
        self._store = state.store
        self._gallery = state.gallery
        self._book = state.book
        self._floor = state.floor
        self._reranking = state.reranking
        self._evidence = evidence
        self._exclusion = exclusion
        self._candidates = candidates
        self._events: list[Event] = []
        self.member_of: dict[int, Member] = {}  # by slot
        self.now_s = -math.inf

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def see(self, slots: Int64, time_s: Float64) -> None:
        """The tracklets `slots` (N,) are in view at these times (N,)."""
        for slot, gid, at_s in zip(slots.tolist(), self._store.global_id[slots].tolist(), time_s.tolist(), strict=True):
            if gid:
                self._book.see(gid, self.member_of[slot], at_s)

    def end(self, slots: Int64) -> None:
        """These tracklets will not come back."""
        for slot, zone in zip(slots.tolist(), self._evidence.zones(slots, entry=False).tolist(), strict=True):
            self._store.ended[slot] = True
            member = self.member_of.get(slot)
            if member is not None:
                member.open, member.exit_zone = False, zone
                self._book.touch(int(self._store.global_id[slot]))

    def forget(self, slots: Int64) -> None:
        """These tracklets leave the store."""
        if self._archive is None:
            self._keep(slots)
        for slot in slots.tolist():
            if self._archive is not None:  # which asks who else is there
                self._keep(np.array([slot]))
            self.member_of.pop(slot).slot = -1
            self._book.touch(int(self._store.global_id[slot]))
            self._floor.clear(slot)
            self._candidates.forget(slot)
            self._reranking.leave(slot)
            self._store.release(slot)

    def link(self, member: Member, scores: Scores, row: int, col: int) -> int:
        """A tracklet joins an identity -> its number."""
        gid = int(scores.global_ids[col])
        confidence, other_id, margin = scores.ranking(row, col)
        self._book.join(gid, member)
        self._wear(member, gid, confidence)
        event = Event(
            "link",
            self.now_s,
            gid,
            camid=member.camid,
            track_id=member.track_id,
            other_id=other_id,
            confidence=confidence,
            margin=margin,
        )
        self._events.append(replace(event, **scores.evidence(row, col)))
        self._hand_over(gid)
        return gid

    def found(self, member: Member, scores: Scores, row: int) -> int:
        """A tracklet is somebody new -> the number."""
        confidence, other_id, margin = scores.ranking(row, -1)
        return self._new_identity("create", member, self.now_s, confidence, other_id=other_id, margin=margin)

    def _new_identity(
        self,
        kind: EventKind,
        member: Member,
        time_s: float,
        confidence: float,
        *,
        other_id: int,
        margin: float,
        similarity: float = math.nan,
    ) -> int:
        gid = self._book.found(member)
        self._wear(member, gid, confidence)
        self._events.append(
            Event(
                kind,
                time_s,
                gid,
                camid=member.camid,
                track_id=member.track_id,
                other_id=other_id,
                confidence=confidence,
                similarity=similarity,
                margin=margin,
            )
        )
        return gid

    def _wear(self, member: Member, global_id: int, confidence: float) -> None:
        store, slot = self._store, member.slot
        self.member_of[slot] = member
        store.global_id[slot] = global_id
        store.confidence[slot] = confidence
        self._gallery.add(global_id, member.camid, store.vector_sum[slot], float(store.quality_sum[slot]))
        self._reranking.wear(slot, global_id)

    def unite(self, kept: int, gone: int, scores: Scores, at: tuple[int, int]) -> None:
        """All tracklets of `gone` become `kept`; at: the row and column that say why."""
        confidence, _, margin = scores.ranking(*at)
        self._book.merge(kept, gone)
        self._gallery.merge(kept, gone)
        self._reranking.merge(kept, gone)
        slots = self._store.slots()
        moved = slots[self._store.global_id[slots] == gone]
        self._store.global_id[moved] = kept
        self._store.confidence[moved] = np.minimum(self._store.confidence[moved], confidence)
        event = Event(
            "merge",
            self.now_s,
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
        members = sorted(self._book.members(gid), key=lambda m: (m.first_s, m.camid, m.track_id))
        for place, later in enumerate(members):
            for earlier in members[:place]:
                if earlier.last_s < later.first_s or not self._exclusion.exclude(earlier, later):
                    continue
                rest = Member(earlier.camid, earlier.track_id, later.first_s, earlier.last_s, slot=-1, open=False)
                earlier.last_s, earlier.exit_zone = math.nextafter(later.first_s, -math.inf), -1
                self._book.touch(gid)
                self._events.append(
                    Event(
                        "split",
                        later.first_s,
                        self._book.found(rest),
                        camid=earlier.camid,
                        track_id=earlier.track_id,
                        other_id=gid,
                        confidence=0.5,
                    )
                )

    def leave(self, slot: int, until_s: float, confidence: float, margin: float) -> None:
        """A tracklet that stands elsewhere than its identity is somebody new since `until_s`."""
        gid = int(self._store.global_id[slot])
        self._restart(slot, max(until_s, self.member_of[slot].first_s))
        member = self._member(slot)
        self._new_identity("split", member, member.first_s, confidence, other_id=gid, margin=margin)

    def slip(self, slot: int, vector: Float32, quality: float) -> None:
        """A decided tracklet looks like somebody else in its newest clip (D,), so since the last one that did not."""
        store = self._store
        gid = int(store.global_id[slot])
        self._restart(slot, max(float(store.clip_s[slot]), self.member_of[slot].first_s))
        store.add_vectors(np.array([slot]), vector[None], np.array([quality], np.float32), self.now_s)
        self._reranking.put(slot, int(store.camid[slot]), 0, vector)
        self._floor.clear(slot)
        similarity, member = self._evidence.likeness(slot, gid), self._member(slot)
        self._new_identity(
            "split",
            member,
            member.first_s,
            _SLIP_CONFIDENCE,
            other_id=gid,
            margin=math.nan,
            similarity=similarity,
        )

    def _member(self, slot: int) -> Member:
        (member,) = self._evidence.tracklets(np.array([slot])).members[0]
        return member

    def _restart(self, slot: int, until_s: float) -> None:
        """The tracklet belongs to its identity until then, and to nobody yet from the next moment on."""
        self._keep(np.array([slot]), until_s)
        member = self.member_of[slot]
        member.last_s, member.open, member.slot, member.exit_zone = until_s, False, -1, -1
        self._book.touch(int(self._store.global_id[slot]))
        self._candidates.forget(slot)
        self._reranking.leave(slot)
        self._store.restart(slot, until_s + _MOMENT_S)

    def close(self, gid: int) -> None:
        """Nobody joins this identity any more."""
        members, last_s = self._book.close(gid)
        for member in members:
            if member.slot >= 0:
                self.member_of[member.slot].slot = -1
        self._gallery.remove(gid)
        self._reranking.close(gid)
        self._events.append(Event("close", self.now_s, gid, gap_s=self.now_s - last_s))

    def keep_rest(self) -> None:
        """All that is left goes where tracklets go that are over."""
        self._keep(self._store.slots())

    def _keep(self, slots: Int64, until_s: float | None = None) -> None:
        if not len(slots):
            return
        zones = np.stack([self._evidence.zones(slots, entry=entry) for entry in (True, False)], axis=1)
        if self._archive is not None:
            for slot, (entry, leave) in zip(slots.tolist(), zones.tolist(), strict=True):
                self._archive.keep(self._store, self._floor, slot, (entry, leave), until_s)
        self._record.keep(self._store, slots, zones, until_s)
