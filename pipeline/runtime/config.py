"""Settings of the runtime: where stages run. They change how fast results come, never what they are."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class PlacementConfig(Settings):
    """What one worker of a stage asks of a Ray cluster."""

    num_cpus: float = Field(1.0, ge=0, le=4096, description="processor cores that the worker counts for")
    num_gpus: float = Field(0.0, ge=0, le=64, description="share of a GPU, for example 0.25 for four workers on one")
    resources: dict[str, float] = Field(
        {}, description="custom resources of the node it has to run on, as named at `ray start --resources`"
    )


class RayConfig(Settings):
    """The Ray cluster, for `kind: ray`."""

    address: str | None = Field(
        None, description="cluster to join: auto, or ray://host:10001; unset: a private one on this machine"
    )
    read: Literal["workers", "driver"] = Field(
        "workers",
        description="where cameras are read: workers, on the machine that detects, tracks and embeds them, so that "
        "pictures never move between machines; driver, where the command was given (for files that only it has)",
    )
    placement: dict[str, PlacementConfig] = Field(
        {},
        description="what a worker asks for, by stage (detect, track, embed, fuse); stages in one worker add up",
    )


class RuntimeConfig(Settings):
    """A file for `--runtime`, see configs/runtimes/."""

    kind: Literal["inline", "processes", "ray"] = Field(
        "inline",
        description="inline: threads of one process; processes: one process a worker; ray: actors of a Ray cluster",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="groups of cameras worked on side by side; unset: one per core, at most one "
        "per camera, for processes and ray; 1 for inline",
    )
    queue_ticks: int | None = Field(
        None,
        ge=1,
        le=256,
        description="ticks that wait before each worker; unset: 2, for ray 8, whose calls are slower",
    )
    together: bool = Field(
        True, description="detect, track and embed of a camera in one worker, so that its frames move once"
    )
    ring_mb: int = Field(
        256, ge=1, le=65536, description="most shared memory of each group of cameras and worker (processes), in MB"
    )
    checkpoint_ticks: int = Field(
        8, ge=1, le=4096, description="the state of trackers is saved every so many ticks, for a worker that dies"
    )
    max_restarts: int = Field(3, ge=0, le=1000, description="times that one worker is replaced before the run fails")
    ray: RayConfig = RayConfig()

    @property
    def num_queued(self) -> int:
        """Ticks that may wait before each worker."""
        return self.queue_ticks or (8 if self.kind == "ray" else 2)

    def num_shards(self, num_cameras: int) -> int:
        """Into how many groups the cameras go."""
        by_itself = 1 if self.kind == "inline" else available_cores()
        return max(1, min(self.workers or by_itself, num_cameras))


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
