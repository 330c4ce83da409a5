"""Who is recognised: the memory of people seen lately, and the assignment of tracklets to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.types import BoolMask, Float32, Int64
from reid_train.counting.config import CountConfig
from reid_train.counting.windows import NO_TRACK, Piece


@dataclass(slots=True)
class _Known:
    """A person in the memory. `track_id` is the tracker's name for it where it was last seen."""

    person: int
    vectors: deque[Float32]
    track_id: int = NO_TRACK
    last_window: int = 0
    last_frame: int = -1


class PersonMemory:
    """The people seen in the last windows, with their latest embeddings. Its size is bounded by `ttl_windows`."""

    def __init__(self, config: CountConfig) -> None:
        self._config = config
        self._known: list[_Known] = []  # ascending in `person`
        self._num_people = 0

    def admit(self, window: int, pieces: Sequence[Piece], vectors: Float32) -> tuple[Int64, BoolMask]:
        """Who the pieces of a window are. vectors: (K, D) of unit norm -> person (K,), whether it is new (K,).

        Windows must ascend. A tracklet that goes on keeps its person; the others are assigned one to one at the
        highest total cosine; who is left is new.
        """
        if self._config.ttl_windows is not None:
            self._known = [known for known in self._known if window - known.last_window <= self._config.ttl_windows]
        found = self._recognised(pieces, vectors)
        for row, known in found.items():
            self._remember(known, window, pieces[row], vectors[row])
        is_new = np.zeros(len(pieces), np.bool_)
        left = [row for row in range(len(pieces)) if row not in found]
        for row in sorted(left, key=lambda row: pieces[row].first_frame):
            known_again = self._fragment(pieces, found, row, vectors[row]) if self._config.join_fragments else None
            is_new[row] = known_again is None
            found[row] = known_again or self._meet()
            self._remember(found[row], window, pieces[row], vectors[row])
        return np.array([found[row].person for row in range(len(pieces))], np.int64), is_new

    def _recognised(self, pieces: Sequence[Piece], vectors: Float32) -> dict[int, _Known]:
        """Row of a piece -> its person, for the tracks that go on and for those that are assigned."""
        by_track = {known.track_id: known for known in self._known if known.track_id != NO_TRACK}
        found = {row: by_track[piece.track_id] for row, piece in enumerate(pieces) if piece.track_id in by_track}
        taken = {known.person for known in found.values()}
        free = [known for known in self._known if known.person not in taken]
        rows = [row for row in range(len(pieces)) if row not in found]
        pairs = match(_cosines(vectors[rows], free), self._config.min_cosine)
        return found | {rows[row]: free[col] for row, col in pairs}

    def _fragment(
        self, pieces: Sequence[Piece], found: Mapping[int, _Known], row: int, vector: Float32
    ) -> _Known | None:
        """The most alike person of this window that piece `row` never meets in time, if alike enough."""
        piece = pieces[row]
        here = {known.person for known in found.values()}
        met = {
            known.person
            for other, known in found.items()
            if pieces[other].first_frame <= piece.last_frame and piece.first_frame <= pieces[other].last_frame
        }
        candidates = [known for known in self._known if known.person in here - met]
        pairs = match(_cosines(vector[None], candidates), self._config.min_cosine)
        return candidates[pairs[0][1]] if pairs else None

    def _meet(self) -> _Known:
        known = _Known(self._num_people, deque(maxlen=self._config.num_stored))
        self._known.append(known)
        self._num_people += 1
        return known

    @staticmethod
    def _remember(known: _Known, window: int, piece: Piece, vector: Float32) -> None:
        known.last_window = window
        known.vectors.append(vector)
        if piece.last_frame >= known.last_frame:
            known.last_frame, known.track_id = piece.last_frame, piece.track_id


def match(cosines: Float32, min_cosine: float) -> list[tuple[int, int]]:
    """One-to-one pairs (row, column) of (K, P) cosines that reach `min_cosine`, of the highest total above it."""
    gain = np.where(cosines >= min_cosine, cosines.astype(np.float64) - min_cosine + 1e-9, 0.0)
    rows, cols = linear_sum_assignment(gain, maximize=True)
    return [(int(row), int(col)) for row, col in zip(rows, cols, strict=True) if gain[row, col] > 0]


def _cosines(vectors: Float32, people: Sequence[_Known]) -> Float32:
    """(K, D) unit vectors -> (K, P), the best cosine with any stored vector of each person."""
    if not people:
        return np.zeros((len(vectors), 0), np.float32)
    stored = np.stack([vector for known in people for vector in known.vectors])
    starts = np.cumsum([0, *(len(known.vectors) for known in people[:-1])])
    return np.asarray(np.maximum.reduceat(vectors @ stored.T, starts, axis=1), np.float32)
