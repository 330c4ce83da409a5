"""One colour per identity, the same in every picture and on the floor map. All colours are BGR, 0 to 255."""

from __future__ import annotations

import math
from functools import lru_cache

Colour = tuple[int, int, int]

UNDECIDED: Colour = (160, 160, 160)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (16, 16, 16)
INK: Colour = (225, 222, 220)
FAINT_INK: Colour = (150, 146, 142)
BACKGROUND: Colour = (28, 24, 22)
STRIP: Colour = (46, 40, 37)
GRID: Colour = (58, 52, 48)
ALARM: Colour = (70, 90, 255)

_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
_LIGHTNESS = (0.74, 0.88, 0.62)
_HUES = 21  # after so many ids the hues come back to within 9 degrees
_CHROMA = 0.2


@lru_cache(maxsize=4096)
def colour_of(global_id: int) -> Colour:
    """The identity's colour; grey for 0, no identity.

    Hues follow each other by the golden angle, so that any run of ids is spread evenly round the circle; lightness
    alternates, so that ids whose hues come close still differ. Made in OKLCH, where equal steps look equal
    (B. Ottosson, "A perceptual color space for image processing", 2020).
    """
    if global_id <= 0:
        return UNDECIDED
    hue = 0.6 + global_id * _GOLDEN_ANGLE
    a, b = _CHROMA * math.cos(hue), _CHROMA * math.sin(hue)
    lightness = _LIGHTNESS[(global_id - global_id // _HUES) % len(_LIGHTNESS)]
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return _byte(blue), _byte(green), _byte(red)


def readable_on(colour: Colour) -> Colour:
    """Black or white, whichever stands out from `colour`."""
    blue, green, red = colour
    return BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 125 else WHITE


def _byte(linear: float) -> int:
    """A linear share of light as an sRGB byte, clipped to what a screen can show."""
    linear = min(1.0, max(0.0, linear))
    encoded = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * encoded)
