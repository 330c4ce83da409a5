"""From the truth to what a detector finds: misses, also for a while, false boxes, jitter."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipeline.simulate.faults import is_sent, scale_at
from pipeline.simulate.graph import Site
from pipeline.simulate.truth import TruthTracks, num_frames
from pipeline.types import BoolMask, Float32, Float64, Int64, RowIndex

NOBODY = -1
_LEAST_SIDE_PX = 4.0


@dataclass(frozen=True, eq=False)
class DetectionRows:
    """N boxes that detectors found, those of people in the order of the truth, then false ones by camera and frame."""

    camid: Int64  # (N,)
    frame_idx: Int64  # (N,)
    xyxy: Float32  # (N, 4)
    score: Float32  # (N,)
    truth_row: Int64  # (N,) row of TruthTracks, NOBODY for a false box

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: RowIndex) -> DetectionRows:
        return DetectionRows(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Crowding:
    """Who hides whom."""

    covered: Float32  # (R,) share of each true box that the most covering nearer one hides
    first: Int64  # (K,) truth rows of pairs of people in one frame whose boxes overlap by at least `iou` ...
    second: Int64  # (K,) ... of IoU, one row for each such frame


def crowding(truth: TruthTracks, iou: float) -> Crowding:
    """Compare the boxes of every frame with each other; whose feet are lower in the picture stands nearer."""
    order = np.lexsort((truth.frame_idx, truth.camid))
    camid, frame, xyxy = truth.camid[order], truth.frame_idx[order], truth.xyxy[order]
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    covered = np.zeros(len(order), np.float32)
    pairs: list[tuple[Int64, Int64]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    rows = np.arange(len(order))
    for step in range(1, len(order)):
        rows = rows[rows + step < len(order)]
        other = rows + step
        same = (camid[rows] == camid[other]) & (frame[rows] == frame[other])
        rows, other = rows[same], other[same]
        if not len(rows):
            break
        a, b = xyxy[rows], xyxy[other]
        shared = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
        a_behind = a[:, 3] <= b[:, 3]
        np.maximum.at(covered, rows, np.where(a_behind, shared / np.maximum(area[rows], 1e-6), 0))
        np.maximum.at(covered, other, np.where(a_behind, 0, shared / np.maximum(area[other], 1e-6)))
        close = shared >= iou * (area[rows] + area[other] - shared)
        pairs.append((order[rows[close]], order[other[close]]))
    in_order = np.zeros(len(order), np.float32)
    in_order[order] = covered
    return Crowding(in_order, np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs]))


def detect(site: Site, truth: TruthTracks, covered: Float32, seconds: float, rng: np.random.Generator) -> DetectionRows:
    """What the detectors find in all frames. `covered` as in `Crowding`."""
    noise = site.noise.detector
    beyond = np.clip((covered - noise.covered_from) / max(1e-6, 0.9 - noise.covered_from), 0, 1)
    miss = noise.miss + (1 - noise.miss) * 0.95 * beyond
    found = rng.random(len(truth)) >= miss
    found &= ~_in_bursts(truth, noise.burst_per_s, noise.burst_s, rng)
    rows = np.flatnonzero(found)
    size = truth.xyxy[rows, 2:] - truth.xyxy[rows, :2]
    shift = rng.standard_normal((len(rows), 4), np.float32) * noise.jitter * np.tile(size, 2)
    score = noise.score + noise.score_std * rng.standard_normal(len(rows)) - 0.35 * beyond[rows]
    false = _false_boxes(site, seconds, rng)
    xyxy = _in_picture(site, truth.camid[rows], truth.time_s[rows], truth.xyxy[rows] + shift)
    found_rows = DetectionRows(
        truth.camid[rows], truth.frame_idx[rows], xyxy, np.clip(score, 0.05, 0.99).astype(np.float32), rows
    )
    big = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1, initial=np.inf) >= _LEAST_SIDE_PX
    kept = found_rows[big]
    return DetectionRows(
        *(np.concatenate([getattr(kept, f.name), getattr(false, f.name)]) for f in fields(DetectionRows))
    )


def _in_bursts(truth: TruthTracks, per_s: float, mean_s: float, rng: np.random.Generator) -> BoolMask:
    """(R,) rows in one of the stretches during which a person is not found at all."""
    missed = np.zeros(len(truth) + 1, np.int64)
    if per_s > 0 and len(truth):
        starts = np.flatnonzero(np.diff(truth.visit_row * len(truth) + truth.camid, prepend=-1))
        ends = np.append(starts[1:], len(truth))
        lasts_s = truth.time_s[ends - 1] - truth.time_s[starts]
        visit = np.repeat(np.arange(len(starts)), rng.poisson(lasts_s * per_s))
        begin_s = truth.time_s[starts[visit]] + rng.random(len(visit)) * lasts_s[visit]
        end_s = begin_s + rng.exponential(mean_s, len(visit))
        for i, v in enumerate(visit.tolist()):
            first, last = np.searchsorted(truth.time_s[starts[v] : ends[v]], [begin_s[i], end_s[i]]) + starts[v]
            missed[first] += 1
            missed[last] -= 1
    return np.asarray(np.cumsum(missed)[:-1] > 0)


def _false_boxes(site: Site, seconds: float, rng: np.random.Generator) -> DetectionRows:
    camids, frames, boxes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, 4), np.float32)]
    for camid, camera in enumerate(site.cameras):
        total = num_frames(camera, seconds)
        frame = np.sort(rng.integers(0, total, rng.poisson(total * site.noise.detector.false_per_frame)))
        frame = frame[is_sent(site.faults, camera.id, frame / camera.fps)]
        camids.append(np.full(len(frame), camid))
        frames.append(frame)
        boxes.append(random_boxes(site, camid, frame / camera.fps, rng))
    xyxy = np.concatenate(boxes)
    score = rng.uniform(0.15, 0.6, len(xyxy)).astype(np.float32)
    return DetectionRows(
        np.concatenate(camids), np.concatenate(frames), xyxy, score, np.full(len(xyxy), NOBODY, np.int64)
    )


def random_boxes(site: Site, camid: int, time_s: Float64, rng: np.random.Generator) -> Float32:
    """(N, 4) boxes of a person's shape anywhere in the camera's picture at these times."""
    camera = site.cameras[camid]
    count = len(time_s)
    tall = camera.height_px * rng.uniform(0.1, 0.5, count)
    left = rng.uniform(0, np.maximum(camera.width_px - 0.4 * tall, 1))
    top = rng.uniform(0, camera.height_px - tall)
    scale = scale_at(site.faults, camera.id, (camera.width_px, camera.height_px), time_s)
    xyxy = np.stack([left, top, left + 0.4 * tall, top + tall], axis=1) * np.tile(scale, 2)
    return _in_picture(site, np.full(count, camid), time_s, xyxy.astype(np.float32))


def _in_picture(site: Site, camid: Int64, time_s: Float64, xyxy: Float32) -> Float32:
    """Boxes clipped to their pictures. Rows of a camera stand together."""
    clipped = xyxy.copy()
    for number in np.unique(camid).tolist():
        rows, camera = camid == number, site.cameras[number]
        size = np.array([camera.width_px, camera.height_px], np.float64)
        edge = size * scale_at(site.faults, camera.id, (camera.width_px, camera.height_px), time_s[rows])
        clipped[rows] = np.clip(xyxy[rows], 0, np.tile(edge, 2))
    return clipped.astype(np.float32)
