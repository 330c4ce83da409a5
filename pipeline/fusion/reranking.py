"""k-reciprocal similarity as evidence of looks: two who are one person are near to the same others (`rerank`).

What counts is (1 - share) * cosine + share * k-reciprocal similarity (Zhong et al., CVPR 2017, eq. 12), of which the
meaning is learned as that of the cosine: people seen at one moment in one camera are certain negatives, a clip and the
earlier clips of its tracklet certain positives. The two say much the same, so their log-odds must not be added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.distances import CosineDistances
from pipeline.fusion.neighbourhoods import Neighbourhoods
from pipeline.fusion.rerank import describe, jaccard_distance, nearest
from pipeline.types import BoolMask, Float32, Float64, Int64

_CAPACITY = 4096  # tracklets among which neighbours are sought, the newest
_MOST = 12  # of them for each identity, the newest
_SHARE = 5  # a list of neighbours holds at most such a part of all tracklets: of few, all are near to all
_LEAST = 30  # tracklets from which on neighbours mean anything
_DIFFERENT = (0.1, 0.1)  # expected k-reciprocal similarity of two people, mean and standard deviation
_SAME = (0.8, 0.2)  # of a clip and its tracklet
_PRIOR = 10.0  # tracklets that all cameras together count as where it is asked how looks in one camera are
_MEMORY = 200.0  # tracklets' looks over which that is averaged
_CLIP = -1  # the name of a clip while it is compared with its tracklet


def depth(num_items: int, num_neighbours: int) -> tuple[int, int]:
    """k1 and k2 of a set of so many items."""
    k1 = int(np.clip(num_items // _SHARE, 2, max(num_neighbours, 2)))
    return k1, max(1, k1 // 3)


def mixed_calibration(config: FusionConfig) -> SimilarityCalibration:
    """What mixed similarities are expected to be, until the site has taught better."""
    share = config.reranking

    def mixed(name: str, kind: str, value: float) -> dict[str, float]:
        return {f"{name}_{kind}": (1 - share) * float(getattr(config, f"{name}_{kind}")) + share * value}

    prior = mixed("different", "mean", _DIFFERENT[0]) | mixed("different", "std", _DIFFERENT[1])
    prior |= mixed("same", "mean", _SAME[0]) | mixed("same", "std", _SAME[1])
    return SimilarityCalibration(config.model_copy(update=prior))


class Reranking:
    """The newest tracklets and their neighbours, by slot of the store or by identity. Does nothing at a share of 0."""

    def __init__(self, config: FusionConfig, dim: int, capacity: int = _CAPACITY) -> None:
        self.share = config.reranking
        self.active = self.share > 0
        self.calibration = mixed_calibration(config)
        self._most_neighbours = config.reranking_neighbours
        self._capacity = capacity
        k1, k2 = depth(capacity, config.reranking_neighbours)
        self._near = Neighbourhoods(dim, k1=k1, k2=k2, capacity=capacity + 2)
        self._next = 0
        self._name: dict[int, int] = {}  # by slot of the store; the item itself may have gone
        self._place: dict[int, tuple[int, int]] = {}  # camid and identity (0: nobody yet) by name, the oldest first
        self._items: dict[int, list[int]] = {}  # by identity, the oldest first
        self._usual = UsualLooks(dim)

    def __len__(self) -> int:
        """How many tracklets are remembered."""
        return len(self._place)

    def put(self, slot: int, camid: int, global_id: int, vector: Float32) -> None:
        """A tracklet of the store looks like this (D,) now."""
        if not self.active:
            return
        self._usual.see(camid, vector)
        vector = self._usual.without(camid, vector)
        name = self._name.get(slot, -1)
        if name in self._place:
            self._near.put(name, vector)
            return
        if len(self._place) >= self._capacity:
            self._drop(next(iter(self._place)))
        name = self._name[slot] = self._next
        self._next += 1
        self._place[name] = camid, 0
        self._near.put(name, vector)
        if global_id:
            self.wear(slot, global_id)

    def wear(self, slot: int, global_id: int) -> None:
        """The tracklet belongs to an identity."""
        name = self._name.get(slot, -1)
        if self.active and name in self._place:
            self._place[name] = self._place[name][0], global_id
            self._keep(global_id, [*self._items.get(global_id, ()), name])

    def leave(self, slot: int) -> None:
        """The slot of the store shows somebody else from now on; its tracklet stays with its identity."""
        name = self._name.pop(slot, -1)
        if name in self._place and not self._place[name][1]:
            self._drop(name)

    def merge(self, kept_id: int, gone_id: int) -> None:
        """All tracklets of `gone_id` become those of `kept_id`."""
        moved = self._items.pop(gone_id, [])
        for name in moved:
            self._place[name] = self._place[name][0], kept_id
        if moved:
            self._keep(kept_id, [*self._items.get(kept_id, ()), *moved])

    def close(self, global_id: int) -> None:
        """Nobody joins this identity any more."""
        for name in list(self._items.get(global_id, ())):
            self._drop(name)

    def of_slots(self, slots: Int64) -> tuple[Int64, Int64]:
        """-> items (I,) of tracklets of the store, owner (I,): their place in `slots`."""
        held = [(self._name[s], at) for at, s in enumerate(slots.tolist()) if self._name.get(s, -1) in self._place]
        return _columns(held)

    def of_identities(self, global_ids: Sequence[int]) -> tuple[Int64, Int64]:
        """-> items (I,) of identities, owner (I,): their place in `global_ids`."""
        return _columns([(name, at) for at, gid in enumerate(global_ids) for name in self._items.get(gid, ())])

    def between(
        self, one: tuple[Int64, Int64], other: tuple[Int64, Int64], shape: tuple[int, int]
    ) -> tuple[Float64, Float64]:
        """Mean k-reciprocal similarity of owners: of their tracklets in different cameras, and in one camera.

        one, other: items and their owners, as above. Each (R, C), NaN where there are none.
        """
        means = np.full((2, *shape), np.nan)
        if not len(one[0]) or not len(other[0]) or not self._enough:
            return means[0], means[1]
        similar = self._similarity(one[0].tolist(), other[0].tolist())
        camid = [np.array([self._place[name][0] for name in side[0].tolist()]) for side in (one, other)]
        place = one[1][:, None] * shape[1] + other[1]
        different_items = one[0][:, None] != other[0]
        for here in (0, 1):
            wanted = ((camid[0][:, None] == camid[1]) == bool(here)) & different_items
            count = np.bincount(place[wanted], minlength=shape[0] * shape[1])
            total = np.bincount(place[wanted], similar[wanted], shape[0] * shape[1])
            with np.errstate(invalid="ignore"):
                means[here] = (total / count).reshape(shape)
        return means[0], means[1]

    def learn_different(self, slot: int, others: Int64, cosine: Float64, within: BoolMask, apart: BoolMask) -> None:
        """A tracklet is not any of the others (N,): these in its camera, those in other cameras."""
        items, at = self.of_slots(others)
        own, _ = self.of_slots(np.array([slot]))
        if not self._enough or not len(items) or not len(own):
            return
        mixed = self.mix(cosine[at], self._similarity(own.tolist(), items.tolist())[0])
        self.calibration.differ(mixed[within[at]], mixed[apart[at]])

    def learn_same(self, slot: int, vector: Float32, cosine: float) -> None:
        """A clip (D,) shows the person of a tracklet, of which it is not yet a part."""
        own, _ = self.of_slots(np.array([slot]))
        if self._enough and len(own):
            self._near.put(_CLIP, self._usual.without(self._place[int(own[0])][0], vector))
            mixed = self.mix(np.array([cosine]), self._similarity([_CLIP], own.tolist())[0])
            self._near.remove(_CLIP)
            self.calibration.same.update(mixed, 1.0)

    def mix(self, cosine: Float64, similar: Float64) -> Float64:
        """What counts of two looks."""
        return mix(cosine, similar, self.share)

    @property
    def _enough(self) -> bool:
        return len(self._place) >= _LEAST

    def _similarity(self, names: list[int], others: list[int]) -> Float64:
        return self._near.similarities(names, others, depth(len(self._near), self._most_neighbours))

    def _keep(self, global_id: int, names: list[int]) -> None:
        names.sort()
        self._items[global_id] = names
        for name in names[:-_MOST]:
            self._drop(name)

    def _drop(self, name: int) -> None:
        _, gid = self._place.pop(name)
        self._near.remove(name)
        if gid:
            self._items[gid].remove(name)
            if not self._items[gid]:
                del self._items[gid]


class UsualLooks:
    """What people look like in each camera: light and place make all who are seen by one look more alike.

    Without that the nearest of a tracklet are other people in the same camera, and not the person in others.
    """

    def __init__(self, dim: int) -> None:
        self._all: Float64 = np.zeros(dim)
        self._sum: dict[int, Float64] = {}  # of the last `_MEMORY` looks, by camera
        self._count: dict[int, float] = {}
        self._num_all = 0.0

    def see(self, camid: int, vector: Float32) -> None:
        """Somebody looks like this (D,)."""
        fade = 1 - 1 / _MEMORY
        self._num_all = fade * self._num_all + 1
        self._all = fade * self._all + vector
        self._sum[camid] = fade * self._sum.get(camid, np.zeros(len(self._all))) + vector
        self._count[camid] = fade * self._count.get(camid, 0.0) + 1

    def without(self, camid: int, vector: Float32) -> Float32:
        """(D,) of unit norm: how a look differs from the usual one of its camera."""
        usual = self._all / (self._num_all + _PRIOR)
        usual = (self._sum.get(camid, 0.0) + _PRIOR * usual) / (self._count.get(camid, 0.0) + _PRIOR)
        own = vector - usual
        return np.asarray(own / max(float(np.linalg.norm(own)), 1e-12), np.float32)


def without_camera(vector: Float32, camid: Int64) -> Float32:
    """The same of all looks (N, D) at once, by what is usual among them."""
    usual = vector.sum(axis=0, dtype=np.float64) / (len(vector) + _PRIOR)
    own = vector.astype(np.float64)
    for each in np.unique(camid).tolist():
        there = camid == each
        own[there] -= (vector[there].sum(axis=0, dtype=np.float64) + _PRIOR * usual) / (there.sum() + _PRIOR)
    return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12), np.float32)


def mix(cosine: Float64, similar: Float64, share: float) -> Float64:
    """(1 - share) * cosine + share * k-reciprocal similarity."""
    return np.asarray((1 - share) * cosine + share * similar, np.float64)


def counts(config: FusionConfig, vector: Float32) -> bool:
    """Whether looks of so many tracklets (N, D), zero where there is no clip, are compared by their neighbours too."""
    return config.reranking > 0 and int(np.any(vector != 0, axis=1).sum()) >= _LEAST


def described(vector: Float32, camid: Int64, num_neighbours: int) -> Any:
    """The neighbourhoods of vectors (N, D) of cameras (N,), sparse (N, N); a row is empty where a vector is zero."""
    looks = np.flatnonzero(np.any(vector != 0, axis=1))
    k1, k2 = depth(len(looks), num_neighbours)
    distances = CosineDistances(without_camera(vector[looks], camid[looks]))
    weights = sparse.coo_array(describe(distances, nearest(distances, max(k1 + 1, k2)), k1, k2))
    place = looks[weights.row], looks[weights.col]
    return sparse.csr_array((weights.data, place), shape=(len(vector), len(vector)))


def similarity_of(neighbourhoods: Any) -> Float64:
    """(R, R) k-reciprocal similarity of rows of `described`."""
    return np.asarray(1.0 - jaccard_distance(neighbourhoods, neighbourhoods), np.float64)


def _columns(held: list[tuple[int, int]]) -> tuple[Int64, Int64]:
    table = np.array(held, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
