"""From detections to tracklets as a tracker of one camera gives them: whole ones, or cut, swapped and false ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.simulate.detecting import NOBODY, Crowding, DetectionRows, random_boxes
from pipeline.simulate.faults import is_sent
from pipeline.simulate.graph import Site
from pipeline.simulate.noise import TrackerNoise
from pipeline.simulate.truth import TruthTracks, num_frames
from pipeline.types import BoolMask, Float32, Float64, Int64, RowIndex

_FALSE_MEAN_S = 2.0


@dataclass(frozen=True, eq=False)
class Boxes:
    """R boxes of tracklets, tracklet by tracklet: by (camid, track_id), then time."""

    camid: Int64  # (R,)
    frame_idx: Int64  # (R,)
    time_s: Float64  # (R,) true time
    track_id: Int64  # (R,) >= 1, in the order of appearance in the camera
    pid: Int64  # (R,) who is in this box, NOBODY for a false one
    visit: Int64  # (R,) which visit of theirs it is, counted from 0
    xyxy: Float32  # (R, 4)
    score: Float32  # (R,)
    tracklet: Int64  # (R,) row of Tracklets

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: RowIndex) -> Boxes:
        return Boxes(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Tracklets:
    """K tracklets by (camid, track_id)."""

    camid: Int64  # (K,)
    track_id: Int64  # (K,)
    pid: Int64  # (K,) who is in most of its boxes, NOBODY where that is nobody
    first_row: Int64  # (K,) of Boxes
    num_boxes: Int64  # (K,)
    first_s: Float64  # (K,) true times
    last_s: Float64  # (K,)

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.camid)


def track(
    site: Site, truth: TruthTracks, found: DetectionRows, crowd: Crowding, seconds: float, rng: np.random.Generator
) -> tuple[Boxes, Tracklets]:
    """Tracklets of what was found of people, and false ones. Faults of the tracker as in `site.noise.tracker`."""
    noise = site.noise.tracker
    labels, lost = _labels(truth, crowd, noise, rng)
    people = found[found.truth_row != NOBODY]
    people = people[~lost[people.truth_row]]
    row = people.truth_row
    label = labels[row]
    boxes = Boxes(
        camid=people.camid,
        frame_idx=people.frame_idx,
        time_s=truth.time_s[row],
        track_id=label,
        pid=truth.pid[row],
        visit=truth.visit[row],
        xyxy=people.xyxy,
        score=people.score,
        tracklet=label,
    )
    boxes = boxes[np.lexsort((boxes.time_s, label))]
    boxes = _split_where_lost(boxes, noise.max_lost_s)
    boxes = _join(boxes, _false_tracklets(site, seconds, rng, first_label=int(boxes.track_id.max(initial=-1)) + 1))
    return _numbered(boxes, noise.min_boxes)


def _labels(
    truth: TruthTracks, crowd: Crowding, noise: TrackerNoise, rng: np.random.Generator
) -> tuple[Int64, BoolMask]:
    """(R,) a label for every true box: one per camera and visit, another from where it is cut, and those of two
    visits change places from where they are swapped. And (R,) whether the box is lost right after a cut."""
    key = truth.camid * (int(truth.visit_row.max(initial=0)) + 1) + truth.visit_row
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    stretch = np.cumsum(np.diff(key, prepend=-1) != 0) - 1
    lengths = np.diff(starts, append=len(truth))
    events: list[tuple[float, int, int, int]] = []  # time_s, 0 cut or 1 swap, row, row of the other
    is_cut = (rng.random(len(starts)) < noise.cut_probability) & (lengths >= 6)
    place = (0.2 + 0.6 * rng.random(len(starts))) * lengths
    lost = np.zeros(len(truth), np.bool_)
    gap_s = rng.exponential(noise.cut_gap_s, len(starts)) if noise.cut_gap_s else np.zeros(len(starts))
    for s in np.flatnonzero(is_cut).tolist():
        at, end = int(starts[s] + place[s]), int(starts[s] + lengths[s])
        events.append((float(truth.time_s[at]), 0, at, at))
        lost[at : at + int(np.searchsorted(truth.time_s[at:end], truth.time_s[at] + gap_s[s]))] = True
    pair = stretch[crowd.first] * len(starts) + stretch[crowd.second]
    _, meeting = np.unique(pair, return_index=True)
    for k in meeting[rng.random(len(meeting)) < noise.swap_probability].tolist():
        a, b = sorted((int(crowd.first[k]), int(crowd.second[k])))
        events.append((float(truth.time_s[a]), 1, a, b))
    changes: dict[int, list[tuple[int, int]]] = defaultdict(list)  # stretch -> (row from which on, label)
    now = np.arange(len(starts))
    num_labels = len(starts)
    for _, kind, a, b in sorted(events):
        one, two = int(stretch[a]), int(stretch[b])
        if kind == 0:
            now[one], num_labels = num_labels, num_labels + 1
        else:
            now[one], now[two] = now[two], now[one]
            changes[two].append((b, int(now[two])))
        changes[one].append((a, int(now[one])))
    label = stretch.copy()
    for s, steps in changes.items():
        for from_row, to_label in steps:
            label[from_row : starts[s] + lengths[s]] = to_label
    return label, lost


def _split_where_lost(boxes: Boxes, max_lost_s: float) -> Boxes:
    """New labels, so that no label goes on after a gap that is longer than `max_lost_s`."""
    new = (np.diff(boxes.track_id, prepend=-1) != 0) | (np.diff(boxes.time_s, prepend=-np.inf) > max_lost_s)
    return replace(boxes, track_id=np.cumsum(new) - 1)


def _join(one: Boxes, two: Boxes) -> Boxes:
    return Boxes(*(np.concatenate([getattr(one, f.name), getattr(two, f.name)]) for f in fields(Boxes)))


def _false_tracklets(site: Site, seconds: float, rng: np.random.Generator, first_label: int) -> Boxes:
    """Tracklets of something that is no person and stands still."""
    parts: list[Boxes] = [_empty()]
    label = first_label
    for camid, camera in enumerate(site.cameras):
        count = int(rng.poisson(site.noise.tracker.false_per_min * seconds / 60))
        begin_s = np.sort(rng.uniform(0, seconds, count))
        lasts_s = 0.5 + rng.exponential(_FALSE_MEAN_S, count)
        last = num_frames(camera, seconds) - 1
        for k in range(count):
            first, end = np.ceil(begin_s[k] * camera.fps), np.floor((begin_s[k] + lasts_s[k]) * camera.fps)
            frame = np.arange(int(first), int(min(end, last)) + 1)
            frame = frame[is_sent(site.faults, camera.id, frame / camera.fps)]
            time_s = frame / camera.fps
            xyxy = np.repeat(random_boxes(site, camid, time_s[:1], rng), len(frame), axis=0)
            score = np.full(len(frame), rng.uniform(0.4, 0.7), np.float32)
            parts.append(
                Boxes(
                    camid=np.full(len(frame), camid),
                    frame_idx=frame,
                    time_s=time_s,
                    track_id=np.full(len(frame), label),
                    pid=np.full(len(frame), NOBODY),
                    visit=np.zeros(len(frame), np.int64),
                    xyxy=xyxy,
                    score=score,
                    tracklet=np.full(len(frame), label),
                )
            )
            label += 1
    return Boxes(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Boxes)))


def _empty() -> Boxes:
    none, nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return Boxes(
        camid=none,
        frame_idx=none,
        time_s=np.zeros(0),
        track_id=none,
        pid=none,
        visit=none,
        xyxy=nothing.reshape(0, 4),
        score=nothing,
        tracklet=none,
    )


def _numbered(boxes: Boxes, min_boxes: int) -> tuple[Boxes, Tracklets]:
    """Labels become track ids in the order of appearance in their camera; too short tracklets are left out."""
    _, label, count = np.unique(boxes.track_id, return_inverse=True, return_counts=True)
    boxes, label = boxes[count[label] >= min_boxes], label[count[label] >= min_boxes]
    if not len(boxes):
        none = np.zeros(0, np.int64)
        return _empty(), Tracklets(none, none, none, none, none, np.zeros(0), np.zeros(0))
    order = np.lexsort((boxes.time_s, label))
    boxes, label = boxes[order], label[order]
    starts = np.flatnonzero(np.diff(label, prepend=-1))
    number = np.arange(len(starts))[np.cumsum(np.diff(label, prepend=-1) != 0) - 1]
    rank = np.lexsort((number[starts], boxes.time_s[starts], boxes.camid[starts]))  # tracklets in their final order
    place = np.argsort(rank)
    order = np.argsort(place[number], kind="stable")
    boxes, tracklet = boxes[order], place[number][order]
    first = np.flatnonzero(np.diff(tracklet, prepend=-1))
    num_boxes = np.diff(first, append=len(tracklet))
    camid = boxes.camid[first]
    per_camera = np.searchsorted(camid, np.arange(int(camid.max()) + 1))
    track_id = np.arange(len(first)) - per_camera[camid] + 1
    whole = replace(boxes, track_id=track_id[tracklet], tracklet=tracklet)
    last = first + num_boxes - 1
    pid = _mostly(tracklet, boxes.pid, len(first))
    return whole, Tracklets(camid, track_id, pid, first, num_boxes, boxes.time_s[first], boxes.time_s[last])


def _mostly(tracklet: Int64, pid: Int64, num_tracklets: int) -> Int64:
    """(K,) the most frequent pid of every tracklet, ties to the lower."""
    width = int(pid.max()) + 2
    cell, count = np.unique(tracklet * width + pid + 1, return_counts=True)
    row, who = np.divmod(cell, width)
    order = np.lexsort((who, -count, row))
    first = np.unique(row[order], return_index=True)[1]
    chosen = np.full(num_tracklets, NOBODY, np.int64)
    chosen[row[order][first]] = who[order][first] - 1
    return chosen
