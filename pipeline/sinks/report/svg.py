"""SVG as text: a few shapes, an axis of time and one of numbers. Coordinates in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from pipeline.types import Float64

PALETTE = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#ff8ab7", "#9c6b4e", "#97bbf5", "#9498a0")
_STEPS = (1.0, 2.0, 5.0, 10.0)
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_PER_LETTER_PX = 6.6  # at the labels' size of 11 px


def drawing(width: float, height: float, shapes: Iterable[str], label: str) -> str:
    """A whole picture; it shrinks with the page."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(shapes)}</svg>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "label", *, turned: float = 0) -> str:
    turn = f' transform="rotate({turned:.0f} {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{turn}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, *, fill: str, title: str = "", opacity: float = 1.0) -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.6):.1f}" height="{height:.1f}"'
    return f'<rect {box} fill="{fill}"{faint}>{inside}</rect>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def curve(
    x: Float64 | Sequence[float], y: Float64 | Sequence[float], colour: str, *, filled_to: float | None = None
) -> str:
    """A line through points, with the area down to `filled_to` in a faint colour."""
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    shapes = f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    if filled_to is not None and len(x):
        shapes = (
            f'<polygon points="{x[0]:.1f},{filled_to:.1f} {points} {x[-1]:.1f},{filled_to:.1f}" fill="{colour}" '
            f'fill-opacity="0.18"/>{shapes}'
        )
    return shapes


def picture(x: float, y: float, width: float, height: float, png_base64: str) -> str:
    """A raster picture, its pixels as sharp squares."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    how = 'preserveAspectRatio="none" style="image-rendering:pixelated"'
    return f'<image {box} {how} href="data:image/png;base64,{png_base64}"/>'


def time_axis(left: float, right: float, y: float, span_s: tuple[float, float], *, top: float) -> list[str]:
    """Labels under the axis and grid lines up to `top`."""
    first, last = span_s
    length = max(last - first, 1e-9)
    step = next((s for s in _TIME_STEPS_S if length / s <= (right - left) / 80), _TIME_STEPS_S[-1])
    while length / step > (right - left) / 60:
        step *= 2
    shapes = []
    tick = math.ceil(first / step - 1e-9) * step
    while tick <= last + 1e-9:
        x = left + (tick - first) / length * (right - left)
        shapes += [line(x, top, x, y), text(x, y + 14, clock_text(tick), "middle")]
        tick += step
    return shapes


def number_axis(left: float, right: float, top: float, bottom: float, most: float) -> tuple[float, list[str]]:
    """-> the number at `top`, and grid lines with labels from 0 up to it."""
    step = nice_step(max(most, 1e-9) / 4)
    if most >= 1 and step < 1:
        step = 1.0
    at_top = max(step, math.ceil(most / step - 1e-9) * step)
    shapes = []
    for i in range(round(at_top / step) + 1):
        y = bottom - i * step / at_top * (bottom - top)
        shapes += [line(left, y, right, y), text(left - 6, y + 4, f"{i * step:g}", "end")]
    return at_top, shapes


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least - 1e-12)


def clock_text(time_s: float) -> str:
    """Seconds as 0:07, 12:30 or 3:05:00."""
    sign, whole = "-" if time_s < 0 else "", round(abs(time_s))
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    return f"{sign}{hours}:{minutes:02}:{seconds:02}" if hours else f"{sign}{minutes}:{seconds:02}"


def cut(words: str, width_px: float) -> str:
    """`words`, or as much of them as fits at the labels' size, with an ellipsis."""
    most = max(1, int(width_px / _PER_LETTER_PX))
    return words if len(words) <= most else words[: most - 1] + "…"


def colour_of_place(place: int) -> str:
    """One colour per camera; ten that are easy to tell apart, then others round the circle."""
    if place < len(PALETTE):
        return PALETTE[place]
    return f"hsl({place * 137.508 % 360:.0f} 55% {45 + place % 3 * 9}%)"


def legend(x: float, y: float, entries: Sequence[tuple[str, str]], width: float) -> tuple[float, list[str]]:
    """Coloured squares with words, in lines no longer than `width`. -> (height px, shapes)."""
    shapes: list[str] = []
    left, top = x, y
    for colour, words in entries:
        needed = 32 + len(words) * _PER_LETTER_PX
        if left > x and left + needed > x + width:
            left, top = x, top + 18
        shapes += [rect(left, top, 10, 10, fill=colour), text(left + 15, top + 9, words)]
        left += needed
    return top + 18 - y, shapes
