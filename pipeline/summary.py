"""The closing figures of a run, read back from the tables that the user has."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from pipeline.ingest.status import CameraStatus
from pipeline.report import RunReport
from pipeline.runtime.chain import NodeTime
from pipeline.sinks.final import BETWEEN_CAMERAS, IDENTITIES_FILE, TRACKLETS_FILE


def summarize(
    output: Path, cameras: tuple[CameraStatus, ...], nodes: tuple[NodeTime, ...], *, wall_s: float, interrupted: bool
) -> RunReport:
    """What the run that wrote the tables in `output` came to."""
    with (output / TRACKLETS_FILE).open(encoding="utf-8", newline="") as file:
        paths = {(row["camera"], row["track_id"]) for row in csv.DictReader(file)}  # one that was split has two rows
    with (output / IDENTITIES_FILE).open(encoding="utf-8", newline="") as file:
        visits = [row["cameras"] for row in csv.DictReader(file)]
    num_tracklets = Counter(camera for camera, _ in paths)
    return RunReport(
        cameras=cameras,
        num_tracklets=tuple(num_tracklets[camera.name] for camera in cameras),
        num_identities=len(visits),
        num_cross_camera_links=sum(visit.count(BETWEEN_CAMERAS) for visit in visits),
        wall_s=wall_s,
        nodes=nodes,
        output=output,
        interrupted=interrupted,
    )
