"""The cameras of a cams.yaml, ready for use: paths made absolute, the environment filled in, calibrations read.

Also what it says of the ways between them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from pipeline.config import Calibration, CameraConfig, CamsConfig, Regions
from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.ingest.urls import expand_environment, is_stream, mask_credentials
from pipeline.transport.config import BOX_PREFIX
from pipeline.yaml_file import ConfigError, YamlFile, dotted, near_miss, validate


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera ready for use: paths made absolute, environment filled in, calibration of the cropped image."""

    name: str
    source: str
    start_time_s: float | None  # seconds since 1970
    offset_s: float
    fps: float | None
    crop: tuple[int, int, int, int] | None
    regions: Regions
    ground: GroundCamera | None
    overlaps: tuple[str, ...]
    ground_truth: Path | None

    def __repr__(self) -> str:
        return f"Camera({self.name})"  # the source may hold a password


def load_cameras(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[tuple[Camera, ...], Path | None]:
    """The cameras of a cams.yaml, and the pipeline.yaml it names. Raises ConfigError."""
    file = YamlFile(path)
    config = validate(CamsConfig, file.data, file)
    _check_names(config, file)
    cameras = []
    for place, camera in enumerate(config.cameras):
        try:
            cameras.append(_camera(camera, path.parent, environ))
        except ValueError as error:
            raise ConfigError(f"{file.where(('cameras', place))}: cameras[{place}] ({camera.id}): {error}") from error
    pipeline = (path.parent / config.pipeline).resolve() if config.pipeline else None
    if pipeline and not pipeline.is_file():
        raise ConfigError(f"{file.where(('pipeline',))}: pipeline: no such file: {config.pipeline}")
    return tuple(cameras), pipeline


def camera_of(
    entry: Mapping[str, Any], names: Sequence[str], folder: Path, environ: Mapping[str, str] = os.environ
) -> Camera:
    """One more camera, beside those called `names`, from an entry as in cams.yaml; paths are relative to `folder`.

    Raises ConfigError.
    """
    config = validate(CameraConfig, entry, None)
    if config.id in names:
        raise ConfigError(f"id: {config.id!r} is taken; every camera needs an id of its own")
    for other in config.overlaps:
        if other not in names:
            raise ConfigError(f"overlaps: no other camera {other!r}{near_miss(other, names)}")
    try:
        return _camera(config, folder, environ)
    except ValueError as error:
        raise ConfigError(f"{config.id}: {error}") from error


def load_given_travel(path: Path, cameras: Sequence[Camera]) -> tuple[GivenTravel, ...]:
    """What a cams.yaml says of travel times between its cameras, as `load_cameras` gave them. Raises ConfigError."""
    file = YamlFile(path)
    names = [camera.name for camera in cameras]
    together = {pair for a, b in overlapping_pairs(cameras) for pair in ((a, b), (b, a))}
    given: dict[tuple[int, int], GivenTravel] = {}
    for place, way in enumerate(validate(CamsConfig, file.data, file).transitions):
        for name, camera in (("from", way.from_camera), ("to", way.to_camera)):
            if camera not in names:
                key = ("transitions", place, name)
                raise ConfigError(f"{file.where(key)}: {dotted(key)}: no camera {camera!r}{near_miss(camera, names)}")
        pair = names.index(way.from_camera), names.index(way.to_camera)
        where = f"{file.where(('transitions', place))}: transitions[{place}]"
        if pair in given:
            raise ConfigError(f"{where}: the way from {way.from_camera} to {way.to_camera} is given twice")
        if way.min_s and (pair in together or pair[0] == pair[1]):
            what = "one camera" if pair[0] == pair[1] else "cameras that overlap"
            raise ConfigError(f"{where}.min_s: makes no sense for {what}; leave it out")
        seconds = (math.nan if value is None else value for value in (way.min_s, way.mean_s, way.max_s))
        given[pair] = GivenTravel(*pair, *seconds)
    return tuple(given.values())


def overlapping_pairs(cameras: Sequence[Camera]) -> frozenset[tuple[int, int]]:
    """Pairs (a, b), a < b, that may show one person at once: both calibrated, or named in `overlaps`."""
    return frozenset(
        (a, b)
        for a, one in enumerate(cameras)
        for b, other in enumerate(cameras[a + 1 :], a + 1)
        if (one.ground and other.ground) or other.name in one.overlaps or one.name in other.overlaps
    )


def _check_names(config: CamsConfig, file: YamlFile) -> None:
    names = [camera.id for camera in config.cameras]
    for place, camera in enumerate(config.cameras):
        first = names.index(camera.id)
        if first != place:
            where, before = file.where(("cameras", place, "id")), file.where(("cameras", first, "id"))
            raise ConfigError(
                f"{where}: cameras[{place}].id: {camera.id!r} is taken ({before}); every camera needs an id of its own"
            )
        for number, other in enumerate(camera.overlaps):
            if other not in names or other == camera.id:
                key = ("cameras", place, "overlaps", number)
                raise ConfigError(
                    f"{file.where(key)}: {dotted(key)}: no other camera {other!r}{near_miss(other, names)}"
                )


def _camera(config: CameraConfig, folder: Path, environ: Mapping[str, str]) -> Camera:
    source = expand_environment(config.source, environ)
    if not is_stream(source) and not source.isdigit() and not source.startswith(BOX_PREFIX):
        source = str((folder / source).resolve())
    start = config.start_time
    if start is not None and start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    ground = _ground_camera(config, folder)
    if ground and config.crop:
        ground = ground.cropped(config.crop[0], config.crop[1])
    return Camera(
        name=config.id,
        source=source,
        start_time_s=start.timestamp() if start else None,
        offset_s=config.offset_s,
        fps=config.fps,
        crop=config.crop,
        regions=config.regions,
        ground=ground,
        overlaps=config.overlaps,
        ground_truth=(folder / config.ground_truth).resolve() if config.ground_truth else None,
    )


def _ground_camera(config: CameraConfig, folder: Path) -> GroundCamera | None:
    if not isinstance(config.calibration, str):
        return config.calibration.ground_camera() if config.calibration else None
    path = folder / config.calibration
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"calibration: no such file: {mask_credentials(config.calibration)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"calibration: {path} is not a JSON file: {error}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"calibration: {path}: want a list of objects, each with an id")
    by_name = {str(entry.get("id")): entry for entry in entries}
    if config.id not in by_name:
        raise ValueError(f"calibration: {path} has no entry with id {config.id!r}{near_miss(config.id, list(by_name))}")
    known = {name: by_name[config.id][name] for name in Calibration.model_fields if name in by_name[config.id]}
    return validate(Calibration, known, None).ground_camera()
