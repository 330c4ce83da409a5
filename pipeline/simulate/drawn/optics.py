"""A camera: where it stands, its lens, and what its sensor and its encoder make of the light.

The picture is first drawn as a perfect lens would see it, on a window wide enough for all that the real lens shows,
and then bent by the lens (OpenCV's k1, k2, p1, p2, k3). Ids and boxes go the same way, so truth and pixels agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.geometry.camera import GroundCamera
from pipeline.types import Float32, Float64, UInt8

_NEAR_M, _FAR_M = 0.1, 150.0
_BORDER_STEPS = 64


@dataclass(frozen=True)
class SensorLook:
    """What a camera does to colours and edges."""

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    saturation: float = 1.0
    contrast: float = 1.0
    vignette: float = 0.1  # how much darker the corners are
    blur_px: float = 0.4
    sharpening: float = 0.0
    noise: float = 0.01  # standard deviation of brightness, of 1
    jpeg_quality: int = 90  # artefacts of the camera's own encoder


def random_look(rng: np.random.Generator) -> SensorLook:
    return SensorLook(
        exposure=float(rng.uniform(0.75, 1.3)),
        white_balance=tuple(float(v) for v in 1.0 + rng.normal(0, 0.05, 3)),  # type: ignore[arg-type]
        gamma=float(rng.uniform(0.85, 1.2)),
        saturation=float(rng.uniform(0.55, 1.1)),
        contrast=float(rng.uniform(0.82, 1.1)),
        vignette=float(rng.uniform(0.0, 0.3)),
        blur_px=float(rng.uniform(0.2, 0.9)),
        sharpening=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.6, 0.4])),
        noise=float(rng.uniform(0.003, 0.022)),
        jpeg_quality=int(rng.integers(45, 95)),
    )


@dataclass(frozen=True, eq=False)
class DrawnCamera:
    """A calibrated camera. Metres, floor at z = 0; the camera looks along its own +z, y down."""

    width_px: int
    height_px: int
    intrinsic: Float64  # (3, 3)
    distortion: Float64  # (5,)
    world_to_camera: Float64  # (4, 4)
    look: SensorLook = SensorLook()

    @property
    def position(self) -> Float64:
        rotation = self.world_to_camera[:3, :3]
        return np.asarray(-rotation.T @ self.world_to_camera[:3, 3])

    @property
    def ground_camera(self) -> GroundCamera:
        return GroundCamera.from_projection(self.intrinsic, self.distortion, self.world_to_camera)

    @cached_property
    def flat_window(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom, in pixels of the perfect lens, of all that the picture shows."""
        step = np.linspace(0, 1, _BORDER_STEPS)
        width, height = float(self.width_px), float(self.height_px)
        sides = [(step * width, 0 * step), (step * width, height + 0 * step), (0 * step, step * height),
                 (width + 0 * step, step * height)]  # fmt: skip
        border = np.concatenate([np.stack(side, axis=1) for side in sides]) - 0.5
        flat = self.undistorted(border)
        (left, top), (right, bottom) = np.floor(flat.min(axis=0)) - 1, np.ceil(flat.max(axis=0)) + 2
        return float(left), float(top), float(right), float(bottom)

    def undistorted(self, points_xy: Float64) -> Float64:
        """(N, 2) pixels of the picture -> (N, 2) pixels of the perfect lens."""
        if not self.distortion.any():
            return np.asarray(points_xy, np.float64)
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        flat = cv2.undistortPoints(
            np.asarray(points_xy, np.float64)[:, None], self.intrinsic, self.distortion, P=self.intrinsic, criteria=stop
        )
        return np.asarray(flat[:, 0], np.float64)

    def distorted(self, flat_xy: Float64) -> Float64:
        """(N, 2) pixels of the perfect lens -> (N, 2) pixels of the picture."""
        if not self.distortion.any() or len(flat_xy) == 0:
            return np.asarray(flat_xy, np.float64)
        focal, centre = np.diag(self.intrinsic)[:2], self.intrinsic[:2, 2]
        x, y = ((flat_xy - centre) / focal).T
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        bent = np.stack(
            [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y],
            axis=1,
        )
        return np.asarray(bent * focal + centre)

    def flat_pixels(self, points_xyz: Float64) -> tuple[Float64, Float64]:
        """(N, 2) pixels of the perfect lens and (N,) depth in metres, for world points (N, 3)."""
        seen = points_xyz @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = seen[:, :2] / seen[:, 2:] * np.diag(self.intrinsic)[:2] + self.intrinsic[:2, 2]
        return pixels, seen[:, 2]

    def projection(self, window: tuple[float, float, float, float]) -> Float64:
        """(4, 4) world -> clip space, for the part of the perfect picture in `window` (left, top, right, bottom px).

        Rows of the framebuffer run downwards, as in a picture: nothing has to be flipped after reading it. A pixel
        (u, v) is centred at (u, v), so the window's edges lie half a pixel outside its first and last pixel centres.
        """
        left, top, right, bottom = window
        fx, fy, cx, cy = self.intrinsic[0, 0], self.intrinsic[1, 1], self.intrinsic[0, 2], self.intrinsic[1, 2]
        across, down = right - left, bottom - top
        depth, shift = (_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M), -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)
        clip = np.array(
            [
                [2 * fx / across, 0, (2 * (cx + 0.5 - left) - across) / across, 0],
                [0, 2 * fy / down, (2 * (cy + 0.5 - top) - down) / down, 0],
                [0, 0, depth, shift],
                [0, 0, 1, 0],
            ]
        )
        return np.asarray(clip @ self.world_to_camera)

    def bending(self, samples: int) -> tuple[Float32, Float32]:
        """Maps for cv2.remap: for every sample of the picture (`samples` per pixel and axis) where it lies in the flat
        window, which is drawn with `samples` per pixel too."""
        left, top, _, _ = self.flat_window
        u = (np.arange(self.width_px * samples) + 0.5) / samples - 0.5
        v = (np.arange(self.height_px * samples) + 0.5) / samples - 0.5
        grid = np.stack(np.meshgrid(u, v), axis=-1)
        flat = self.undistorted(grid.reshape(-1, 2)).reshape(grid.shape)
        return (
            ((flat[..., 0] + 0.5 - left) * samples - 0.5).astype(np.float32),
            ((flat[..., 1] + 0.5 - top) * samples - 0.5).astype(np.float32),
        )


def camera_at(
    position: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    size_px: tuple[int, int],
    fov_deg: float,
    distortion: npt.ArrayLike = (0.0, 0.0, 0.0, 0.0, 0.0),
    look: SensorLook = SensorLook(),
    roll: float = 0.0,
) -> DrawnCamera:
    """A camera at `position` that looks at `target`, with a horizontal field of view of `fov_deg` degrees."""
    position, target = np.asarray(position, np.float64), np.asarray(target, np.float64)
    ahead = (target - position) / np.linalg.norm(target - position)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    right = right * np.cos(roll) + np.cross(ahead, right) * np.sin(roll)
    down = np.cross(ahead, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, ahead])
    pose[:3, 3] = -pose[:3, :3] @ position
    width, height = size_px
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    intrinsic = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return DrawnCamera(width, height, intrinsic, np.asarray(distortion, np.float64), pose, look)


def apply_look(image: UInt8, look: SensorLook, rng: np.random.Generator) -> UInt8:
    """(H, W, 3) BGR -> the same as the camera's sensor and encoder give it."""
    height, width = image.shape[:2]
    light = image.astype(np.float32) * np.array(look.white_balance[::-1], np.float32) / np.float32(255)
    if look.vignette > 0:
        rows, cols = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        light *= (1 - look.vignette * (rows**2 + cols**2) / 2).astype(np.float32)[..., None]
    np.clip(light, 0, 1, out=light)
    cv2.pow(light, look.gamma, light)
    grey = light.mean(axis=2, keepdims=True)
    light = ((grey + (light - grey) * np.float32(look.saturation)) - 0.5) * np.float32(look.contrast) + np.float32(0.5)
    if look.blur_px > 0.25:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), look.blur_px), np.float32)
    if look.sharpening > 0:
        light += np.float32(look.sharpening) * (light - np.asarray(cv2.GaussianBlur(light, (0, 0), 1.2), np.float32))
    grain = rng.standard_normal((height, width, 4), np.float32) * np.float32(look.noise)
    light += grain[..., 3:] + np.float32(0.5) * grain[..., :3]
    shown = (np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
