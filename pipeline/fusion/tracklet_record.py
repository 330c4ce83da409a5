"""What tracklets looked like and how they came and went, kept for questions after the run: a bounded table."""

from __future__ import annotations

import math

import numpy as np

from pipeline.fusion.archive import Parts
from pipeline.fusion.store import TrackletStore
from pipeline.types import Float32, Float64, Int64

_WIDTHS = {
    "entry_xyxy": 4,
    "exit_xyxy": 4,
    "velocity_px": 2,
    "entry_velocity_px": 2,
    "entry_ground_xy": 2,
    "ground_xy": 2,
    "ground_sigma_m": 1,
    "ground_velocity": 2,
}
_UNKNOWN_AFTER_SLIP = ("exit_xyxy", "velocity_px", "ground_xy", "ground_velocity")
_FIRST_ROWS = 64


class TrackletRecord:
    """Parts of tracklets as they left the fuser, the newest `capacity` of them; older ones make room.

    A row takes 2 D bytes for its vector of D numbers, in half precision, and 200 for the rest.
    """

    def __init__(self, dim: int, capacity: int) -> None:
        self._capacity = capacity
        self._num_kept = 0
        rows = min(_FIRST_ROWS, capacity)
        self._name: Int64 = np.zeros((rows, 4), np.int64)  # camid, track_id, entry zone, exit zone
        self._number: Float64 = np.zeros((rows, 2 + sum(_WIDTHS.values())))  # first_s, last_s, `_WIDTHS`
        self._vector = np.zeros((rows, dim), np.float16)

    def __len__(self) -> int:
        return min(self._num_kept, self._capacity)

    def keep(self, store: TrackletStore, slots: Int64, zones: Int64, until_s: float | None = None) -> None:
        """Tracklets (N,) leave the store, or with `until_s` show somebody else from then on.

        zones (N, 2): where they came in and went out, -1 unknown.
        """
        if not self._capacity:
            return
        name, number = np.empty((len(slots), 4), np.int64), np.empty((len(slots), self._number.shape[1]))
        name[:, 0], name[:, 1], name[:, 2:] = store.camid[slots], store.track_id[slots], zones
        number[:, 0], number[:, 1] = store.first_s[slots], store.last_s[slots]
        at = 2
        for column, width in _WIDTHS.items():
            number[:, at : at + width] = getattr(store, column)[slots].reshape(-1, width)
            if until_s is not None and column in _UNKNOWN_AFTER_SLIP:
                number[:, at : at + width] = np.nan
            at += width
        if until_s is not None:
            name[:, 3], number[:, 1] = -1, until_s
        vector = store.vectors(slots)
        for part in np.array_split(np.arange(len(slots)), -(-len(slots) // self._capacity)):
            rows = (self._num_kept + np.arange(len(part))) % self._capacity
            while rows.max() >= len(self._name):
                self._grow()
            self._num_kept += len(part)
            self._name[rows], self._number[rows], self._vector[rows] = name[part], number[part], vector[part]

    def arrays(self) -> dict[str, np.ndarray]:
        """The rows from the first kept to the last, to be written; `parts_of` reads them."""
        rows = np.arange(self._num_kept - len(self), self._num_kept) % max(self._capacity, 1)
        return {"name": self._name[rows], "number": self._number[rows], "vector": self._vector[rows]}

    def _grow(self) -> None:
        size = min(2 * len(self._name), self._capacity)
        for column in ("_name", "_number", "_vector"):
            old = getattr(self, column)
            setattr(self, column, np.concatenate((old, np.zeros((size - len(old), old.shape[1]), old.dtype))))


def parts_of(arrays: dict[str, np.ndarray]) -> Parts:
    """The parts, in order of time, of what `TrackletRecord.arrays` gave; whose they are is not in it (global_id 0).

    Raises KeyError and ValueError for arrays that are no such thing.
    """
    name, number = np.asarray(arrays["name"], np.int64), np.asarray(arrays["number"], np.float64)
    vector: Float32 = np.asarray(arrays["vector"], np.float32)
    width = 2 + sum(_WIDTHS.values())
    if name.shape != (len(name), 4) or number.shape != (len(name), width) or len(vector) != len(name):
        raise ValueError("tables of tracklets that do not fit each other")
    order = np.lexsort((name[:, 1], name[:, 0], number[:, 0]))
    name, number, vector = name[order], number[order], vector[order]
    columns, at = {}, 2
    for column, size in _WIDTHS.items():
        columns[column] = number[:, at] if size == 1 else number[:, at : at + size]
        at += size
    from_s = number[:, 0].copy()
    seen: set[tuple[int, int]] = set()
    for row, key in enumerate(zip(name[:, 0].tolist(), name[:, 1].tolist(), strict=True)):
        if key not in seen:
            from_s[row] = -math.inf
        seen.add(key)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    return Parts(
        camid=name[:, 0],
        track_id=name[:, 1],
        from_s=from_s,
        first_s=number[:, 0],
        last_s=number[:, 1],
        global_id=np.zeros(len(name), np.int64),
        entry_zone=name[:, 2],
        exit_zone=name[:, 3],
        vector=np.asarray(vector / np.maximum(length, 1e-12), np.float32),
        **columns,
    )
