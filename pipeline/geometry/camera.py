"""A calibrated camera over a flat floor: pixels <-> metres.

Pinhole model with the Brown-Conrady lens of OpenCV (k1, k2, p1, p2, k3, ...). The floor is the plane z = 0 of the
world; a floor point (x, y, 1) appears at the undistorted pixel K [r1 r2 t] (x, y, 1), with [R | t] = world_to_camera
(Hartley and Zisserman, Multiple View Geometry, section 8.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import Float64

_LENS_TERMS = (4, 5, 8, 12, 14)  # the numbers of coefficients OpenCV knows
_LENS_TOLERANCE_PX = 0.5
_LENS_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
_BELOW_PICTURE_PX = 4096.0


@dataclass(frozen=True, slots=True, eq=False)
class GroundCamera:
    """Where pixels of a camera meet the floor. A frozen value.

    image_to_ground: (3, 3) undistorted pixels (u, v, 1) -> metres on the floor, up to scale. Its sign is chosen such
    that the third coordinate is positive in front of the camera.
    intrinsic: (3, 3) focal lengths and centre in pixels. distortion: (K,) lens coefficients, zeros for none.
    """

    image_to_ground: Float64
    intrinsic: Float64
    distortion: Float64

    def __post_init__(self) -> None:
        for name, shape in (("image_to_ground", (3, 3)), ("intrinsic", (3, 3)), ("distortion", None)):
            array = np.array(getattr(self, name), np.float64)
            if shape is not None and array.shape != shape:
                raise ValueError(f"{name}: want a 3x3 matrix, got shape {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: every number must be finite")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.distortion.ndim != 1 or len(self.distortion) not in _LENS_TERMS:
            raise ValueError(f"distortion: want 4, 5, 8, 12 or 14 coefficients, got shape {self.distortion.shape}")
        if np.linalg.matrix_rank(self.image_to_ground) < 3:
            raise ValueError("image_to_ground: the matrix can not be inverted; are its points on one line?")
        if self.intrinsic[0, 0] <= 0 or self.intrinsic[1, 1] <= 0:
            raise ValueError("intrinsic: both focal lengths must be positive")

    @classmethod
    def from_homography(cls, image_to_ground: npt.ArrayLike) -> Self:
        """A camera without lens distortion, from a 3x3 matrix that takes pixels to metres on the floor.

        A homography does not tell which side of the horizon is floor: it is the side that lies below the picture.
        """
        matrix = np.array(image_to_ground, np.float64)
        if matrix.shape == (3, 3) and matrix[2] @ (0.0, _BELOW_PICTURE_PX, 1.0) < 0:
            matrix = -matrix
        return cls(matrix, np.eye(3), np.zeros(5))

    @classmethod
    def from_projection(
        cls, intrinsic: npt.ArrayLike, distortion: npt.ArrayLike, world_to_camera: npt.ArrayLike
    ) -> Self:
        """From a full calibration; world_to_camera is 4x4 or 3x4, in metres, the floor being z = 0."""
        matrix = np.array(intrinsic, np.float64)
        pose = np.array(world_to_camera, np.float64)
        if matrix.shape != (3, 3):
            raise ValueError(f"intrinsic: want a 3x3 matrix, got shape {matrix.shape}")
        if pose.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"world_to_camera: want a 4x4 or 3x4 matrix, got shape {pose.shape}")
        rotation = pose[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            raise ValueError("world_to_camera: its left 3x3 part is no rotation")
        ground_to_image = matrix @ pose[:3, [0, 1, 3]]
        if np.linalg.matrix_rank(ground_to_image) < 3:
            raise ValueError("world_to_camera: the camera lies in the floor (z = 0), it sees no point of it")
        return cls(_inverse(ground_to_image), matrix, np.asarray(distortion, np.float64).ravel())

    def cropped(self, left_px: float, top_px: float) -> GroundCamera:
        """The same camera for pictures whose origin is moved to (left_px, top_px), as by cutting them out."""
        shift = np.array([[1.0, 0.0, left_px], [0.0, 1.0, top_px], [0.0, 0.0, 1.0]])
        intrinsic = self.intrinsic.copy()
        intrinsic[:2, 2] -= left_px, top_px
        return replace(self, image_to_ground=self.image_to_ground @ shift, intrinsic=intrinsic)

    def to_ground(self, points_xy: npt.NDArray[np.floating[Any]]) -> Float64:
        """(N, 2) pixels -> (N, 2) metres. NaN on or above the horizon, and where the lens model has no answer."""
        ground, depth = _apply(self.image_to_ground, self._undistort(np.asarray(points_xy, np.float64)))
        ground[~(depth > 0)] = np.nan
        return ground

    def to_image(self, ground_xy: npt.NDArray[np.floating[Any]]) -> Float64:
        """(N, 2) metres -> (N, 2) pixels as the lens draws them. NaN behind the camera, and so far aside that the
        lens model folds back."""
        flat, inverse_depth = _apply(_inverse(self.image_to_ground), np.asarray(ground_xy, np.float64))
        flat[~(inverse_depth > 0)] = np.nan
        if not self.distortion.any():
            return flat
        seen = self._distort(flat)
        back = self._undistort(seen)
        seen[~(np.abs(back - flat).max(axis=1, initial=0.0) < _LENS_TOLERANCE_PX)] = np.nan
        return seen

    def ground_sigma_m(self, points_xy: npt.NDArray[np.floating[Any]], pixel_sigma_px: float) -> Float64:
        """(N,) metres by which a pixel error of that deviation moves each ground point, in its worst direction.

        The largest singular value of the Jacobian of `to_ground`: it grows with the square of the distance, so
        that people far away are trusted less. NaN where `to_ground` is NaN.
        """
        points = np.asarray(points_xy, np.float64)
        flat = self._undistort(points)
        ground, depth = _apply(self.image_to_ground, flat)
        matrix = self.image_to_ground
        jacobian = (matrix[None, :2, :2] - ground[:, :, None] * matrix[None, 2:, :2]) / depth[:, None, None]
        if self.distortion.any():
            steps = [(self._undistort(points + h) - self._undistort(points - h)) for h in ((0.5, 0.0), (0.0, 0.5))]
            jacobian = jacobian @ np.stack(steps, axis=2)
        jacobian[~(depth > 0)] = np.nan
        # The largest singular value of a 2x2 matrix in closed form.
        square = (jacobian**2).sum(axis=(1, 2))
        det = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
        spread = np.sqrt(np.maximum(square**2 - 4 * det**2, 0))
        sigma: Float64 = pixel_sigma_px * np.sqrt((square + spread) / 2)
        return sigma

    def _undistort(self, points_xy: Float64) -> Float64:
        """(N, 2) pixels -> (N, 2) pixels of the same camera with a perfect lens; NaN outside the lens model."""
        if not self.distortion.any() or len(points_xy) == 0:
            return points_xy
        lens = self.intrinsic, self.distortion
        flat: Float64 = np.array(
            cv2.undistortPoints(points_xy[:, None], *lens, P=self.intrinsic, criteria=_LENS_STOP)[:, 0], np.float64
        )
        error = np.abs(self._distort(flat) - points_xy).max(axis=1)
        flat[~(error < _LENS_TOLERANCE_PX)] = np.nan
        return flat

    def _distort(self, flat_xy: Float64) -> Float64:
        """(N, 2) pixels of a perfect lens -> (N, 2) pixels as this lens draws them."""
        if len(flat_xy) == 0:
            return flat_xy
        rays = np.concatenate((flat_xy, np.ones((len(flat_xy), 1))), axis=1) @ _inverse(self.intrinsic).T
        seen, _ = cv2.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), self.intrinsic, self.distortion)
        return np.array(seen[:, 0], np.float64)


def _apply(matrix: Float64, points_xy: Float64) -> tuple[Float64, Float64]:
    """(N, 2) points through a homography -> (N, 2), and the third coordinate (N,) they were divided by."""
    homogeneous = points_xy @ matrix[:, :2].T + matrix[:, 2]
    third = homogeneous[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return homogeneous[:, :2] / third[:, None], third


def _inverse(matrix: Float64) -> Float64:
    return np.asarray(np.linalg.inv(matrix), np.float64)
