"""Who is in view at one moment, and how much alike they look."""

from __future__ import annotations

import numpy as np

from pipeline.fusion.store import TrackletStore
from pipeline.types import Float32, Float64, Int64


class Company:
    """The tracklets of the store that were seen since `since_s`, with their looks; for one tick."""

    def __init__(self, store: TrackletStore, since_s: float) -> None:
        self._store = store
        self._since_s = since_s
        self._slots: Int64 | None = None  # looked up when asked for
        self._vectors: Float32 = np.zeros((0, store.dim), np.float32)

    def look_again(self, slots: Int64) -> None:
        """The looks of these tracklets (N,) have changed."""
        if self._slots is not None and len(self._slots):
            place = np.minimum(np.searchsorted(self._slots, slots), len(self._slots) - 1)
            known = self._slots[place] == slots
            self._vectors[place[known]] = self._store.vectors(slots[known])

    def of(self, slot: int) -> tuple[Int64, Float64]:
        """-> the other tracklets (N,) that have a clip, their cosines (N,) with that of `slot`."""
        store = self._store
        if self._slots is None:
            slots = store.slots()
            self._slots = slots[store.last_s[slots] >= self._since_s]
            self._vectors = store.vectors(self._slots)
        cosine = self._vectors @ store.vectors(np.array([slot]))[0]
        others = (store.num_clips[self._slots] > 0) & (self._slots != slot)
        return self._slots[others], cosine[others].astype(np.float64)
