"""What a tracker may be told beside the boxes. Every cue can be left out; without any, boxes decide alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.geometry.boxes import foot_point
from pipeline.geometry.camera import GroundCamera
from pipeline.types import BoolMask, Float32, Float64


def _nothing(*shape: int) -> Float64:
    array = np.zeros(shape)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Cues:
    """Cues of one frame; rows are aligned with its detections, and an array without rows or columns says nothing.

    Raises ValueError for shapes that do not fit and for vectors or a camera motion that are not finite.
    """

    vector: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(N, D) looks of each box, of unit norm; a row of zeros is unknown. D must not change in a camera."""

    camera_motion: Float64 = field(default_factory=lambda: np.eye(2, 3))
    """(2, 3) affine mapping of the last frame's pixels to this one's, as `CameraMotion.update` gives it."""

    ground: Float64 = field(default_factory=lambda: _nothing(0, 3))
    """(N, 3) where each box stands on the floor: x m, y m, and its standard deviation in m; NaN where unknown."""

    def __post_init__(self) -> None:
        vector = np.asarray(self.vector, np.float32)
        if vector.ndim != 2:
            raise ValueError(f"Cues.vector: want (N, D), got shape {vector.shape}")
        finite = np.isfinite(vector).all(axis=1)
        if not finite.all():
            raise ValueError(f"Cues.vector: not finite in row {finite.argmin()}; unknown looks are zeros")
        object.__setattr__(self, "vector", vector if vector.shape[1] else vector[:0])
        if self.camera_motion.shape != (2, 3) or not np.isfinite(self.camera_motion).all():
            raise ValueError(f"Cues.camera_motion: want a finite (2, 3) matrix, got {self.camera_motion.tolist()}")
        if self.ground.ndim != 2 or self.ground.shape[1] != 3:
            raise ValueError(f"Cues.ground: want (N, 3), got shape {self.ground.shape}")

    def check_fits(self, num_detections: int, vector_length: int) -> None:
        """Raise ValueError where a cue was given for another number of detections, or vectors of another length than
        before; `vector_length` is 0 where there were none yet."""
        for name in ("vector", "ground"):
            rows = len(getattr(self, name))
            if rows not in (0, num_detections):
                raise ValueError(f"Cues.{name}: {rows} rows for {num_detections} detections")
        if vector_length and len(self.vector) and self.vector.shape[1] != vector_length:
            raise ValueError(f"Cues.vector: length {self.vector.shape[1]}, but {vector_length} before")


NO_CUES = Cues()


def ground_cue(xyxy: Float32, camera: GroundCamera) -> Float64:
    """(N, 3) where boxes (N, 4) stand on the floor of a calibrated camera, as in `Cues.ground`.

    A detector's lower edge is taken to be wrong by a tenth of the box's height (1 sd): it swings with the stride.
    """
    feet = foot_point(xyxy)
    sigma_m = camera.ground_sigma_m(feet, 1.0) * (0.1 * (xyxy[:, 3] - xyxy[:, 1]))
    return np.concatenate((camera.to_ground(feet), sigma_m[:, None]), axis=1)


def too_far_on_ground(track_ground: Float64, ground: Float64, dt_s: Float64, max_speed_mps: float) -> BoolMask:
    """(T, N) the pairs that nobody can be: on foot from where the track stood last to where the detection stands.

    track_ground: (T, 3), ground: (N, 3) as in `Cues.ground`. dt_s: (T,) since the track was seen. Three standard
    deviations of both places are granted. Where a place is unknown, nothing is forbidden.
    """
    way = track_ground[:, None, :2] - ground[None, :, :2]
    slack = 3 * np.hypot(track_ground[:, None, 2], ground[None, :, 2])
    far: BoolMask = np.hypot(way[..., 0], way[..., 1]) > max_speed_mps * dt_s[:, None] + slack
    return far
