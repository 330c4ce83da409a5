"""The figures of a run at one moment, as health and as metrics. Whoever runs the pipeline makes the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["starting", "ok", "degraded", "stalled"]

_SIZES = {
    "gallery": "Vectors that new tracklets are compared with.",
    "identities": "Identities that can be found again.",
    "tracklets": "Tracklets that the association remembers.",
    "frames_reordered": "Frames that wait for late ones.",
}
_WELL = ("running", "ended", "stopped", "removed")


@dataclass(frozen=True, slots=True)
class CameraFigures:
    """One camera; counts since the start."""

    name: str
    state: str
    num_frames: int = 0
    num_dropped: int = 0
    num_broken: int = 0
    num_reconnects: int = 0
    fps: float = 0.0
    lag_s: float = 0.0
    num_people: int = 0  # visible in its last frame
    num_tracklets: int = 0
    num_waiting: int | None = None  # frames that are read and not taken yet


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One worker of a stage."""

    name: str
    worker: int
    busy_s: float
    num_items: int
    sizes: tuple[tuple[str, int], ...] = ()  # what it keeps, and how much


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What has gone to another machine, or has come from one (`box:NAME`); counts since the start."""

    name: str
    num_sent: int = 0
    num_repeated: int = 0  # were there already
    num_dropped: int = 0  # the other side was away for too long
    num_waiting: int = 0
    refused: tuple[tuple[str, int], ...] = ()  # messages that were none, by reason


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole run. `idle_s`: since the last tick was finished, None before the first; None: not known, not told."""

    wall_s: float
    idle_s: float | None
    cameras: tuple[CameraFigures, ...]
    nodes: tuple[NodeFigures, ...] = ()
    num_ticks: int = 0
    num_identities: int = 0
    num_merges: int = 0
    merges_per_minute: float = 0.0
    num_splits: int = 0
    num_restarts: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)  # ticks, by worker
    journal_bytes: int | None = None
    journal_age_s: float | None = None
    streams: tuple[StreamFigures, ...] = ()
    camera_changes: Mapping[str, int] = field(default_factory=dict)  # while the run goes: how many were done, refused


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of samples in the terms of Prometheus; `labels` name the parts of each sample's key."""

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]


def health(snapshot: Snapshot, stalled_s: float) -> tuple[Status, dict[str, Any]]:
    """How the run is doing, and the answer to who asks: `stalled` where nothing has come out for `stalled_s`."""
    unwell = {camera.name: camera.state for camera in snapshot.cameras if camera.state not in _WELL}
    status: Status = "ok"
    if snapshot.idle_s is None:
        status = "starting"
    elif snapshot.idle_s > stalled_s and any(camera.state == "running" for camera in snapshot.cameras):
        status = "stalled"
    elif unwell:
        status = "degraded"
    answer = {
        "status": status,
        "uptime_s": round(snapshot.wall_s, 1),
        "ticks": snapshot.num_ticks,
        "identities": snapshot.num_identities,
        "cameras": {camera.name: camera.state for camera in snapshot.cameras},
    }
    return status, answer


def metrics(snapshot: Snapshot) -> Iterator[Metric]:
    """All figures; what is per minute or per second follows from counters by `rate()`."""
    one = snapshot
    whole: list[tuple[str, Literal["gauge", "counter"], str, float | None]] = [
        ("uptime_seconds", "gauge", "Time since the start of the run.", one.wall_s),
        ("ticks", "counter", "Ticks finished.", one.num_ticks),
        ("identities", "gauge", "Identities so far, merged ones counted once.", one.num_identities),
        ("identity_merges", "counter", "Identities found to be one.", one.num_merges),
        ("identity_merges_per_minute", "gauge", "Of the last minute.", one.merges_per_minute),
        ("identity_splits", "counter", "Identities found to be two.", one.num_splits),
        ("worker_restarts", "counter", "Workers that died and were replaced.", one.num_restarts),
        ("journal_bytes", "gauge", "Size of the journal.", one.journal_bytes),
        ("journal_age_seconds", "gauge", "Since the run's state was saved.", one.journal_age_s),
    ]
    for name, kind, about, value in whole:
        if value is not None:
            yield Metric(f"crosscam_{name}", kind, about, (), (((), float(value)),))
    yield from _per_camera(snapshot.cameras)
    labels = ("stage", "worker")
    rows = [((node.name, str(node.worker)), node) for node in snapshot.nodes]
    yield Metric(
        "crosscam_stage_busy_seconds", "counter", "Time that a stage has worked.", labels,
        tuple((key, node.busy_s) for key, node in rows),
    )  # fmt: skip
    yield Metric(
        "crosscam_stage_items", "counter", "Camera-frames that a stage has worked on.", labels,
        tuple((key, float(node.num_items)) for key, node in rows),
    )  # fmt: skip
    for size, about in _SIZES.items():
        kept = [number for _, node in rows for name, number in node.sizes if name == size]
        if kept:
            yield Metric(f"crosscam_{size}_size", "gauge", about, (), (((), float(sum(kept))),))
    waiting = tuple(((worker,), float(number)) for worker, number in sorted(snapshot.waiting.items()))
    yield Metric("crosscam_ticks_waiting", "gauge", "Ticks that a worker has before it.", ("worker",), waiting)
    changes = tuple(((result,), float(number)) for result, number in snapshot.camera_changes.items())
    yield Metric(
        "crosscam_camera_changes", "counter", "Times that cameras were added or removed.", ("result",), changes
    )
    if snapshot.streams:
        yield from _per_stream(snapshot.streams)


def _per_stream(streams: tuple[StreamFigures, ...]) -> Iterator[Metric]:
    columns: list[tuple[str, Literal["gauge", "counter"], str, str]] = [
        ("sent", "counter", "Messages sent.", "num_sent"),
        ("repeated", "counter", "Messages that were there already.", "num_repeated"),
        ("dropped", "counter", "Messages given up because the other side was away.", "num_dropped"),
        ("waiting", "gauge", "Messages that wait on this side.", "num_waiting"),
    ]
    for name, kind, about, column in columns:
        samples = tuple(((stream.name,), float(getattr(stream, column))) for stream in streams)
        yield Metric(f"crosscam_stream_{name}", kind, about, ("stream",), samples)
    refused = tuple(((stream.name, why), float(num)) for stream in streams for why, num in stream.refused)
    labels = ("stream", "reason")
    yield Metric("crosscam_stream_refused", "counter", "Messages that were refused, by reason.", labels, refused)


def _per_camera(cameras: tuple[CameraFigures, ...]) -> Iterator[Metric]:
    columns: list[tuple[str, Literal["gauge", "counter"], str, str]] = [
        ("camera_frames", "counter", "Frames delivered.", "num_frames"),
        ("camera_dropped_frames", "counter", "Frames given up because the pipeline was slower.", "num_dropped"),
        ("camera_broken_frames", "counter", "Frames that could not be decoded.", "num_broken"),
        ("camera_reconnects", "counter", "Times that the camera was lost and found.", "num_reconnects"),
        ("camera_fps", "gauge", "Frames a second, nominal for recordings.", "fps"),
        ("camera_lag_seconds", "gauge", "Age of the last frame when it was delivered.", "lag_s"),
        ("camera_people", "gauge", "People visible in the last frame.", "num_people"),
        ("camera_tracklets", "counter", "Tracklets begun.", "num_tracklets"),
        ("camera_frames_waiting", "gauge", "Frames read and not taken yet.", "num_waiting"),
    ]
    for name, kind, about, column in columns:
        values = [(camera.name, getattr(camera, column)) for camera in cameras]
        samples = tuple(((camera,), float(value)) for camera, value in values if value is not None)
        yield Metric(f"crosscam_{name}", kind, about, ("camera",), samples)
    up = tuple(((camera.name, camera.state), 1.0) for camera in cameras)
    yield Metric("crosscam_camera_state", "gauge", "1 for the state that a camera is in.", ("camera", "state"), up)
