"""How much of the PETS split a perfect association could get from the tracklets of the pipeline.

    python benchmarks/pets_ceiling.py

Every tracklet of configs/checks/pets_split.yaml is given the person it follows most. Scored twice: against the ground
truth as it is meant to be read, and with its rows of flag 0 as well. Those are 174 boxes of people who walk in plain
sight on the right half; a tracker that follows them is charged with false positives where they are left out. The
bound is what a tracker could reach that showed each detection exactly where it fits a true box, and nothing else.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import av
import numpy as np
import supervision as sv
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from trackers import ByteTrackTracker

from pipeline.cameras import load_cameras
from pipeline.config import load_pipeline
from pipeline.detect.build import build_detector
from pipeline.evaluation.overlaps import overlaps
from pipeline.evaluation.scores import association_ceiling, without_association
from pipeline.evaluation.tables import TrackTable
from pipeline.track.build import build_tracker
from pipeline.track.config import TrackConfig
from pipeline.track.smoothing import mend
from pipeline.track.smoothing_config import SmoothingConfig
from pipeline.track.track_rows import TrackRows
from pipeline.types import Detections, Frame

CHECK = Path("configs/checks/pets_split.yaml")
FPS = 7.0
SIDES = ("left", "right")
LEFT_PX, WIDTH_PX, HEIGHT_PX = (0, 416), 352, 576
IDS_PER_CAMERA = 1_000_000

Found = list[list[Detections]]  # by camera and frame


def detections() -> Found:
    cameras, pipeline_path = load_cameras(CHECK)
    detector = build_detector(load_pipeline(pipeline_path).detect, SIDES, CHECK.parent)
    found: Found = [[], []]
    with av.open(str(cameras[0].source)) as video:
        for number, picture in enumerate(video.decode(video=0)):
            image = picture.to_ndarray(format="bgr24")
            halves = [np.ascontiguousarray(image[:, left : left + WIDTH_PX]) for left in LEFT_PX]
            frames = [Frame(camid, number, number / FPS, half) for camid, half in enumerate(halves)]
            for camid, seen in enumerate(detector.detect(frames)):
                found[camid].append(seen)
    return found


def truth(with_flagged: bool) -> TrackTable:
    """The annotated boxes, each in the half that holds its centre and cut to it."""
    cameras, _ = load_cameras(CHECK)
    rows = np.loadtxt(cameras[0].ground_truth, delimiter=",")
    rows = rows if with_flagged else rows[rows[:, 6] != 0]
    centre = rows[:, 2] + rows[:, 4] / 2
    parts = []
    for camid, left in enumerate(LEFT_PX):
        here = rows[(centre >= left) & (centre < left + WIDTH_PX)]
        edges = np.column_stack(
            [here[:, 2] - left, here[:, 3], here[:, 2] + here[:, 4] - left, here[:, 3] + here[:, 5]]
        )
        edges = np.clip(edges, 0, (WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX))
        parts.append(np.column_stack([np.full(len(here), camid), here[:, 0] - 1, here[:, 1], edges]))
    return table(np.concatenate(parts))


def table(rows: np.ndarray) -> TrackTable:
    return TrackTable(SIDES, rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 2], rows[:, 3:])


def ours(found: Found) -> Iterator[np.ndarray]:
    for camid, frames in enumerate(found):
        tracker = build_tracker(TrackConfig())
        for number, seen in enumerate(frames):
            tracks = tracker.update(seen, number / FPS)
            head = np.full((len(tracks), 2), (camid, number))
            yield np.column_stack([head, tracks.track_id + IDS_PER_CAMERA * camid, tracks.xyxy])


def peer(found: Found) -> Iterator[np.ndarray]:
    for camid, frames in enumerate(found):
        tracker = ByteTrackTracker(frame_rate=FPS)
        for number, seen in enumerate(frames):
            boxes = sv.Detections(seen.xyxy.copy(), confidence=seen.score.copy(), class_id=np.zeros(len(seen), int))
            tracks = tracker.update(boxes)
            if tracks.tracker_id is not None:
                known = tracks.tracker_id >= 0
                head = np.full((known.sum(), 2), (camid, number))
                ids = tracks.tracker_id[known] + IDS_PER_CAMERA * camid
                yield np.column_stack([head, ids, tracks.xyxy[known]])


def mended(rows: np.ndarray) -> Iterator[np.ndarray]:
    frames = np.arange(int(rows[:, 1].max()) + 1)
    for camid in (0, 1):
        here = rows[rows[:, 0] == camid]
        number, ids = here[:, 1].astype(np.int64), here[:, 2].astype(np.int64)
        boxes, nothing = here[:, 3:].astype(np.float32), np.zeros(len(here), bool)
        raw = TrackRows(number, number / FPS, ids, boxes, np.ones(len(here), np.float32), nothing)
        better, _ = mend(raw, frames, frames / FPS, SmoothingConfig())
        yield np.column_stack([np.full(len(better.track_id), camid), better.frame_idx, better.track_id, better.xyxy])


def bound(true: TrackTable, found: Found) -> float:
    """IDF1 of a tracker that shows every detection that fits a true box of its own, and nothing else."""
    num_right = 0
    for camid, frames in enumerate(found):
        rows = [
            np.column_stack([np.full((len(seen), 2), (camid, number)), np.arange(len(seen)), seen.xyxy])
            for number, seen in enumerate(frames)
        ]
        everything = np.concatenate(rows)
        everything[:, 2] = np.arange(len(everything))  # each its own id
        pairs = overlaps(true.of_camera(SIDES[camid]), table(everything).of_camera(SIDES[camid]))
        fits = pairs.iou >= 0.5
        num_right += maximum_matching(pairs.truth_row[fits], pairs.pred_row[fits])
    return 2 * num_right / (len(true) + num_right)


def maximum_matching(left: np.ndarray, right: np.ndarray) -> int:
    if len(left) == 0:
        return 0
    graph = csr_array((np.ones(len(left)), (left, right)), shape=(left.max() + 1, right.max() + 1))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def main() -> None:
    found = detections()
    readings = [truth(with_flagged=False), truth(with_flagged=True)]
    own = np.concatenate(list(ours(found)))
    systems = {
        "ByteTrack (trackers), same detections": np.concatenate(list(peer(found))),
        "ours, online": own,
        "ours, mended offline (no appearance)": np.concatenate(list(mended(own))),
    }
    print(f"{date.today()}, Python {platform.python_version()}: global IDF1 at IoU 0.5\n")
    print("| tracklets | nothing associated | perfectly associated | the same, flagged boxes counted |")
    print("| --- | --- | --- | --- |")
    for name, rows in systems.items():
        ceilings = [association_ceiling(true, table(rows)).overall.identity.idf1 for true in readings]
        none = without_association(readings[0], table(rows)).overall.identity.idf1
        print(f"| {name} | {none:.3f} | {ceilings[0]:.3f} | {ceilings[1]:.3f} |")
    bounds = [bound(true, found) for true in readings]
    print(f"| bound: only detections that fit, no other | | {bounds[0]:.3f} | {bounds[1]:.3f} |")


if __name__ == "__main__":
    main()
