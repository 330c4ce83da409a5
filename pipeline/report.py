"""What a run is asked for, how far it is, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.ingest.status import CameraStatus
from pipeline.runtime.chain import NodeTime


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for."""

    cams: Path
    output: Path
    config: Path | None = None
    settings: tuple[str, ...] = ()
    video: bool = False
    max_seconds: float | None = None
    runtime: str = "inline"
    workers: int | None = None
    ray_address: str | None = None
    live_port: int | None = None
    resume: bool = False  # go on with the run in `output`, which was killed


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run, for whoever shows it."""

    cameras: tuple[CameraStatus, ...]
    live_people: tuple[int, ...]  # per camera, visible in its last frame
    num_identities: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run came to."""

    cameras: tuple[CameraStatus, ...]
    num_tracklets: tuple[int, ...]  # per camera
    num_identities: int
    num_cross_camera_links: int  # times an identity was seen in another camera than before
    wall_s: float
    nodes: tuple[NodeTime, ...]
    output: Path
    interrupted: bool
    notes: tuple[str, ...] = ()  # what else the user should be told

    @property
    def num_frames(self) -> int:
        return sum(camera.num_frames for camera in self.cameras)
