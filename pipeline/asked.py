"""What a run was asked for, as far as its results depend on it: what `--resume` takes over and what must be equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cameras import Camera
from pipeline.config import PipelineConfig
from pipeline.detect.build import model_hash
from pipeline.detect.build import model_path as detector_path
from pipeline.ingest.build import LIVE, locate
from pipeline.ingest.urls import mask_credentials
from pipeline.reid.build import model_path as embedder_path
from pipeline.report import RunOptions
from pipeline.run_journal import Asked, asked_before, flat

_NO_MATTER = (
    *("detect.threads", "reid.threads", "ingest.decode_threads", "ingest.buffer_frames"),
    *("output.journal", "output.snapshot_s", "output.report", "live."),
)  # settings that change nothing in the tables


def resumed_options(
    folder: Path,
    *,
    cams: Path | None,
    config: Path | None,
    settings: tuple[str, ...],
    video: bool,
    where: tuple[str, int | None, str | None, int | None],
) -> RunOptions:
    """What `--resume folder` stands for: what that run was asked for, unless it is given anew. where: runtime, workers,
    ray_address and live_port, which may be others than they were. Raises ResumeError and JournalError."""
    command = asked_before(folder).command
    config = config or (Path(command["config"]) if command["config"] and cams is None else None)
    cams = cams or Path(command["cams"])
    settings, video = settings or tuple(command["settings"]), video or command["video"]
    return RunOptions(cams, folder, config, settings, video, command["max_seconds"], *where, resume=True)


def asked_of(options: RunOptions, cameras: Sequence[Camera], config: PipelineConfig, base_dir: Path) -> Asked:
    """What the results of a run depend on."""
    command = {
        "cams": str(options.cams.resolve()),
        "config": str(options.config.resolve()) if options.config else None,
        "settings": [text for text in options.settings if mask_credentials(text) == text],  # others are given anew
        "video": options.video,
        "max_seconds": options.max_seconds,
    }
    facts = flat("max_seconds", options.max_seconds) | flat("video", options.video)
    for part, settings in config.model_dump(mode="json").items():
        facts |= flat(part, settings)
    for name, path in (
        ("detect", detector_path(config.detect, base_dir)),
        ("reid", embedder_path(config.reid, base_dir)),
    ):
        with suppress(ValueError, OSError):  # a model that is missing is the stage's to report
            facts[f"{name}.model (content)"] = model_hash(path) if path else "built in"
    return Asked(
        command,
        {name: mask_credentials(text) for name, text in sorted(facts.items()) if not name.startswith(_NO_MATTER)}
        | facts_of(cameras),
    )


def facts_of(cameras: Sequence[Camera]) -> dict[str, str]:
    """What the results depend on of the cameras, by dotted name."""
    facts = {"cameras": ", ".join(camera.name for camera in cameras)}
    for camera in cameras:
        facts |= flat(f"cameras[{camera.name}]", _camera_facts(camera))
    return {name: mask_credentials(text) for name, text in sorted(facts.items())}


def roster_before(folder: Path) -> dict[str, Any] | None:
    """What `Keeper.follow` was told last in the run in this folder; None where its cameras are those of its start.

    Raises ResumeError and JournalError.
    """
    return asked_before(folder).command.get("roster")


def _camera_facts(camera: Camera) -> dict[str, object]:
    ground = camera.ground
    shape = hashlib.sha256()
    for part in () if ground is None else (ground.image_to_ground, ground.intrinsic, ground.distortion):
        shape.update(np.ascontiguousarray(part, np.float64).tobytes())
    facts: dict[str, object] = {
        "source": camera.source,
        "start_time": camera.start_time_s,
        "offset_s": camera.offset_s,
        "fps": camera.fps,
        "crop": camera.crop,
        "regions": json.dumps(camera.regions.model_dump(mode="json")),
        "overlaps": camera.overlaps,
        "calibration": shape.hexdigest()[:16] if ground is not None else None,
    }
    path = Path(camera.source)
    if not is_live(camera) and path.is_file():
        facts["source (bytes)"] = path.stat().st_size
    return facts


def is_live(camera: Camera) -> bool:
    """Whether the camera shows the present, and can not be read again."""
    return locate(camera.source)[0] in LIVE
