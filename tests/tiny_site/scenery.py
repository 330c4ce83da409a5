"""The empty rooms as a camera sees them: one ray per pixel, traced through the rooms' boxes and doorways."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipeline.types import BoolMask, Float32, Float64, UInt8
from tests.tiny_site.site import ROOMS, Block, Camera, Colour, Room

_FACES = ("x-", "x+", "y-", "y+", "z-", "z+")
_DEPTH_LIMIT = 3  # rooms seen through doorways behind one another


@dataclass(frozen=True, eq=False)
class Scenery:
    """A camera's empty picture, and how far away whatever could hide a person is in each pixel."""

    image: UInt8  # (H, W, 3) BGR
    depth: Float32  # (H, W) metres along the optical axis; inf on floors, which hide nobody


@lru_cache(maxsize=8)
def draw_scenery(camera: Camera) -> Scenery:
    """The picture of the camera's room without people, read-only: an empty room is traced once."""
    origin = camera.position
    fine, depth = _trace(camera.room, origin, camera.rays(oversample=2).reshape(-1, 3), 0)
    size = (camera.width_px, camera.height_px)
    big = np.clip(fine, 0, 255).astype(np.uint8).reshape(size[1] * 2, size[0] * 2, 3)
    image = np.asarray(cv2.resize(big, size, interpolation=cv2.INTER_AREA), np.uint8)
    near = depth.reshape(size[1] * 2, size[0] * 2)[::2, ::2].astype(np.float32)
    image.flags.writeable = near.flags.writeable = False
    return Scenery(image, near)


def _trace(room_name: str, origin: Float64, rays: Float64, level: int) -> tuple[Float64, Float64]:
    """(N, 3) rays -> (N, 3) colours and (N,) depths."""
    room = ROOMS[room_name]
    with np.errstate(divide="ignore"):
        to_low, to_high = (np.array(room.low) - origin) / rays, (np.array(room.high) - origin) / rays
    per_axis = np.maximum(to_low, to_high)
    axis = per_axis.argmin(axis=1)
    reach = per_axis[np.arange(len(rays)), axis]
    hit = origin + reach[:, None] * rays
    face = 2 * axis + (np.take_along_axis(rays, axis[:, None], axis=1)[:, 0] > 0)

    colour, depth = np.zeros((len(rays), 3)), reach.copy()
    for code, name in enumerate(_FACES):
        rows = face == code
        if rows.any():
            colour[rows] = _paint(room, name, hit[rows])
            if name == "z-":
                depth[rows] = np.inf
    for doorway in room.doorways:
        along = 1 if doorway.face[0] == "x" else 0
        rows = (face == _FACES.index(doorway.face)) & _inside(hit[:, [along, 2]], doorway.low, doorway.high)
        if level < _DEPTH_LIMIT and rows.any():
            colour[rows], depth[rows] = _trace(doorway.leads_to, origin, rays[rows], level + 1)
    for block in room.blocks:
        reach = _stand(room, block, origin, rays, colour, depth, reach)
    return colour, depth


def _stand(
    room: Room, block: Block, origin: Float64, rays: Float64, colour: Float64, depth: Float64, reach: Float64
) -> Float64:
    """Put a block into the picture: writes to the rows of `colour` and `depth` that meet it first -> the new reach."""
    with np.errstate(divide="ignore"):
        first, second = (np.array(block.low) - origin) / rays, (np.array(block.high) - origin) / rays
    enter, leave = np.minimum(first, second), np.maximum(first, second).min(axis=1)
    axis, near = enter.argmax(axis=1), enter.max(axis=1)
    rows = (near > 0) & (near < leave) & (near < reach)
    hit = origin + near[rows, None] * rays[rows]
    side = np.choose(axis[rows], (0.82, 0.94, 1.08))
    shade = side * (0.8 + 0.2 * np.clip(hit[:, 2] / 0.5, 0, 1)) * room.light(hit[:, :2])
    colour[rows], depth[rows] = np.array(block.colour) * shade[:, None], near[rows]
    return np.where(rows, near, reach)


def _inside(points: Float64, low: tuple[float, float], high: tuple[float, float], margin: float = 0.0) -> BoolMask:
    return np.asarray(((points > np.array(low) - margin) & (points < np.array(high) + margin)).all(axis=1))


def _paint(room: Room, face: str, hit: Float64) -> Float64:
    """(N, 3) hits on one face -> (N, 3) colours, lit."""
    along = {"x": [1, 2], "y": [0, 2], "z": [0, 1]}[face[0]]
    flat = hit[:, along]
    if face == "z-":
        colour = _tiles(room, flat)
    elif face == "z+":
        colour = np.tile(np.array((222.0, 226.0, 226.0)), (len(hit), 1))
    else:
        colour = _wall(room, hit[:, 2])
    light = room.light(hit[:, :2]) * _corners(room, hit, "xyz".index(face[0]))
    if face[0] != "z":
        light *= {"x-": 0.95, "x+": 0.9, "y-": 1.0, "y+": 1.0}[face]
    colour *= light[:, None]
    for panel in room.panels:
        if panel.face == face:
            if panel.frame is not None:
                rows = _inside(flat, panel.low, panel.high, margin=0.06)
                colour[rows] = np.array(panel.frame) * (1.0 if panel.glow else light[rows, None])
            rows = _inside(flat, panel.low, panel.high)
            colour[rows] = np.array(panel.colour) * (1.0 if panel.glow else light[rows, None])
            if panel.glow and panel.frame is not None:  # the bars of a window
                middle = (np.array(panel.low) + np.array(panel.high)) / 2
                colour[rows & (np.abs(flat - middle) < 0.03).any(axis=1)] = panel.frame
    for doorway in room.doorways:
        if doorway.face == face:  # its frame; what lies inside is traced afterwards
            colour[_inside(flat, doorway.low, doorway.high, margin=0.1)] = (96.0, 104.0, 110.0)
    return colour


def _tiles(room: Room, xy: Float64) -> Float64:
    cell = np.floor(xy / room.tile_m).astype(np.int64)
    light, dark = np.array(room.floor[0]), np.array(room.floor[1])
    colour = np.where((cell.sum(axis=1) % 2 == 0)[:, None], light, dark)
    grain = (cell[:, 0] * 73 + cell[:, 1] * 151 + cell[:, 0] * cell[:, 1] * 31) % 17 / 17.0 - 0.5
    joint = np.abs(xy / room.tile_m - np.round(xy / room.tile_m)).min(axis=1) * room.tile_m < 0.012
    shade = (1.0 + 0.05 * grain) * np.where(joint, 0.82, 1.0)
    return np.asarray(colour * shade[:, None])


def _wall(room: Room, height_m: Float64) -> Float64:
    colour = np.where((height_m < 0.9)[:, None], np.array(room.wainscot, float), np.array(room.wall, float))
    rail: Colour = (122.0, 128.0, 128.0)
    colour[np.abs(height_m - 0.92) < 0.025] = rail
    colour[height_m < 0.11] = (104.0, 108.0, 108.0)
    return np.asarray(colour)


def _corners(room: Room, hit: Float64, axis: int) -> Float64:
    """Where two faces meet it is a little darker: (N,) factors."""
    gap = np.minimum(np.abs(hit - np.array(room.low)), np.abs(np.array(room.high) - hit))
    gap[:, axis] = np.inf
    return np.asarray(1.0 - 0.22 * np.exp(-gap.min(axis=1) / 0.35))
