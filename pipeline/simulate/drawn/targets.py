"""Framebuffers to draw into, and the textures that all programs read."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.types import BoolMask, UInt8

SHADOW_TEXELS = 1024
SHADOW_UNIT, NOISE_UNIT, CONTACT_UNIT = 0, 1, 2
_NOISE_SIZE = 32


class Targets:
    """Framebuffers that grow to the largest picture asked for, and the textures that all programs read."""

    def __init__(self, context: Any) -> None:
        import moderngl

        self._context = context
        self._picture: Any = None
        self._outline: Any = None
        self._contact: Any = None
        self._shadow_map = context.depth_texture((SHADOW_TEXELS, SHADOW_TEXELS))
        self._shadow_map.compare_func = "<="
        self.shadow = context.framebuffer(depth_attachment=self._shadow_map)
        self._noise = context.texture3d((_NOISE_SIZE,) * 3, 1, _noise_volume().tobytes())
        self._noise.filter = (moderngl.LINEAR, moderngl.LINEAR)

    def picture(self, width: int, height: int) -> Any:
        """Colour, ids and depth of at least this size."""
        if self._picture is None or self._picture.width < width or self._picture.height < height:
            width, height = _grown(self._picture, width, height)
            release(self._picture)
            colour = self._context.texture((width, height), 4)
            ids = self._context.texture((width, height), 1, dtype="u1")
            depth = self._context.depth_renderbuffer((width, height))
            self._picture = self._context.framebuffer([colour, ids], depth)
        return self._picture

    def outline(self, width: int, height: int) -> Any:
        """Depth alone."""
        if self._outline is None or self._outline.width < width or self._outline.height < height:
            width, height = _grown(self._outline, width, height)
            release(self._outline)
            depth = self._context.depth_renderbuffer((width, height))
            self._outline = self._context.framebuffer(depth_attachment=depth)
        return self._outline

    def read_picture(self, width: int, height: int) -> tuple[UInt8, UInt8]:
        """(height, width, 3) BGR and (height, width) ids."""
        part = (0, 0, width, height)
        rgba = np.frombuffer(self._picture.read(part, components=4), np.uint8).reshape(height, width, 4)
        ids = self._picture.read(part, components=1, attachment=1, dtype="u1", alignment=1)
        return np.ascontiguousarray(rgba[..., 2::-1]), np.frombuffer(ids, np.uint8).reshape(height, width)

    def read_outline(self, width: int, height: int) -> BoolMask:
        depth = self._outline.read((0, 0, width, height), components=1, attachment=-1, dtype="f4", alignment=1)
        return np.asarray(np.frombuffer(depth, np.float32).reshape(height, width) < 1.0)

    def set_contact_map(self, shade: UInt8) -> None:
        height, width = shade.shape
        if self._contact is None or self._contact.size != (width, height):
            release(self._contact)
            self._contact = self._context.texture((width, height), 1, alignment=1)
            self._contact.repeat_x = self._contact.repeat_y = False
        self._contact.write(np.ascontiguousarray(shade).tobytes(), alignment=1)

    def bind_noise(self) -> None:
        """Vertex programs read it, so it is bound before anything is drawn."""
        self._noise.use(NOISE_UNIT)

    def bind_textures(self) -> None:
        self.bind_noise()
        self._shadow_map.use(SHADOW_UNIT)
        self._contact.use(CONTACT_UNIT)


def release(item: Any) -> None:
    """A framebuffer with what is attached to it, a texture, or None."""
    if item is None:
        return
    for attached in (*getattr(item, "color_attachments", ()), getattr(item, "depth_attachment", None)):
        if attached is not None:
            attached.release()
    item.release()


def _grown(before: Any, width: int, height: int) -> tuple[int, int]:
    return (width, height) if before is None else (max(width, before.width), max(height, before.height))


def _noise_volume() -> UInt8:
    """(32, 32, 32) smooth noise that repeats; always the same."""
    volume = np.random.default_rng(0).random((_NOISE_SIZE,) * 3)
    for axis in range(3):
        volume = 0.25 * np.roll(volume, 1, axis) + 0.5 * volume + 0.25 * np.roll(volume, -1, axis)
    return np.asarray((volume - volume.min()) / np.ptp(volume) * 255, np.uint8)
