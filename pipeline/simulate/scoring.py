"""How right identities are, by tracklets and their time in view, without comparing boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.simulate.detecting import NOBODY
from pipeline.simulate.run import SiteRun
from pipeline.types import Event, Float64, Int64


@dataclass(frozen=True)
class IdentityScore:
    """Seconds under the one mapping of people to identities that explains the most of them, over all cameras."""

    right_s: float
    missed_s: float  # of people, not explained
    false_s: float  # of tracklets, not explained
    num_people: int  # who were seen
    num_identities: int
    pair_precision: float  # of pairs of tracklets under one identity, how many show one person
    pair_recall: float  # of pairs of tracklets of one person, how many have one identity

    @property
    def idf1(self) -> float:
        both = 2 * self.right_s + self.missed_s + self.false_s
        return 2 * self.right_s / both if both else 1.0


def score_identities(
    run: SiteRun, given: Mapping[tuple[int, int], int], *, from_s: float = 0.0, count_unseen: bool = False
) -> IdentityScore:
    """Score identities `given` by (camid, track_id); a tracklet without one has one of its own.

    Every box of a tracklet weighs its frame's time. Boxes count for who is in them, so a tracklet in which ids were
    swapped can not be all right. Only boxes from `from_s` on count. With `count_unseen` the boxes that the detector
    and the tracker missed count as missed too, as they do for `evaluate`; without, the score is of the association
    alone and near 1 where it is perfect.
    """
    boxes, tracklets, truth = run.boxes, run.tracklets, run.truth
    per_frame_s = np.array([1.0 / camera.fps for camera in run.site.cameras])
    keys = zip(tracklets.camid.tolist(), tracklets.track_id.tolist(), strict=True)
    gid = np.array([given.get(key, -1 - k) for k, key in enumerate(keys)], np.int64)
    names, gid = np.unique(gid, return_inverse=True)
    counted = boxes.time_s >= from_s
    weight = per_frame_s[boxes.camid] * counted
    is_true = boxes.pid != NOBODY
    right = _most_explained(boxes.pid[is_true], gid[boxes.tracklet[is_true]], weight[is_true], len(names))
    true_s = float(weight[is_true].sum())
    if count_unseen:
        true_s = float((per_frame_s[truth.camid] * (truth.time_s >= from_s)).sum())
    whole = np.unique(boxes.tracklet[counted])
    precision, recall = _pairs(tracklets.pid[whole], gid[whole])
    return IdentityScore(
        right_s=right,
        missed_s=true_s - right,
        false_s=float(weight.sum()) - right,
        num_people=len(np.unique(boxes.pid[is_true & counted])),
        num_identities=len(np.unique(gid[whole])),
        pair_precision=precision,
        pair_recall=recall,
    )


def final_identities(events: Iterable[Event]) -> dict[tuple[int, int], int]:
    """What a fuser's events, in their order, come to: (camid, track_id) -> global_id, for `score_identities`.

    A tracklet that was split counts for the identity that it had last.
    """
    given: dict[tuple[int, int], int] = {}
    members: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for event in events:
        if event.kind == "merge":
            moved = members.pop(event.other_id, set())
            members[event.global_id] |= moved
            given.update(dict.fromkeys(moved, event.global_id))
        elif event.kind in ("create", "link", "split"):
            key = event.camid, event.track_id
            members[given.get(key, event.global_id)].discard(key)
            members[event.global_id].add(key)
            given[key] = event.global_id
    return given


def _most_explained(pid: Int64, gid: Int64, weight: Float64, num_gids: int) -> float:
    """Greatest weight on a one-to-one mapping of pids to gids, part by part of the graph that they span."""
    if not len(pid):
        return 0.0
    cell, place = np.unique(pid * num_gids + gid, return_inverse=True)
    total = np.bincount(place, weight)
    who, what = np.divmod(cell, num_gids)
    people, row = np.unique(who, return_inverse=True)
    identities, col = np.unique(what, return_inverse=True)
    size = len(people) + len(identities)
    graph = coo_matrix((np.ones(len(cell)), (row, len(people) + col)), shape=(size, size))
    part = connected_components(graph, directed=False)[1][row]
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.diff(part[order], prepend=-1))
    sum_right = 0.0
    for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        cells = order[begin:end]
        if len(cells) == 1:
            sum_right += float(total[cells[0]])
            continue
        rows, r = np.unique(row[cells], return_inverse=True)
        cols, c = np.unique(col[cells], return_inverse=True)
        table = np.zeros((len(rows), len(cols)))
        table[r, c] = total[cells]
        sum_right += float(table[linear_sum_assignment(table, maximize=True)].sum())
    return sum_right


def _pairs(pid: Int64, gid: Int64) -> tuple[float, float]:
    """Precision and recall of pairs of tracklets; those of nobody are nobody's pair."""
    own = np.where(pid == NOBODY, -2 - np.arange(len(pid)), pid)

    def pairs(*columns: Int64) -> float:
        count = np.unique(np.stack(columns), axis=1, return_counts=True)[1].astype(np.float64)
        return float((count * (count - 1) / 2).sum())

    if not len(pid):
        return 1.0, 1.0
    both, same_gid, same_pid = pairs(own, gid), pairs(gid), pairs(own)
    return (both / same_gid if same_gid else 1.0), (both / same_pid if same_pid else 1.0)
