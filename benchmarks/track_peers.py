"""The trackers that people install today behind one interface, and ours: boxes in, identities out.

Every tracker runs with the defaults of its library; those that take a frame rate are told it. What a library wants to
be handed is made in `prepare` and its answer is read in `read`, so that `update` alone can be timed. Boxes are all
that anyone gets: trackers that could also compensate a moving camera or look at the people have no picture here.

* `trackers` (Roboflow): ByteTrack, OC-SORT, SORT, C-BIoU, BoT-SORT. Rows with identity -1 are not confirmed yet.
* `ultralytics`: the trackers of its `track` mode, with the settings files that come with it.
* `norfair`: distance `iou` and threshold 0.7 as in its YOLO demonstrations, all else default. It answers with tracks
  that are not detected at present too, and we count all that it answers; "detected" counts the others only, which is
  not what it does by itself, yet kinder to it. Its metadata asks for numpy below 2; install it with `--no-deps` (and
  filterpy). It is skipped where it is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

OURS = "ours"


@dataclass(frozen=True)
class Follower:
    """One kind of tracker. `start(fps)` makes a new one, then for each frame: `prepare`, `update`, `read`."""

    start: Callable[[float], Any]
    prepare: Callable[[np.ndarray, np.ndarray, float], Any]  # xyxy (N, 4), confidence (N,) float32, time_s
    update: Callable[[Any, Any], Any]
    read: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]  # answer, prepared -> ids (M,), xyxy (M, 4)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros((0, 4))


def boxes_follower(start: Callable[[], Any], update: Callable[[Any, Any], Any] | None = None) -> Follower:
    """Any of our trackers: `start()` makes one, `update(tracker, (detections, time_s))` may stand in for its own."""
    from pipeline.types import Detections

    return Follower(
        start=lambda fps: start(),
        prepare=lambda xyxy, confidence, time_s: (Detections(xyxy, confidence), time_s),
        update=update or (lambda tracker, given: tracker.update(*given)),
        read=lambda tracks, given: (tracks.track_id, tracks.xyxy),
    )


def ours(compiled: bool = True) -> Follower:
    """Our tracker with its defaults, with or without numba."""
    from pipeline.track.build import build_tracker
    from pipeline.track.config import TrackConfig

    return boxes_follower(lambda: build_tracker(TrackConfig(compiled=compiled)))


def _trackers() -> dict[str, Follower]:
    import supervision as sv
    import trackers

    def prepare(xyxy: np.ndarray, confidence: np.ndarray, time_s: float) -> Any:
        return sv.Detections(xyxy=xyxy, confidence=confidence, class_id=np.zeros(len(xyxy), int))

    def read(found: Any, given: Any) -> tuple[np.ndarray, np.ndarray]:
        if found.tracker_id is None:
            return _nothing()
        known = found.tracker_id >= 0
        return found.tracker_id[known], found.xyxy[known]

    kinds = {
        "ByteTrack": trackers.ByteTrackTracker,
        "OC-SORT": trackers.OCSORTTracker,
        "SORT": trackers.SORTTracker,
        "C-BIoU": trackers.CBIoUTracker,
        "BoT-SORT": trackers.BoTSORTTracker,
    }
    return {
        f"{name} (trackers)": Follower(
            lambda fps, kind=kind: kind(frame_rate=fps), prepare, lambda tracker, given: tracker.update(given), read
        )
        for name, kind in kinds.items()
    }


@dataclass(frozen=True, slots=True)
class _Boxes:
    """What the trackers of ultralytics read of its results."""

    xyxy: np.ndarray
    xywh: np.ndarray  # centre, width, height
    conf: np.ndarray
    cls: np.ndarray

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, rows: np.ndarray) -> _Boxes:
        return _Boxes(self.xyxy[rows], self.xywh[rows], self.conf[rows], self.cls[rows])


def _ultralytics() -> dict[str, Follower]:
    from ultralytics.utils import YAML, IterableSimpleNamespace
    from ultralytics.utils.checks import check_yaml

    kinds = {
        "ByteTrack": ("byte_tracker", "BYTETracker", "bytetrack.yaml"),
        "BoT-SORT": ("bot_sort", "BOTSORT", "botsort.yaml"),
        "OC-SORT": ("oc_sort", "OCSORT", "ocsort.yaml"),
        "FastTracker": ("fast_tracker", "FASTTracker", "fasttrack.yaml"),
        "TrackTrack": ("track_tracker", "TRACKTRACK", "tracktrack.yaml"),
    }

    def start(fps: float, module: str, kind: str, settings: str) -> Any:
        config = IterableSimpleNamespace(**YAML.load(check_yaml(settings)), device="cpu")
        return getattr(import_module(f"ultralytics.trackers.{module}"), kind)(config)

    def prepare(xyxy: np.ndarray, confidence: np.ndarray, time_s: float) -> _Boxes:
        xywh = np.concatenate(((xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]), axis=1)
        return _Boxes(xyxy, xywh, confidence, np.zeros(len(xyxy), np.float32))

    def read(rows: np.ndarray, given: Any) -> tuple[np.ndarray, np.ndarray]:
        return (rows[:, 4].astype(np.int64), rows[:, :4]) if len(rows) else _nothing()

    return {
        f"{name} (ultralytics)": Follower(
            partial(start, module=module, kind=kind, settings=settings),
            prepare,
            lambda tracker, given: tracker.update(given),
            read,
        )
        for name, (module, kind, settings) in kinds.items()
    }


def _norfair() -> dict[str, Follower]:
    from norfair import Detection, Tracker

    def prepare(xyxy: np.ndarray, confidence: np.ndarray, time_s: float) -> list[Any]:
        corners = xyxy.astype(np.float64).reshape(-1, 2, 2)
        return [Detection(p, scores=np.array([c, c])) for p, c in zip(corners, confidence, strict=True)]

    def read(objects: list[Any], given: list[Any], detected: bool) -> tuple[np.ndarray, np.ndarray]:
        if detected:
            now = {id(detection) for detection in given}
            objects = [each for each in objects if id(each.last_detection) in now]
        if not objects:
            return _nothing()
        return np.array([o.id for o in objects]), np.array([o.estimate.reshape(4) for o in objects])

    return {
        name: Follower(
            lambda fps: Tracker(distance_function="iou", distance_threshold=0.7),
            prepare,
            lambda tracker, given: tracker.update(given),
            partial(read, detected=detected),
        )
        for name, detected in {"Norfair": False, "Norfair, detected": True}.items()
    }


_SOURCES = {"trackers": _trackers, "ultralytics": _ultralytics, "norfair": _norfair}


def followers(only: Iterable[str] = ()) -> tuple[dict[str, Follower], list[str]]:
    """All trackers that are installed, ours first, and a remark for each library (its version or its absence).

    `only`: parts of names, in any case; a tracker is kept where one of them occurs in its name.
    """
    found, remarks = {OURS: ours()}, []
    for package, source in _SOURCES.items():
        try:
            found |= source()
            remarks.append(f"{package} {version(package)}")
        except (ImportError, PackageNotFoundError) as reason:
            remarks.append(f"{package} is skipped ({reason})")
    wanted = [part.lower() for part in only]
    kept = {n: f for n, f in found.items() if not wanted or any(part in n.lower() for part in wanted)}
    if not kept:
        raise SystemExit(f"no tracker is called {', '.join(only)}; there are: {'; '.join(found)}")
    return kept, remarks
