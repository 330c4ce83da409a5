"""Where the gates of a place lie on its floor, and how a camera of a site sees people who stand there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import GroundCamera
from pipeline.simulate.graph import BORDERS, Place, Site, SiteCamera
from pipeline.types import Float64, Int64

STOP = len(BORDERS)

# Where feet are at the gates of a camera's own place: u and v from ... to, in shares of the picture.
_GATES_IN_PICTURE = {
    "left": ((0.0, 0.0), (0.5, 0.92)),
    "right": ((1.0, 1.0), (0.5, 0.92)),
    "top": ((0.2, 0.8), (0.28, 0.34)),
    "bottom": ((0.2, 0.8), (1.0, 1.0)),
    "interior": ((0.35, 0.65), (0.38, 0.5)),
}
_STOPS_IN_PICTURE = ((0.25, 0.75), (0.45, 0.85))
_GATES_IN_PLACE = {
    "left": ((0.0, 0.0), (0.15, 0.85)),
    "right": ((1.0, 1.0), (0.15, 0.85)),
    "top": ((0.15, 0.85), (1.0, 1.0)),
    "bottom": ((0.15, 0.85), (0.0, 0.0)),
    "interior": ((0.4, 0.6), (0.4, 0.6)),
}
_STOPS_IN_PLACE = ((0.2, 0.8), (0.2, 0.8))


@dataclass(frozen=True, eq=False)
class Floors:
    """The floors of all places: corners of their gates' stretches, to be mixed bilinearly. Metres in the world."""

    corners: Float64  # (P, 6, 4, 2): per border of BORDERS and for stops, the points (u0 v0), (u1 v0), (u0 v1), (u1 v1)

    def points(self, place: Int64, border: Int64, u: Float64, v: Float64) -> Float64:
        """(N, 2) points of these gates (border STOP: where people stop) at shares u, v in [0, 1] of their stretch."""
        weight = np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], axis=1)
        return np.asarray(np.einsum("nk,nkd->nd", weight, self.corners[place, border]), np.float64)


def floors_of(site: Site) -> Floors:
    """The floors of a site's places, by number."""
    shared = {given.id: given for given in site.places}
    corners = []
    for number, name in enumerate(site.place_names):
        if name in shared:
            corners.append(_shared_floor(shared[name]))
        else:
            corners.append(_own_floor(site.cameras[site.cameras_of(number)[0]]))
    return Floors(np.stack(corners))


def _shared_floor(place: Place) -> Float64:
    low, size = np.array([place.left_m, place.bottom_m]), np.array([place.width_m, place.depth_m])
    stretches = [*(_GATES_IN_PLACE[name] for name in BORDERS), _STOPS_IN_PLACE]
    return np.stack([low + size * _corners(*stretch) for stretch in stretches])


def _own_floor(camera: SiteCamera) -> Float64:
    size = np.array([camera.width_px, camera.height_px], np.float64)
    ground = ground_camera(camera)
    stretches = [*(_GATES_IN_PICTURE[name] for name in BORDERS), _STOPS_IN_PICTURE]
    corners = np.stack([ground.to_ground(size * _corners(*stretch)) for stretch in stretches])
    if not np.isfinite(corners).all():
        raise ValueError(
            f"camera {camera.id!r} sees the horizon too low in its picture; look down further (pitch_deg) or "
            "take a narrower fov_deg"
        )
    return corners


def _corners(u: tuple[float, float], v: tuple[float, float]) -> Float64:
    return np.array([[u[0], v[0]], [u[1], v[0]], [u[0], v[1]], [u[1], v[1]]])


def intrinsic_of(camera: SiteCamera) -> Float64:
    """(3, 3) camera matrix of a perfect lens."""
    focal = camera.width_px / 2 / np.tan(np.radians(camera.fov_deg) / 2)
    return np.array([[focal, 0, camera.width_px / 2], [0, focal, camera.height_px / 2], [0, 0, 1.0]])


def world_to_camera(camera: SiteCamera) -> Float64:
    """(3, 4) pose: x right, y down, z into the picture."""
    yaw, pitch = np.radians(camera.yaw_deg), np.radians(camera.pitch_deg)
    ahead = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    rotation = np.stack([right, np.cross(ahead, right), ahead])
    return np.column_stack([rotation, -rotation @ [camera.x_m, camera.y_m, camera.mount_m]])


def ground_camera(camera: SiteCamera) -> GroundCamera:
    """The camera's calibration."""
    return GroundCamera.from_projection(intrinsic_of(camera), np.zeros(5), world_to_camera(camera))


def calibrations(site: Site) -> tuple[GroundCamera | None, ...]:
    """By camid, None where the pipeline is not told: what `build_fuser` takes."""
    return tuple(ground_camera(camera) if camera.calibrated else None for camera in site.cameras)


def boxes_of(camera: SiteCamera, ground_xy: Float64, height_m: Float64, gait: Float64) -> tuple[Float64, Float64]:
    """Boxes (N, 4) xyxy of upright people, not clipped, and the depth (N,) of their feet in metres (<= 0: behind).

    ground_xy (N, 2) feet in the world, height_m (N,), gait (N,) in [-1, 1]: how far the legs are apart.
    """
    matrix = intrinsic_of(camera) @ world_to_camera(camera)
    foot = ground_xy @ matrix[:, :2].T + matrix[:, 3]
    head = foot + height_m[:, None] * matrix[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        foot_uv, head_uv = foot[:, :2] / foot[:, 2:], head[:, :2] / head[:, 2:]
    tall = foot_uv[:, 1] - head_uv[:, 1]
    half = tall * (0.19 + 0.03 * gait)
    middle = (foot_uv[:, 0] + head_uv[:, 0]) / 2
    xyxy = np.stack([middle - half, head_uv[:, 1], middle + half, foot_uv[:, 1]], axis=1)
    return xyxy, np.minimum(foot[:, 2], head[:, 2])
