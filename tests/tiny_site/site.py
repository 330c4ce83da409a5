"""The tiny site: a hall seen by two overlapping calibrated cameras, and a corridor seen by a third one.

World axes in metres, floor at z = 0, z up. Cameras follow OpenCV: x right, y down, z into the picture,
distortion (k1, k2, p1, p2, k3). The hall lies around (5, 4), the corridor around (21, 6): between their doors
nobody is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.types import Float64

Colour = tuple[float, float, float]
"""BGR, 0..255."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with lens distortion, its picture size and the faults of its colours."""

    name: str
    room: str
    intrinsic: Float64  # (3, 3)
    distortion: Float64  # (5,)
    world_to_camera: Float64  # (4, 4)
    calibrated: bool = True  # whether cams.yaml tells the pipeline
    gain: Colour = (1.0, 1.0, 1.0)  # the colour cast, a factor per channel
    noise: float = 3.0  # standard deviation in grey levels
    width_px: int = 640
    height_px: int = 360

    @property
    def position(self) -> Float64:
        """(3,) where it hangs, in metres."""
        return -self.world_to_camera[:3, :3].T @ self.world_to_camera[:3, 3]

    def project(self, points: Float64) -> tuple[Float64, Float64]:
        """(N, 3) points in metres -> (N, 2) pixels and (N,) depths in metres along the optical axis.

        Pixels of points that are not in front of the camera (depth <= 0) mean nothing.
        """
        in_camera = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        if not len(in_camera):
            return np.zeros((0, 2)), np.zeros(0)
        zero = np.zeros(3)
        pixels, _ = cv2.projectPoints(in_camera.reshape(-1, 1, 3), zero, zero, self.intrinsic, self.distortion)
        return np.asarray(pixels, np.float64).reshape(-1, 2), in_camera[:, 2]

    def rays(self, oversample: int = 1) -> Float64:
        """(H * oversample, W * oversample, 3) ray of each pixel in world axes, of length 1 along the optical axis."""
        step = 1.0 / oversample
        u, v = np.meshgrid(
            (np.arange(self.width_px * oversample) + 0.5) * step - 0.5,
            (np.arange(self.height_px * oversample) + 0.5) * step - 0.5,
        )
        pixels = np.stack([u.ravel(), v.ravel()], axis=1).reshape(-1, 1, 2)
        flat = np.asarray(cv2.undistortPoints(pixels, self.intrinsic, self.distortion), np.float64).reshape(-1, 2)
        in_camera = np.column_stack([flat, np.ones(len(flat))])
        return (in_camera @ self.world_to_camera[:3, :3]).reshape(*u.shape, 3)


def look_at(position: Colour, target: Colour) -> Float64:
    """(4, 4) world_to_camera of an upright camera at `position` that looks at `target`, to eight digits."""
    eye, forward = np.array(position), np.array(target) - np.array(position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
    return np.round(matrix, 8)


@dataclass(frozen=True)
class Panel:
    """A flat thing on a wall: a window, a poster, a board. `face` is one of x-, x+, y-, y+, z-, z+."""

    face: str
    low: tuple[float, float]  # (along the wall, height), metres; (x, y) on floor and ceiling
    high: tuple[float, float]
    colour: Colour
    frame: Colour | None = None
    glow: bool = False  # unlit by the room


@dataclass(frozen=True)
class Doorway:
    """An opening in a wall through which another room is seen and entered."""

    face: str
    low: tuple[float, float]
    high: tuple[float, float]
    leads_to: str


@dataclass(frozen=True)
class Block:
    """A box that stands in a room and hides what is behind it."""

    low: Colour
    high: Colour
    colour: Colour


@dataclass(frozen=True)
class Room:
    """An axis-aligned box of walls with what hangs on them and stands in it."""

    low: Colour
    high: Colour
    floor: tuple[Colour, Colour] = ((150.0, 160.0, 168.0), (139.0, 149.0, 158.0))  # the two tiles
    tile_m: float = 0.6
    wall: Colour = (203.0, 209.0, 211.0)
    wainscot: Colour = (150.0, 152.0, 139.0)
    lamps: tuple[tuple[float, float], ...] = ()  # (x, y) of pools of light
    ambient: float = 0.8
    panels: tuple[Panel, ...] = ()
    doorways: tuple[Doorway, ...] = ()
    blocks: tuple[Block, ...] = field(default=())

    def light(self, xy: Float64) -> Float64:
        """(..., 2) floor points in metres -> (...,) brightness as a factor."""
        bright = np.full(xy.shape[:-1], self.ambient)
        for lamp in self.lamps:
            bright += 0.3 * np.exp(-((xy - np.array(lamp)) ** 2).sum(axis=-1) / (2 * 1.6**2))
        return bright


HALL_DOOR_X = (4.9, 6.5)  # in the wall y = 8
CORRIDOR_DOOR_Y = (8.8, 10.3)  # in the wall x = 20
COLUMN = Block((4.2, 4.3, 0.0), (4.5, 4.6, 3.5), (176, 186, 192))

ROOMS: dict[str, Room] = {
    "hall": Room(
        low=(0.0, 0.0, 0.0),
        high=(11.0, 8.0, 3.5),
        lamps=((2.7, 2.4), (2.7, 5.8), (8.3, 2.4), (8.3, 5.8)),
        panels=(
            Panel("x+", (1.2, 0.95), (3.4, 2.6), (236, 214, 190), (240, 240, 240), glow=True),
            Panel("x+", (4.4, 0.95), (6.6, 2.6), (236, 214, 190), (240, 240, 240), glow=True),
            Panel("x-", (2.0, 1.1), (4.6, 2.4), (120, 96, 62), (70, 62, 52)),
            Panel("x-", (5.4, 1.1), (6.4, 2.4), (74, 108, 178), (70, 62, 52)),
            Panel("y+", (1.4, 1.2), (3.4, 2.5), (110, 140, 98), (64, 66, 66)),
            Panel("y+", (8.0, 1.3), (8.9, 2.5), (64, 150, 214), (64, 66, 66)),
            Panel("y+", (9.2, 1.3), (10.1, 2.5), (150, 96, 84), (64, 66, 66)),
            Panel("y+", (4.8, 2.35), (6.6, 2.65), (92, 124, 46)),
        ),
        doorways=(Doorway("y+", (HALL_DOOR_X[0], 0.0), (HALL_DOOR_X[1], 2.3), "hall lobby"),),
        blocks=(
            COLUMN,
            Block((9.3, 7.0, 0.0), (10.9, 7.6, 0.45), (70, 104, 138)),
            Block((0.1, 6.2, 0.0), (0.7, 7.8, 0.95), (86, 112, 140)),
        ),
    ),
    "hall lobby": Room(
        low=(3.6, 8.0, 0.0), high=(9.0, 9.9, 2.7), wall=(150, 158, 160), wainscot=(112, 116, 108), ambient=0.62
    ),
    "corridor": Room(
        low=(20.0, 0.0, 0.0),
        high=(22.8, 13.0, 2.9),
        floor=((128.0, 142.0, 146.0), (121.0, 135.0, 140.0)),
        tile_m=0.45,
        wall=(196, 206, 208),
        wainscot=(160, 142, 112),
        lamps=((21.4, 2.5), (21.4, 6.0), (21.4, 9.5)),
        ambient=0.7,
        panels=(
            Panel("y+", (20.6, 0.9), (22.2, 2.3), (232, 216, 196), (225, 225, 225), glow=True),
            Panel("x+", (3.2, 0.0), (4.2, 2.1), (92, 116, 140), (120, 136, 146)),
            Panel("x+", (7.0, 0.0), (8.0, 2.1), (92, 116, 140), (120, 136, 146)),
            Panel("x-", (4.6, 1.2), (6.4, 2.1), (96, 132, 84), (70, 70, 70)),
            Panel("z+", (21.1, 1.8), (21.7, 3.2), (250, 252, 252), glow=True),
            Panel("z+", (21.1, 5.3), (21.7, 6.7), (250, 252, 252), glow=True),
            Panel("z+", (21.1, 8.8), (21.7, 10.2), (250, 252, 252), glow=True),
        ),
        doorways=(Doorway("x-", (CORRIDOR_DOOR_Y[0], 0.0), (CORRIDOR_DOOR_Y[1], 2.2), "corridor lobby"),),
    ),
    "corridor lobby": Room(
        low=(17.6, 6.2, 0.0), high=(20.0, 12.0, 2.7), wall=(150, 158, 160), wainscot=(112, 116, 108), ambient=0.6
    ),
}


def _camera(
    name: str,
    room: str,
    focal_px: float,
    pose: Float64,
    *,
    k1: float,
    gain: Colour,
    noise: float,
    calibrated: bool = True,
) -> Camera:
    intrinsic = np.array([[focal_px, 0.0, 319.5], [0.0, focal_px, 179.5], [0.0, 0.0, 1.0]])
    distortion = np.array([k1, 0.0, 0.0, 0.0, 0.0])
    return Camera(name, room, intrinsic, distortion, pose, calibrated=calibrated, gain=gain, noise=noise)


CAMERAS: tuple[Camera, ...] = (
    _camera(
        "hall-a",
        "hall",
        440.0,
        look_at((0.4, 0.4, 3.0), (5.9, 5.3, 0.55)),
        k1=-0.06,
        gain=(0.95, 1.0, 1.04),
        noise=2.5,
    ),
    _camera(
        "hall-b",
        "hall",
        450.0,
        look_at((10.6, 0.4, 2.9), (4.9, 5.2, 0.6)),
        k1=-0.05,
        gain=(1.06, 1.0, 0.94),
        noise=3.0,
    ),
    _camera(
        "corridor",
        "corridor",
        500.0,
        look_at((21.7, 0.2, 2.6), (21.25, 6.6, 0.8)),
        k1=-0.04,
        gain=(0.84, 0.93, 0.96),
        noise=4.0,
        calibrated=False,
    ),
)
