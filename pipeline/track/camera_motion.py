"""Where a moving camera's picture has gone since the last frame, and filters moved along with it.

Corners of the standing scene are followed with sparse optical flow (Lucas-Kanade in pyramids) on a grey image scaled
down, people masked out; a similarity (shift, rotation, zoom) is fitted to them by RANSAC. That is the camera-motion
compensation of BoT-SORT (Aharon, Orfaig, Bobrovsky, 2022, section 3.2) and its global motion compensation before.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.settings import Settings
from pipeline.types import Float64, UInt8

_Grey = npt.NDArray[np.uint8]
_Points = npt.NDArray[np.float32]


class CameraMotionConfig(Settings):
    """Compensation of the movement of one camera."""

    least_height_px: int = Field(
        240, ge=32, le=4320, description="the picture is scaled down by a whole number, to this height or more"
    )
    max_corners: int = Field(150, ge=8, le=5000, description="corners followed at most")
    window_px: int = Field(15, ge=5, le=63, description="scaled pixels around a corner by which it is known again")
    corner_quality: float = Field(
        0.01, gt=0, lt=1, description="corners weaker than this share of the strongest are left"
    )
    corner_spacing_share: float = Field(
        0.03, gt=0, le=0.5, description="least distance between corners, of the picture's height"
    )
    inlier_px: float = Field(1.0, gt=0, le=50, description="scaled pixels by which a corner may miss the fitted motion")
    min_inliers: int = Field(12, ge=3, le=5000, description="fewer agreeing corners mean that nothing is known")
    min_inlier_share: float = Field(0.4, gt=0, le=1, description="the same, as a share of the corners found again")
    max_zoom: float = Field(1.3, gt=1, le=10, description="greater changes of scale in one frame are taken for a cut")
    still_px: float = Field(
        0.1, ge=0, le=10, description="scaled pixels; a camera that moves the picture less stands still"
    )


def no_motion() -> Float64:
    """(2, 3) the affine mapping of a camera that stands still."""
    return np.eye(2, 3)


class CameraMotion:
    """Measures the movement of one camera from frame to frame. It keeps one grey picture and one mask.

    Deterministic: OpenCV's RANSAC begins every fit with the same seed of its own, `cv2.setRNGSeed` does not touch it.
    """

    def __init__(self, config: CameraMotionConfig | None = None) -> None:
        self._config = config or CameraMotionConfig()
        self._grey: _Grey | None = None  # of the last frame, scaled
        self._corners: _Points = np.zeros((0, 1, 2), np.float32)  # in it

    def update(self, image: UInt8, xyxy: npt.NDArray[np.floating[Any]]) -> Float64:
        """(2, 3) float64 affine mapping the pixels of the last frame to those of this one: x' = A[:, :2] x + A[:, 2].

        image: (H, W, 3) uint8 BGR. xyxy: (N, 4) boxes of people, whose own movement must not count. The identity in
        the first frame, after a change of size, and wherever too few corners agree. Raises ValueError for another
        kind of image or for boxes that are not finite; the state is unchanged then.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"CameraMotion: want (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if xyxy.ndim != 2 or xyxy.shape[1] != 4 or not np.isfinite(xyxy).all():
            raise ValueError(f"CameraMotion: want finite boxes (N, 4), got shape {xyxy.shape}")
        step = max(1, image.shape[0] // self._config.least_height_px)
        grey = _scaled_grey(image, step)
        affine = no_motion()
        if self._grey is not None and self._grey.shape == grey.shape:
            affine = _measured(self._grey, grey, self._corners, self._config)
        self._grey, self._corners = grey, _corners(grey, xyxy / step, self._config)
        affine[:, 2] *= step
        return affine


def warp_boxes(xyxy: Float64, affine: Float64) -> Float64:
    """(N, 4) boxes whose centres went along with the camera and whose sizes grew with its zoom."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 @ affine[:, :2].T + affine[:, 2]
    half = (xyxy[:, 2:] - xyxy[:, :2]) / 2 * _zoom(affine)
    return np.concatenate((centre - half, centre + half), axis=1)


def warp_means(mean: Float64, cov: Float64, affine: Float64) -> tuple[Float64, Float64]:
    """Filters (N, 2, 4), (N, 3, 4) laid out as in kalman.py, in the pixels of the new frame.

    Centres are mapped, their velocities turned and stretched, sizes and their growth stretched by the zoom. A turned
    camera mixes the errors of x and y; their correlation, which the filter has no place for, is left out, and there
    is none while both are equally uncertain, as they are in this filter.
    """
    turn, zoom = affine[:, :2], _zoom(affine)
    moved = mean.copy()
    moved[:, :, :2] = mean[:, :, :2] @ turn.T
    moved[:, 0, :2] += affine[:, 2]
    moved[:, :, 2:] *= zoom
    spread = cov.copy()
    spread[:, :, :2] = cov[:, :, :2] @ (turn * turn).T
    spread[:, :, 2:] *= zoom * zoom
    return moved, spread


def _zoom(affine: Float64) -> float:
    """Growth of lengths: the root of the growth of areas."""
    return float(np.sqrt(abs(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])))


def _scaled_grey(image: UInt8, step: int) -> _Grey:
    """Means over squares of `step` pixels; a rest at the right and lower border is left out. Whole squares of a grey
    picture are ten times as fast as any other scaling by area."""
    height, width = max(1, image.shape[0] // step), max(1, image.shape[1] // step)
    grey = cv2.cvtColor(image[: height * step, : width * step], cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _corners(grey: _Grey, xyxy: npt.NDArray[np.floating[Any]], config: CameraMotionConfig) -> _Points:
    """(P, 1, 2) corners outside the boxes, the strongest first; where people fill the picture, none."""
    height, width = grey.shape
    mask = np.full(grey.shape, 255, np.uint8)
    edges = np.concatenate((np.floor(xyxy[:, :2]), np.ceil(xyxy[:, 2:])), axis=1)
    for left, top, right, bottom in np.clip(edges, 0, (width, height) * 2).astype(int).tolist():
        mask[top:bottom, left:right] = 0
    spacing_px = max(1.0, config.corner_spacing_share * height)
    found = cv2.goodFeaturesToTrack(grey, config.max_corners, config.corner_quality, spacing_px, mask=mask)
    return np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _measured(old: _Grey, new: _Grey, corners: _Points, config: CameraMotionConfig) -> Float64:
    """(2, 3) the mapping of the scaled pixels, or the identity where the corners do not tell.

    Flow finds corners within some tens of pixels. Where that fails the camera may have leapt: the search begins once
    more from the shift of the picture as a whole (phase correlation), which is coarse but knows no limit.
    """
    if len(corners) < config.min_inliers:
        return no_motion()
    affine = _fitted(old, new, corners, (0.0, 0.0), config)
    if affine is None:
        window = cv2.createHanningWindow((old.shape[1], old.shape[0]), cv2.CV_32F)
        leap, _ = cv2.phaseCorrelate(old.astype(np.float32), new.astype(np.float32), window)
        affine = _fitted(old, new, corners, (float(leap[0]), float(leap[1])), config)
    return no_motion() if affine is None else affine


def _fitted(
    old: _Grey, new: _Grey, corners: _Points, shift: tuple[float, float], config: CameraMotionConfig
) -> Float64 | None:
    """(2, 3) the mapping that the corners agree on, looked for around `shift`; None where they do not agree."""
    expected = corners + np.array(shift, np.float32)
    window = (config.window_px, config.window_px)
    followed, found, _ = cv2.calcOpticalFlowPyrLK(
        old, new, corners, expected, winSize=window, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    hit = found[:, 0] == 1
    source, target = corners[hit, 0], followed[hit, 0]
    if len(source) < config.min_inliers:
        return None
    if np.median(np.abs(target - source).max(axis=1)) < config.still_px:
        return no_motion()
    affine, inlier = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=config.inlier_px
    )
    needed = max(config.min_inliers, config.min_inlier_share * len(source))
    if affine is None or np.count_nonzero(inlier) < needed or not np.isfinite(affine).all():
        return None
    mapped = np.asarray(affine, np.float64)
    return mapped if 1 / config.max_zoom <= _zoom(mapped) <= config.max_zoom else None
