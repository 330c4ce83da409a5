"""The people known by now, and in which tracklets they were seen."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from pipeline.fusion.constraints import Presence


@dataclass(slots=True)
class Member:
    """A tracklet of an identity. `slot` is its place in the store, -1 once it has left it."""

    camid: int
    track_id: int
    first_s: float
    last_s: float
    slot: int
    open: bool  # may still go on
    entry_zone: int = -1  # where it came in and went out (`zones.Zones`), -1: unknown
    exit_zone: int = -1

    def presence(self, as_seen: bool = False) -> Presence:
        """In view from first to last; for good while it may go on, unless only what was seen counts."""
        return Presence(self.camid, self.first_s, math.inf if self.open and not as_seen else self.last_s)


@dataclass(slots=True)
class Identity:
    """A person over all cameras."""

    global_id: int
    first_s: float
    last_s: float
    members: list[Member] = field(default_factory=list)
    entry_zone: int = -1  # of its first tracklet
    exit_zone: int = -1  # of its last one that has been forgotten
    exit_s: float = -math.inf

    def latest(self) -> Member | None:
        """The tracklet seen last, None if that one has been forgotten."""
        last = max(self.members, key=lambda m: m.last_s, default=None)
        return None if last is None or last.last_s < self.exit_s else last

    @property
    def in_view(self) -> bool:
        return any(member.open for member in self.members)


class IdentityBook:
    """All open identities. Numbers rise by one and are never used again.

    What has to be done as time passes waits in heaps, so that it costs as much as there is to do, however many
    identities there are. Their times may be out of date, always too early: then an entry is put back with the true one.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self._identities: dict[int, Identity] = {}
        self._num_joined = 0
        self._unseen: list[tuple[float, int]] = []  # last_s, global_id: one of each identity
        self._to_prune: list[tuple[float, int, int, Member]] = []  # last_s, number, global_id: one of each member

    def __len__(self) -> int:
        return len(self._identities)

    def __getitem__(self, global_id: int) -> Identity:
        return self._identities[global_id]

    def __contains__(self, global_id: int) -> bool:
        return global_id in self._identities

    def new_number(self) -> int:
        """A number that no identity has had."""
        self._next_id += 1
        return self._next_id - 1

    def found(self, member: Member) -> Identity:
        """A new identity with its first tracklet."""
        identity = Identity(self.new_number(), member.first_s, member.last_s, [member], member.entry_zone)
        self._identities[identity.global_id] = identity
        heapq.heappush(self._unseen, (member.last_s, identity.global_id))
        self._expect_end(member, identity.global_id)
        return identity

    def join(self, global_id: int, member: Member) -> None:
        identity = self._identities[global_id]
        identity.members.append(member)
        self._expect_end(member, global_id)
        if member.first_s < identity.first_s:
            identity.entry_zone = member.entry_zone
        identity.first_s = min(identity.first_s, member.first_s)
        identity.last_s = max(identity.last_s, member.last_s)

    def merge(self, kept_id: int, gone_id: int) -> None:
        gone = self._identities.pop(gone_id)
        for member in gone.members:
            self.join(kept_id, member)
        kept = self._identities[kept_id]
        if gone.first_s < kept.first_s:
            kept.entry_zone = gone.entry_zone
        if gone.exit_s > kept.exit_s:
            kept.exit_zone, kept.exit_s = gone.exit_zone, gone.exit_s
        kept.first_s, kept.last_s = min(kept.first_s, gone.first_s), max(kept.last_s, gone.last_s)

    def close(self, global_id: int) -> Identity:
        return self._identities.pop(global_id)

    def prune(self, before_s: float) -> None:
        """Forget tracklets that ended before `before_s`; nothing that is still to be decided can meet them."""
        while self._to_prune and self._to_prune[0][0] < before_s:
            _, number, global_id, member = heapq.heappop(self._to_prune)
            identity = self._identities.get(global_id)
            if identity is None or not any(m is member for m in identity.members):
                continue
            if member.open or member.last_s >= before_s:
                heapq.heappush(self._to_prune, (max(member.last_s, before_s), number, global_id, member))
                continue
            if member.last_s > identity.exit_s:
                identity.exit_zone, identity.exit_s = member.exit_zone, member.last_s
            identity.members = [m for m in identity.members if m is not member]

    def unseen_since(self, before_s: float, limit: int | None = None) -> list[int]:
        """Ids that nobody in view wears and that were last seen before `before_s`, the longest unseen first.

        limit: at most so many; to ask for a few costs little.
        """
        found: list[tuple[float, int]] = []
        in_view: list[tuple[float, int]] = []
        while self._unseen and self._unseen[0][0] < before_s and (limit is None or len(found) < limit):
            last_s, global_id = heapq.heappop(self._unseen)
            identity = self._identities.get(global_id)
            if identity is None:
                continue
            if identity.last_s > last_s:
                heapq.heappush(self._unseen, (identity.last_s, global_id))
            else:
                (in_view if identity.in_view else found).append((last_s, global_id))
        for entry in (*found, *in_view):
            heapq.heappush(self._unseen, entry)
        return [global_id for _, global_id in found]

    def _expect_end(self, member: Member, global_id: int) -> None:
        self._num_joined += 1
        heapq.heappush(self._to_prune, (member.last_s, self._num_joined, global_id, member))
