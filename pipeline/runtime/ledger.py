"""Who may still look at which piece of shared memory, and whose it is."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from pipeline.runtime.rings import Ring, Span
from pipeline.runtime.worker_process import Freed, Parcel


class Worker(Protocol):
    """A worker that owns a ring, as far as the ledger knows it."""

    def send(self, message: object) -> None: ...


Owner: TypeAlias = "Ring | Worker"


class Ledger:
    """Counts the holders of each span; one that nobody holds any more goes back to the ring that it came from."""

    def __init__(self) -> None:
        self._owners: dict[str, Owner] = {}  # by segment
        self._num_holders: Counter[Span] = Counter()

    def note(self, parcel: Parcel, owner: Owner) -> None:
        """Learn whose memory a parcel points into."""
        for span in parcel.spans:
            self._owners[span.segment] = owner

    def hold(self, spans: Iterable[Span], num_holders: int = 1) -> None:
        for span in spans:
            self._num_holders[span] += num_holders

    def drop(self, spans: Iterable[Span]) -> None:
        """One holder less of each."""
        unused: dict[int, tuple[Worker, list[Span]]] = {}
        for span in spans:
            self._num_holders[span] -= 1
            if self._num_holders[span]:
                continue
            del self._num_holders[span]
            owner = self._owners[span.segment]
            if isinstance(owner, Ring):
                owner.free(span)
            else:
                unused.setdefault(id(owner), (owner, []))[1].append(span)
        for worker, gone in unused.values():
            worker.send(Freed(tuple(gone)))

    @property
    def num_held(self) -> int:
        return len(self._num_holders)


def taken_from(row: deque[Span]) -> list[Span]:
    """Empty a deque that others may add to at any moment."""
    return [row.popleft() for _ in range(len(row))]
