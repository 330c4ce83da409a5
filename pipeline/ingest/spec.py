"""What the reader has to know of a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.ingest.urls import mask_credentials


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera. `source` is a file, a folder of images, a URL, or the number of a device as digits.

    `start_time_s` (seconds since 1970) is when frame 0 of a recording was taken; `offset_s` is added to all its
    times. `fps` is for sources without times: it overrides a recording's own (time = frame_idx / fps).
    `crop` (x, y, w, h in pixels) is the part of the picture that is this camera's.
    `num_passed` frames of a recording are not looked at: they come in their ticks, with the picture of the first.
    """

    camid: int
    name: str
    source: str
    start_time_s: float | None = None
    offset_s: float = 0.0
    fps: float | None = None
    crop: tuple[int, int, int, int] | None = None
    num_passed: int = 0

    def __post_init__(self) -> None:
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"camera {self.name}: fps must be a number above 0, not {self.fps}")
        if not self.source.strip():
            raise ValueError(f"camera {self.name}: source is empty; give a file, a folder, a URL or a device number")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ValueError(f"camera {self.name}: crop {self.crop} must be x, y >= 0 and w, h >= 1 (x, y, w, h)")

    def __repr__(self) -> str:
        return (
            f"CameraSpec(camid={self.camid}, name={self.name!r}, source={mask_credentials(self.source)!r}, "
            f"start_time_s={self.start_time_s}, offset_s={self.offset_s}, fps={self.fps}, crop={self.crop})"
        )
