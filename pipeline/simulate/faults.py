"""What can go wrong at a site on request: cameras, clocks and streams that misbehave, people dressed alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from pipeline.settings import Settings
from pipeline.types import BoolMask, Float64, Int64

CAMERA_HELP = "id of the camera"


class Dropout(Settings):
    """The camera sends nothing for a while."""

    kind: Literal["dropout"] = "dropout"
    camera: str = Field(description=CAMERA_HELP)
    from_s: float = Field(ge=0)
    to_s: float = Field(gt=0)


class ClockSkew(Settings):
    """The camera's clock is wrong by a constant."""

    kind: Literal["skew"] = "skew"
    camera: str = Field(description=CAMERA_HELP)
    offset_s: float = Field(description="seconds that its clock is ahead")


class ClockDrift(Settings):
    """The camera's clock runs fast or slow."""

    kind: Literal["drift"] = "drift"
    camera: str = Field(description=CAMERA_HELP)
    s_per_hour: float = Field(ge=-3600, le=3600, description="seconds that it gains in an hour")


class LateFrames(Settings):
    """Frames arrive late; their time stamps are right."""

    kind: Literal["late"] = "late"
    camera: str = Field(description=CAMERA_HELP)
    delay_s: float = Field(gt=0, description="mean delay")
    from_s: float = Field(0.0, ge=0)
    to_s: float = Field(1e9, gt=0)


class DoubledFrames(Settings):
    """Frames arrive twice, the second time one frame later."""

    kind: Literal["doubled"] = "doubled"
    camera: str = Field(description=CAMERA_HELP)
    probability: float = Field(0.05, ge=0, le=1)


class DisorderedFrames(Settings):
    """Single frames arrive after their successors."""

    kind: Literal["disordered"] = "disordered"
    camera: str = Field(description=CAMERA_HELP)
    probability: float = Field(0.05, ge=0, le=1)
    frames: int = Field(2, ge=1, le=1000, description="how many frames later they arrive, at most")


class NewSize(Settings):
    """The stream breaks off and returns with a picture of another size."""

    kind: Literal["new_size"] = "new_size"
    camera: str = Field(description=CAMERA_HELP)
    at_s: float = Field(ge=0)
    gone_s: float = Field(0.0, ge=0, description="how long nothing comes before")
    width_px: int = Field(ge=32, le=16384)
    height_px: int = Field(ge=32, le=16384)


class Alike(Settings):
    """Two people are dressed alike."""

    kind: Literal["alike"] = "alike"
    people: tuple[int, int] = Field(description="their pids, from 1")
    likeness: float = Field(0.97, ge=0, le=1, description="share of their looks that they have in common")


Fault = Annotated[
    Dropout | ClockSkew | ClockDrift | LateFrames | DoubledFrames | DisorderedFrames | NewSize | Alike,
    Field(discriminator="kind"),
]
F = TypeVar("F", bound=Settings)


def of_kind(faults: Sequence[Any], kind: type[F], camera: str | None = None) -> tuple[F, ...]:
    """The faults of one class, of one camera where it is named."""
    return tuple(f for f in faults if isinstance(f, kind) and camera in (None, getattr(f, "camera", None)))


def is_sent(faults: Sequence[Any], camera: str, time_s: Float64) -> BoolMask:
    """(N,) whether the camera sends a frame at these true times."""
    sent = np.ones(len(time_s), np.bool_)
    for gap in of_kind(faults, Dropout, camera):
        sent &= (time_s < gap.from_s) | (time_s >= gap.to_s)
    for change in of_kind(faults, NewSize, camera):
        sent &= (time_s < change.at_s - change.gone_s) | (time_s >= change.at_s)
    return sent


def scale_at(faults: Sequence[Any], camera: str, size_px: tuple[int, int], time_s: Float64) -> Float64:
    """(N, 2) factors on x and y that the picture's size of `size_px` (width, height) has at these times."""
    scale = np.ones((len(time_s), 2))
    for change in sorted(of_kind(faults, NewSize, camera), key=lambda fault: fault.at_s):
        scale[time_s >= change.at_s] = change.width_px / size_px[0], change.height_px / size_px[1]
    return scale


def stamped(faults: Sequence[Any], camera: str, time_s: Float64) -> Float64:
    """(N,) what the camera's clock says at these true times."""
    stamp = np.asarray(time_s, np.float64)
    for drift in of_kind(faults, ClockDrift, camera):
        stamp = stamp + time_s * (drift.s_per_hour / 3600.0)
    for skew in of_kind(faults, ClockSkew, camera):
        stamp = stamp + skew.offset_s
    return stamp


def arrivals(
    faults: Sequence[Any], camera: str, fps: float, frame_idx: Int64, rng: np.random.Generator
) -> tuple[Int64, Float64]:
    """When a camera's frames arrive -> rows (M,) of `frame_idx` and their times of arrival (M,), in true seconds.

    Without faults these are all rows at their own times. A frame that is doubled has two rows.
    """
    rows = np.arange(len(frame_idx))
    time_s = frame_idx / fps
    at_s = time_s.copy()
    for late in of_kind(faults, LateFrames, camera):
        hit = (time_s >= late.from_s) & (time_s < late.to_s)
        at_s = at_s + hit * rng.gamma(4.0, late.delay_s / 4.0, len(rows))
    for swap in of_kind(faults, DisorderedFrames, camera):
        hit = rng.random(len(rows)) < swap.probability
        at_s = at_s + hit * (rng.integers(1, swap.frames + 1, len(rows)) + 0.5) / fps
    for double in of_kind(faults, DoubledFrames, camera):
        again = rows[rng.random(len(rows)) < double.probability]
        rows = np.concatenate([rows, again])
        at_s = np.concatenate([at_s, at_s[again] + 1.0 / fps])
    return rows, at_s
