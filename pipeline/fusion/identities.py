"""The people known by now, and in which tracklets they were seen."""

from __future__ import annotations

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

    @property
    def in_view(self) -> bool:
        return any(member.open for member in self.members)


class IdentityBook:
    """All open identities. Numbers rise by one and are never used again."""

    def __init__(self) -> None:
        self._next_id = 1
        self._identities: dict[int, Identity] = {}

    def __len__(self) -> int:
        return len(self._identities)

    def __getitem__(self, global_id: int) -> Identity:
        return self._identities[global_id]

    def __contains__(self, global_id: int) -> bool:
        return global_id in self._identities

    def found(self, member: Member) -> Identity:
        """A new identity with its first tracklet."""
        identity = Identity(self._next_id, member.first_s, member.last_s, [member])
        self._next_id += 1
        self._identities[identity.global_id] = identity
        return identity

    def join(self, global_id: int, member: Member) -> None:
        identity = self._identities[global_id]
        identity.members.append(member)
        identity.first_s = min(identity.first_s, member.first_s)
        identity.last_s = max(identity.last_s, member.last_s)

    def merge(self, kept_id: int, gone_id: int) -> None:
        gone = self._identities.pop(gone_id)
        for member in gone.members:
            self.join(kept_id, member)
        kept = self._identities[kept_id]
        kept.first_s, kept.last_s = min(kept.first_s, gone.first_s), max(kept.last_s, gone.last_s)

    def close(self, global_id: int) -> Identity:
        return self._identities.pop(global_id)

    def prune(self, before_s: float) -> None:
        """Forget tracklets that ended before `before_s`; nothing that is still to be decided can meet them."""
        for identity in self._identities.values():
            if any(not member.open and member.last_s < before_s for member in identity.members):
                identity.members = [m for m in identity.members if m.open or m.last_s >= before_s]

    def unseen_since(self, before_s: float) -> list[int]:
        """Ids that nobody in view wears and that were last seen before `before_s`, the longest unseen first."""
        found = [i for i in self._identities.values() if i.last_s < before_s and not i.in_view]
        return [i.global_id for i in sorted(found, key=lambda i: (i.last_s, i.global_id))]
