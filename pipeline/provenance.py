"""run.json: what ran, on what, with which settings and models, and how long it took. Holds no credentials."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.cameras import Camera, overlapping_pairs
from pipeline.config import PipelineConfig
from pipeline.detect.build import model_hash
from pipeline.detect.build import model_path as detector_path
from pipeline.fusion.association_file import floors_told
from pipeline.ingest.urls import mask_credentials
from pipeline.reid.build import model_path as embedder_path
from pipeline.report import RunOptions, RunReport
from pipeline.runtime.chain import Restart

RUN_FILE = "run.json"
_PACKAGES = (
    "numpy",
    "scipy",
    "opencv-python",
    "av",
    "onnxruntime",
    "faiss-cpu",
    "lap",
    "pydantic",
    "ultralytics",
    "torch",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run came to its end: where its stages were, and how often it was gone on with after a crash."""

    runtime: str
    workers: int
    num_resumes: int
    restarts: tuple[Restart, ...]


def describe_run(
    options: RunOptions,
    cameras: tuple[Camera, ...],
    config: PipelineConfig,
    base_dir: Path,
    started_at: datetime,
    clock_zero_s: float | None,
    report: RunReport,
    *,
    ran: Ran | None = None,
) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "crosscam": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": _versions(),
        "started_at": started_at.isoformat(),
        "wall_s": round(report.wall_s, 3),
        "interrupted": report.interrupted,
        **({} if ran is None else {"runtime": asdict(ran)}),
        "clock_zero_s": clock_zero_s,
        "cams": str(options.cams),
        "settings": [mask_credentials(setting) for setting in options.settings],
        "max_seconds": options.max_seconds,
        "config": config.model_dump(mode="json"),
        "models": {
            "detect": _hash(detector_path(config.detect, base_dir)),
            "reid": _hash(embedder_path(config.reid, base_dir)),
        },
        "cameras": _cameras(cameras, report),
        "identities": report.num_identities,
        "cross_camera_links": report.num_cross_camera_links,
        "learned_floor": floors_told(options.output),
        "nodes": node_times(report),
    }


def node_times(report: RunReport) -> list[dict[str, Any]]:
    """What each stage has spent."""
    return [
        {"name": node.name, "wall_s": round(node.wall_s, 3), "cpu_s": round(node.cpu_s, 3), "items": node.num_items}
        for node in report.nodes
    ]


def _cameras(cameras: tuple[Camera, ...], report: RunReport) -> list[dict[str, Any]]:
    overlaps = overlapping_pairs(cameras)
    return [
        {
            "id": camera.name,
            "source": mask_credentials(camera.source),
            "calibrated": camera.ground is not None,
            "overlaps": [cameras[other].name for other in range(len(cameras)) if _pair(camid, other) in overlaps],
            "state": status.state,
            "message": status.message,
            "frames": status.num_frames,
            "dropped": status.num_dropped,
            "broken": status.num_broken,
            "reconnects": status.num_reconnects,
            "width": status.width,
            "height": status.height,
            "fps": status.fps,
            "tracklets": tracklets,
        }
        for camid, (camera, status, tracklets) in enumerate(
            zip(cameras, report.cameras, report.num_tracklets, strict=True)
        )
    ]


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hash(path: Path | None) -> str | None:
    """SHA-256 of a model's file or folder; None for one that is built in or fetched by name."""
    return model_hash(path) if path else None
