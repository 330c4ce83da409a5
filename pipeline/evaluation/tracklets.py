"""The same tracklets under other identities, to tell what tracking gives from what association gives."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.clear import NONE, clear_matches
from pipeline.evaluation.overlaps import overlaps
from pipeline.evaluation.tables import TrackTable, numbered


def no_association(pred: TrackTable) -> TrackTable:
    """Each tracklet its own identity: what the trackers alone know."""
    return pred.with_identity(numbered(pred.camid, pred.track_id) + 1)


def true_association(truth: TrackTable, pred: TrackTable, iou: float = 0.5) -> TrackTable:
    """Each tracklet under the person it matches in the most frames (CLEAR matching, ties to the lower id).

    A tracklet that matches nobody keeps an identity of its own. What a perfect association of these tracklets would
    write, hence the ceiling for every association on top of the same tracker.
    """
    own = no_association(pred)
    tracklets, persons = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for camera in truth.cameras:
        pairs = overlaps(truth.of_camera(camera), own.of_camera(camera))
        match = clear_matches(pairs, iou)
        matched = np.flatnonzero(match != NONE)
        tracklets.append(pairs.pred_id[pairs.pred_row[match[matched]]])
        persons.append(pairs.truth_id[matched])
    tracklet, person = np.concatenate(tracklets), np.concatenate(persons)
    _, row, count = np.unique(numbered(tracklet, person), return_index=True, return_counts=True)
    row = row[np.lexsort((person[row], -count, tracklet[row]))]
    tracklet, first = np.unique(tracklet[row], return_index=True)
    beyond = int(truth.identity.max(initial=0))
    named = np.arange(int(own.identity.max(initial=0)) + 1) + beyond  # own identities, above all true ones
    named[tracklet] = person[row[first]]
    return pred.with_identity(named[own.identity])
