"""Where the light of a place comes from at some hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Hour = Literal["sunny", "cloudy", "dusk", "indoor"]
Rgb = tuple[float, float, float]

OUTDOOR_HOURS: tuple[Hour, ...] = ("sunny", "cloudy", "dusk")
_HOUR_SHARES = (0.4, 0.4, 0.2)


@dataclass(frozen=True)
class Light:
    """Linear light; 1 is about what a camera exposes for."""

    towards_sun: tuple[float, float, float]  # unit
    sun: Rgb
    sky: Rgb  # from above
    floor: Rgb  # thrown back from below
    lamps: Rgb  # in the middle of a pool of light
    lamp_spacing_m: float
    zenith: Rgb  # what the sky looks like (display colours)
    horizon: Rgb
    shadow_blur: float  # texels
    exposure: float  # by which cameras make up for the hour


def random_hour(rng: np.random.Generator, *, indoor: bool) -> Hour:
    return "indoor" if indoor else OUTDOOR_HOURS[int(rng.choice(3, p=_HOUR_SHARES))]


def random_light(hour: Hour, rng: np.random.Generator) -> Light:
    """One of the many lights of an hour."""
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = rng.uniform(0.42, 1.15)
    strength = rng.uniform(0.85, 1.15)
    if hour == "sunny":
        sun, sky, floor = (2.1, 1.95, 1.7), (0.62, 0.68, 0.8), (0.34, 0.32, 0.29)
        zenith, horizon, blur, lamps = (0.38, 0.56, 0.84), (0.78, 0.84, 0.9), 0.7, (0.0, 0.0, 0.0)
    elif hour == "cloudy":
        sun, sky, floor = (0.28, 0.28, 0.28), (1.15, 1.2, 1.26), (0.42, 0.41, 0.4)
        zenith, horizon, blur, lamps = (0.66, 0.7, 0.75), (0.85, 0.87, 0.88), 3.5, (0.0, 0.0, 0.0)
    elif hour == "dusk":
        elevation = rng.uniform(0.16, 0.3)
        sun, sky, floor = (0.5, 0.34, 0.2), (0.32, 0.36, 0.46), (0.12, 0.11, 0.11)
        zenith, horizon, blur = (0.16, 0.2, 0.34), (0.62, 0.46, 0.38), 1.2
        lamps = (0.9, 0.72, 0.46) if rng.random() < 0.7 else (0.0, 0.0, 0.0)
    else:
        elevation = rng.uniform(1.1, 1.45)
        warmth = rng.uniform(-0.12, 0.12)
        sun, sky, floor = (0.55 + warmth, 0.55, 0.53 - warmth), (0.62 + warmth, 0.63, 0.62 - warmth), (0.34, 0.33, 0.32)
        zenith = horizon = (0.85, 0.85, 0.84)
        blur, lamps = 4.0, (0.55 + warmth, 0.55, 0.54 - warmth)
    direction = (
        float(np.cos(azimuth) * np.cos(elevation)),
        float(np.sin(azimuth) * np.cos(elevation)),
        float(np.sin(elevation)),
    )
    return Light(
        direction,
        _times(sun, strength * rng.uniform(0.7, 1.1)),
        _times(sky, strength),
        _times(floor, strength),
        _times(lamps, rng.uniform(0.6, 1.2)),
        float(rng.uniform(3.0, 5.0) if hour == "indoor" else rng.uniform(9.0, 14.0)),
        zenith,
        horizon,
        blur,
        float({"sunny": 0.95, "cloudy": 1.05, "dusk": 2.0, "indoor": 1.0}[hour] * rng.uniform(0.85, 1.15)),
    )


def _times(rgb: Rgb, factor: float) -> Rgb:
    return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor
