"""What the clips of a tick teach: how tracklets and identities look, and what similarities mean on this site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.fusion.changes import Changes
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.store import unit
from pipeline.types import BoolMask, EmbeddedFrame, Float32, Float64, Int64

_SURE_CLIPS = 2  # of a tracklet that later ones may contradict: a single one may be the poor one


@dataclass(frozen=True, slots=True, eq=False)
class _Clips:
    """Clips of tracklets that are in the store (K,), item by item."""

    turn: Int64  # which item they came with, ascending
    slot: Int64
    camid: Int64
    time_s: Float64
    vector: Float32  # (K, D)
    quality: Float32

    def __len__(self) -> int:
        return len(self.slot)

    def __getitem__(self, rows: slice | BoolMask) -> _Clips:
        return _Clips(
            self.turn[rows],
            self.slot[rows],
            self.camid[rows],
            self.time_s[rows],
            self.vector[rows],
            self.quality[rows],
        )


class _Others(NamedTuple):
    """A tracklet of the store as it looks now, and those in view (M,)."""

    slot: int
    vector: Float32  # (D,)
    about: Int64  # their slots
    cosine: Float64
    within: BoolMask  # certainly others, in its camera
    apart: BoolMask  # certainly others, in another one


class Looks:
    """Takes clips in, all of a tick at once, as if their items came one by one."""

    def __init__(self, config: FusionConfig, overlapping: BoolMask, state: FuserState, changes: Changes) -> None:
        """overlapping: (C, C) which cameras look at one place."""
        self._config = config
        self._overlapping = overlapping
        self._store = state.store
        self._gallery = state.gallery
        self._floor = state.floor
        self._calibration = state.calibration
        self._reranking = state.reranking
        self._changes = changes

    def follow(self, overlapping: BoolMask) -> None:
        """There are more cameras, of which these pairs look at one place."""
        self._overlapping = overlapping

    def learn(self, items: Sequence[EmbeddedFrame], since_s: float) -> list[int]:
        """Clips of the items improve tracklets, identities and the calibration -> identities that have changed.

        since_s: who was seen since then is in view.
        """
        rest, changed = self._known(items), set[int]()
        while len(rest):
            num = self._take(rest[: _num_without_repeats(rest)], since_s, changed)
            rest = rest[num:]
        return sorted(changed)

    def _known(self, items: Sequence[EmbeddedFrame]) -> _Clips:
        """The clips of tracklets that are in the store."""
        with_clips = [(turn, item) for turn, item in enumerate(items) if len(item.embeddings)]
        num = [len(item.embeddings) for _, item in with_clips]
        slot_of = self._store.slot_of
        slots = [slot_of(item.camid, tid) for _, item in with_clips for tid in item.embeddings.track_id.tolist()]
        clips = _Clips(
            np.repeat(np.array([turn for turn, _ in with_clips], np.int64), num),
            np.array(slots, np.int64),
            np.repeat(np.array([item.camid for _, item in with_clips], np.int64), num),
            np.repeat(np.array([item.time_s for _, item in with_clips]), num),
            np.concatenate([np.zeros((0, self._store.dim), np.float32), *(i.embeddings.vector for _, i in with_clips)]),
            np.concatenate([np.zeros(0, np.float32), *(item.embeddings.quality for _, item in with_clips)]),
        )
        return clips[clips.slot >= 0]

    def _take(self, clips: _Clips, since_s: float, changed: set[int]) -> int:
        """Take in the items, of which no two show one tracklet, up to one that changes who tracklets are; at least one
        -> how many clips that were."""
        stop = self._teach(clips, since_s)
        if stop:
            self._enter(clips[:stop], changed)
            return stop
        stop = int(np.searchsorted(clips.turn, clips.turn[0], side="right"))
        fits = self._split(clips[:stop])
        self._teach(fits, since_s, judged=True)
        self._enter(fits, changed)
        return stop

    def _teach(self, clips: _Clips, since_s: float, *, judged: bool = False) -> int:
        """The calibration learns from items up to the first that shows somebody else than a tracklet did so far -> how
        many clips they have. judged: nobody else is shown."""
        if not len(clips):
            return 0
        store, calibration = self._store, self._calibration
        own, first, own_of = np.unique(clips.slot, return_index=True, return_inverse=True)
        sums = store.vector_sum[own]
        alike = np.einsum("kd,kd->k", clips.vector, unit(sums)[own_of]).astype(np.float64)
        np.add.at(sums, own_of, clips.vector * clips.quality[:, None])
        again = store.num_clips[clips.slot] > 0
        doubtful = self._doubtful(clips) & (not judged)
        others = self._others(own, clips.turn[first], unit(sums), since_s)
        ends = (np.flatnonzero(np.diff(clips.turn, append=-1)) + 1).tolist()
        start = 0
        for end in ends:
            if doubtful[start:end].any() and self._slipped(clips[start:end], alike[start:end]).any():
                break
            calibration.same.update(alike[start:end][again[start:end]], float(again[start:end].sum()))
            told = others[int(clips.turn[start])]
            for one in told:
                calibration.differ(one.cosine[one.within], one.cosine[one.apart])
            if self._reranking.active:
                self._rerank(clips[start:end], alike[start:end], again[start:end], told)
            start = end
        return start

    def _rerank(self, clips: _Clips, alike: Float64, again: BoolMask, told: Sequence[_Others]) -> None:
        """What the clips of an item teach of k-reciprocal similarity."""
        store, reranking = self._store, self._reranking
        for row in np.flatnonzero(again).tolist():
            reranking.learn_same(int(clips.slot[row]), clips.vector[row], float(alike[row]))
        for one in told:
            reranking.put(one.slot, int(store.camid[one.slot]), int(store.global_id[one.slot]), one.vector)
        for one in told:
            sure = one.within | one.apart
            about = one.about[sure], one.cosine[sure]
            reranking.learn_different(one.slot, *about, one.within[sure], one.apart[sure])

    def _others(self, own: Int64, turn: Int64, vectors: Float32, since_s: float) -> dict[int, list[_Others]]:
        """Of tracklets (N,), ascending, that look like `vectors` (N, D) after their turn: by turn, for each of them
        those in view by then."""
        store, camid = self._store, self._store.camid
        about = store.slots()
        about = about[store.last_s[about] >= since_s]
        cosine = vectors @ store.vectors(about).T
        counts = np.repeat(store.num_clips[about][None] > 0, len(own), axis=0)
        place = np.minimum(np.searchsorted(about, own), len(about) - 1)
        here = np.flatnonzero(about[place] == own) if len(about) else place[:0]
        by_then = turn[here] <= turn[:, None]
        cosine[:, place[here]] = np.where(by_then, vectors @ vectors[here].T, cosine[:, place[here]])
        counts[:, place[here]] |= by_then
        counts[here, place[here]] = False
        within = camid[own][:, None] == camid[about]
        apart = ~within & ~self._overlapping[camid[own][:, None], camid[about]]
        if self._floor.active:
            odds_s, _, seen_s = self._floor.pairs(own, about)
            apart |= ~within & (self._floor.log_odds(odds_s, seen_s) < -self._config.floor_max_looks)
        samples = cosine.astype(np.float64)
        within, apart = within & counts, apart & counts
        told: dict[int, list[_Others]] = {}
        for one, (when, slot) in enumerate(zip(turn.tolist(), own.tolist(), strict=True)):
            others = _Others(slot, vectors[one], about, samples[one], within[one], apart[one])
            told.setdefault(when, []).append(others)
        return told

    def _doubtful(self, clips: _Clips) -> BoolMask:
        """(K,) which clips may show another person than their tracklets did so far."""
        num_clips, global_id = self._store.num_clips[clips.slot], self._store.global_id[clips.slot]
        return np.asarray((num_clips >= _SURE_CLIPS) & (global_id > 0), np.bool_)

    def _slipped(self, clips: _Clips, alike: Float64) -> BoolMask:
        """(K,) which clips show another person than their tracklets did so far."""
        unlike = self._calibration.log_odds(alike, across=False) <= self._config.slip_log_odds
        return np.asarray(unlike & self._doubtful(clips), np.bool_)

    def _split(self, clips: _Clips) -> _Clips:
        """Tracklets split where clips, of one item, show somebody else than before -> the other clips.

        If one was not seen since its last clip, nothing is left to split off, and the clip is of no use.
        """
        store = self._store
        alike = np.einsum("kd,kd->k", clips.vector, store.vectors(clips.slot)).astype(np.float64)
        slipped = self._slipped(clips, alike)
        for row in np.flatnonzero(slipped & (store.last_s[clips.slot] > store.clip_s[clips.slot])).tolist():
            slot = int(clips.slot[row])
            if store.num_clips[slot] >= _SURE_CLIPS:  # two clips of a tracklet may come at once
                self._changes.slip(slot, clips.vector[row], float(clips.quality[row]))
        return clips[~slipped]

    def _enter(self, clips: _Clips, changed: set[int]) -> None:
        """The clips join their tracklets, and the identities that these are."""
        self._store.add_vectors(clips.slot, clips.vector, clips.quality, clips.time_s)
        global_ids, camids = self._store.global_id[clips.slot].tolist(), clips.camid.tolist()
        weighted = clips.vector * clips.quality[:, None]
        for row, gid in enumerate(global_ids):
            if gid:
                self._gallery.add(gid, camids[row], weighted[row], float(clips.quality[row]))
                changed.add(gid)


def _num_without_repeats(clips: _Clips) -> int:
    """How many clips come before an item that shows a tracklet which an earlier one has shown."""
    seen: dict[int, int] = {}
    for row, (slot, turn) in enumerate(zip(clips.slot.tolist(), clips.turn.tolist(), strict=True)):
        if seen.setdefault(slot, turn) != turn:
            return int(np.searchsorted(clips.turn, clips.turn[row]))
    return len(clips)
