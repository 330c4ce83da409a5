"""What may stand in cams.yaml and pipeline.yaml: the cameras and how they are worked on.

Each room keeps its own part of pipeline.yaml beside it; `cameras.py` makes cameras of the entries of a cams.yaml.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import yaml
from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from pipeline.detect.config import DetectConfig
from pipeline.fusion.config import FusionConfig
from pipeline.geometry.camera import GroundCamera
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.urls import mask_credentials
from pipeline.live.config import LiveConfig
from pipeline.reid.config import ReidConfig
from pipeline.runtime.config import RuntimeConfig
from pipeline.settings import Settings
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.final import BETWEEN_CAMERAS
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.transport.config import TransportConfig
from pipeline.yaml_file import ConfigError, KeyPath, YamlFile, parse_yaml, validate

Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Point = tuple[float, float]
Text = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) and not isinstance(v, bool) else v)]

_PATH_KEYS = (("detect", "model"), ("reid", "model"), ("reid", "manifest"), ("fusion", "transitions"))


class Calibration(Settings):
    """Where the floor lies in the picture of the whole sensor, before `crop`. Metres, floor at z = 0."""

    image_to_ground: tuple[Row3, Row3, Row3] | None = Field(
        None, description="3x3 homography from (undistorted) pixels to metres on the floor"
    )
    intrinsic: tuple[Row3, Row3, Row3] | None = Field(
        None, description="3x3 camera matrix K, pixels", validation_alias=AliasChoices("intrinsic", "intrinsics")
    )
    distortion: tuple[float, ...] = Field((), description="OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]]")
    world_to_camera: tuple[Row4, ...] | None = Field(
        None, min_length=3, max_length=4, description="3x4 or 4x4 extrinsic matrix, world metres to camera metres"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        projection = self.intrinsic is not None and self.world_to_camera is not None
        if (self.image_to_ground is not None) == projection:
            raise ValueError("give either image_to_ground, or intrinsic and world_to_camera (with distortion)")
        if self.image_to_ground is not None and self.distortion:
            raise ValueError("distortion needs intrinsic and world_to_camera beside it")
        if len(self.distortion) not in (0, 4, 5, 8):
            raise ValueError(f"distortion: want 4, 5 or 8 numbers (OpenCV's order), got {len(self.distortion)}")
        self.ground_camera()
        return self

    def ground_camera(self) -> GroundCamera:
        """The calibration as a value that maps points. Raises ValueError where the matrix is singular."""
        if self.image_to_ground is not None:
            return GroundCamera.from_homography(np.asarray(self.image_to_ground, np.float64))
        return GroundCamera.from_projection(
            np.asarray(self.intrinsic, np.float64),
            np.asarray(self.distortion or (0.0,) * 5, np.float64),
            np.asarray(self.world_to_camera, np.float64),
        )


class Regions(Settings):
    """Polygons in pixels of the camera's (cropped) image; a person counts where the feet stand."""

    keep: tuple[tuple[Point, ...], ...] = Field((), description="people count only inside one of these")
    ignore: tuple[tuple[Point, ...], ...] = Field((), description="people inside one of these do not count")

    @field_validator("keep", "ignore")
    @classmethod
    def _polygons(cls, polygons: tuple[tuple[Point, ...], ...]) -> tuple[tuple[Point, ...], ...]:
        for number, polygon in enumerate(polygons):
            x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
            if len(polygon) < 3:
                raise ValueError(f"polygon {number} has {len(polygon)} points; a polygon needs at least 3 [x, y] pairs")
            if math.isclose(abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))), 0.0, abs_tol=1e-6):
                raise ValueError(f"polygon {number} has no area; its points lie on one line")
        return polygons


class CameraConfig(Settings):
    """One camera of cams.yaml."""

    id: Text = Field(min_length=1, max_length=100, description="the camera's name in every table")
    source: Text = Field(
        min_length=1,
        description="video file, stream URL, device number or folder of images; ${NAME} from environment; box:NAME: an "
        "edge box reads it (transport.sources)",
    )
    start_time: datetime | None = Field(
        None, description="ISO 8601, when frame 0 was captured; UTC if no zone is given"
    )
    offset_s: float = Field(0.0, description="seconds to add to the camera's clock")
    fps: float | None = Field(None, gt=0, le=1000, description="frame rate for sources that carry no (true) time")
    crop: tuple[int, int, int, int] | None = Field(None, description="x, y, width, height in pixels of the source")
    regions: Regions = Field(Regions(), description="where people count")
    calibration: Calibration | str | None = Field(
        None, description="the calibration, or a JSON file with a list of them by camera id"
    )
    overlaps: tuple[Text, ...] = Field((), description="ids of uncalibrated cameras that see some of the same floor")
    ground_truth: str | None = Field(None, description="true tracks of the whole (uncropped) source, for `evaluate`")

    @field_validator("id")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("a camera id is printable text without spaces at its ends")
        if BETWEEN_CAMERAS in name:
            raise ValueError(f"a camera id has no `{BETWEEN_CAMERAS}`, which stands between cameras in identities.csv")
        return name

    @field_validator("crop")
    @classmethod
    def _crop(cls, crop: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if crop is not None and (min(crop[:2]) < 0 or min(crop[2:]) < 2):
            raise ValueError(f"want [x, y, width, height] with x, y >= 0 and width, height >= 2, got {list(crop)}")
        return crop


class TransitionConfig(Settings):
    """The way from one camera to another, from the last sight of a person there to the first one here."""

    from_camera: Text = Field(alias="from", description="id of the camera that is left")
    to_camera: Text = Field(alias="to", description="id of the camera that is entered; the way back is another entry")
    min_s: float | None = Field(
        None, ge=0, description="nobody is faster, seconds: a law that no identity breaks, and that `verify` checks"
    )
    mean_s: float | None = Field(None, ge=0, description="how long most people take; counts as 30 people seen")
    max_s: float | None = Field(None, gt=0, description="how long the slowest people take; not a law")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = {"min_s": self.min_s, "mean_s": self.mean_s, "max_s": self.max_s}
        given = [(name, value) for name, value in times.items() if value is not None]
        if not given:
            raise ValueError("give at least one of min_s, mean_s and max_s, in seconds")
        for (low, less), (high, more) in itertools.pairwise(given):
            if less > more:
                raise ValueError(f"{low} is {less:g} and so above {high}, {more:g}")
        return self


class CamsConfig(Settings):
    """cams.yaml."""

    pipeline: str | None = Field(None, description="pipeline.yaml to use with these cameras; --config overrules it")
    cameras: tuple[CameraConfig, ...] = Field(min_length=1, description="the cameras of one site")
    transitions: tuple[TransitionConfig, ...] = Field(
        (), description="what is known of how long people walk from camera to camera; the rest is learned"
    )


class PipelineConfig(Settings):
    """pipeline.yaml: one part per room."""

    ingest: IngestConfig = IngestConfig()
    detect: DetectConfig = DetectConfig()
    track: TrackConfig = TrackConfig()
    clips: ClipConfig = ClipConfig()
    reid: ReidConfig = ReidConfig()
    fusion: FusionConfig = FusionConfig()
    output: OutputConfig = OutputConfig()
    transport: TransportConfig = TransportConfig()
    live: LiveConfig = LiveConfig()


def load_pipeline(path: Path | None, settings: Sequence[str] = ()) -> PipelineConfig:
    """A pipeline.yaml (None: the defaults) with `key.key=value` settings on top. Raises ConfigError."""
    file = YamlFile(path) if path else None
    data: dict[str, Any] = dict(file.data) if file else {}
    overrides: dict[KeyPath, str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        key = tuple(name.strip().split("."))
        if not equals or not all(key) or "://" in name:  # an address may hold a password
            raise ConfigError(f"--set {mask_credentials(setting)}: want key.key=value, for example track.max_lost_s=3")
        data = _with(data, key, _value(key, text, setting))
        overrides[key] = f"--set {mask_credentials(setting)}"
    return validate(PipelineConfig, data, file, overrides)


def load_runtime(name: str, *, workers: int | None = None, ray_address: str | None = None) -> RuntimeConfig:
    """Where stages run: `inline`, `processes`, `ray` or a file of settings. Raises ConfigError."""
    is_file = name.endswith((".yaml", ".yml"))
    if not is_file and name not in ("inline", "processes", "ray"):
        raise ConfigError(f"--runtime {name}: want inline, processes, ray or a .yaml file as in configs/runtimes")
    file = YamlFile(Path(name)) if is_file else None
    data: dict[str, Any] = dict(file.data) if file else {"kind": name}
    overrides: dict[KeyPath, str] = {}
    if workers is not None:
        data, overrides[("workers",)] = _with(data, ("workers",), workers), f"--workers {workers}"
    if ray_address is not None:
        data, overrides[("ray", "address")] = _with(data, ("ray", "address"), ray_address), "--ray-address"
    return validate(RuntimeConfig, data, file, overrides)


def _value(key: KeyPath, text: str, setting: str) -> Any:
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        problem = mask_credentials(str(getattr(error, "problem", None) or "it can not be read"))
        raise ConfigError(f"--set {mask_credentials(setting)}: the value is not valid YAML: {problem}") from None
    if key in _PATH_KEYS and isinstance(value, str) and Path(value).exists():
        return str(Path(value).resolve())  # a path typed at the prompt is relative to where it was typed
    return value


def _with(data: dict[str, Any], key: KeyPath, value: Any) -> dict[str, Any]:
    """A copy of nested `data` with one value set."""
    head, rest = str(key[0]), key[1:]
    below = data.get(head)
    return {**data, head: _with(below if isinstance(below, dict) else {}, rest, value) if rest else value}
