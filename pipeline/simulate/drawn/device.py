"""An OpenGL context without a screen, through EGL: a graphics card's driver, or Mesa's llvmpipe on the processor."""

from __future__ import annotations

from typing import Any

_REMEDY = (
    "Drawing needs OpenGL through EGL. On Debian or Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1 "
    "libgl1-mesa-dri (a processor is enough), or the driver of a graphics card; and: pip install moderngl"
)


class NoDrawingDeviceError(ValueError):
    """No OpenGL context could be made; the message says what to install."""


def open_context() -> Any:
    """A moderngl context. Raises NoDrawingDeviceError where EGL, a driver or moderngl is missing."""
    try:
        import moderngl
    except ImportError as error:
        raise NoDrawingDeviceError(f"{_REMEDY} ({error})") from error
    how: dict[str, Any] = {"require": 330, "backend": "egl"}
    try:
        return moderngl.create_standalone_context(**how)
    except Exception as error:  # glcontext raises bare Exception for every failure
        raise NoDrawingDeviceError(f"{_REMEDY} ({error})") from error


def device_name(context: Any) -> str:
    return str(context.info["GL_RENDERER"])
