"""Travel times between cameras for people: read from transitions.json, drawn, and estimated from labelled tracks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.fusion.transitions import (
    TransitionsFileError,
    count_transits,
    labelled_transits,
    load_transitions,
    read_document,
    save_transitions,
    smooth_histogram,
)
from pipeline.fusion.travel_file import TRANSITIONS_FILE
from pipeline.interchange.readers import frame_rates, read_tracks
from pipeline.interchange.rows import NO_ID, TrackRows, timed
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.files import naming
from pipeline.sinks.report import svg
from pipeline.sinks.visits import Stay, transitions_of, visits_of
from pipeline.types import Float64, UInt8
from pipeline.yaml_file import ConfigError

_QUANTILES = (0.1, 0.5, 0.9)
_ACROSS, _WIDTH, _HEIGHT = 3, 360, 186  # of one curve, px
_POINTS = 240
_SMOOTH_BINS = 2.0
_BLUE = (208, 105, 66)  # BGR, the first colour of the palette
_STYLE = (
    "<style>text{font:11px system-ui,sans-serif;fill:#555}.head{font-weight:600;fill:#222}"
    ".grid{stroke:#ddd}svg{background:#fff}</style>"
)


@dataclass(frozen=True, slots=True, eq=False)
class TravelTimes:
    """From one camera to another. `share` (B,) sums to one; `count` (B,) are transits, in bins of `bin_s`."""

    from_camera: str
    to_camera: str
    bin_s: float
    count: Float64
    share: Float64

    def quantiles_s(self) -> tuple[float, ...]:
        """By when 10 %, half and 90 % have arrived."""
        by_then = np.concatenate((np.zeros(1), np.cumsum(self.count)))
        when = np.interp(np.array(_QUANTILES) * by_then[-1], by_then, np.arange(len(by_then))) * self.bin_s
        return tuple(when.tolist())

    def span_s(self) -> tuple[float, float]:
        """Where there is anything to see."""
        busy = np.flatnonzero(self.share > 0.01 * self.share.max())
        low, high = float(busy[0] * self.bin_s), float((busy[-1] + 1) * self.bin_s)
        spread = max(1.0, 0.2 * (high - low))
        return max(0.0, low - spread), high + spread


def load_travel_times(path: Path) -> list[TravelTimes]:
    """Of each pair of cameras in a transitions.json (or the folder with one), the most walked first.

    Raises TransitionsFileError.
    """
    file = path / TRANSITIONS_FILE if path.is_dir() else path
    document = read_document(file)
    try:
        ends = {str(pair[end]) for pair in document["pairs"] for end in ("from", "to")}
        names = list(dict.fromkeys([*map(str, document.get("cameras", ())), *sorted(ends)]))
    except (TypeError, KeyError) as error:
        raise TransitionsFileError(f"{file} is not a file of transitions ({error!r}); estimate it anew") from error
    learned = load_transitions(file, names)
    histogram = learned.histogram
    ways = [
        TravelTimes(names[a], names[b], histogram.bin_width, count, learned.density(int(b), int(a)))
        for b, a, count in zip(histogram.to_camid, histogram.from_camid, histogram.count, strict=True)
        if count.any()
    ]
    return sorted(ways, key=lambda way: (-float(way.count.sum()), way.from_camera, way.to_camera))


def draw_travel_times(ways: Sequence[TravelTimes], path: Path) -> Path:
    """Write a picture with a curve per pair of cameras, .svg or .png. Raises ConfigError, OutputError."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise ConfigError(f"{path}: want a name that ends in .svg or .png")
    if not ways:
        raise ConfigError("there are no travel times to draw; nobody was seen to walk from camera to camera")
    with naming(path):
        if path.suffix.lower() == ".svg":
            path.write_text(_as_svg(ways), encoding="utf-8")
        else:
            path.write_bytes(cv2.imencode(".png", _as_image(ways))[1].tobytes())
    return path


def estimate_travel_times(
    tracks: Path,
    path: Path,
    *,
    fps: float | None,
    bin_s: float,
    longest_s: float,
    mean_times: bool,
    first_id: int = 1,
) -> tuple[int, int]:
    """Write a transitions.json of tracks with true identities -> number of walks, and of pairs of cameras.

    Raises TableError and ConfigError for tracks that can not be used, OutputError.
    """
    rows = read_tracks(tracks)
    rows = rows.with_columns(global_id=rows.global_id + (1 - first_id))
    rows = timed(rows, {**(dict.fromkeys(rows.cameras, fps) if fps else {}), **frame_rates(tracks)})
    rows = rows[rows.global_id != NO_ID]
    if not np.isfinite(rows.time_s).all():
        raise ConfigError(f"{tracks}: rows without time; give the frames per second: --fps")
    num_bins = max(1, math.ceil(longest_s / bin_s))
    if mean_times:
        to_camid, from_camid, travel_s = labelled_transits(rows.global_id, rows.camid, rows.time_s)
    else:
        number = {name: camid for camid, name in enumerate(rows.cameras)}
        walks = transitions_of(visits_of(_stays(rows), OutputConfig().visit_gap_s))
        walks = [walk for walk in walks if walk.arrived_s > walk.left_s]
        from_camid = np.array([number[walk.from_camera] for walk in walks], np.int64)
        to_camid = np.array([number[walk.to_camera] for walk in walks], np.int64)
        travel_s = np.array([walk.arrived_s - walk.left_s for walk in walks], np.float64)
    if not len(travel_s):
        raise ConfigError(f"{tracks}: nobody walks from camera to camera there; are its ids those of all cameras?")
    histogram = count_transits(
        to_camid, from_camid, travel_s, num_cams=len(rows.cameras), bin_width=bin_s, num_bins=num_bins
    )
    with naming(path):
        save_transitions(smooth_histogram(histogram, sigma_bins=_SMOOTH_BINS), path, rows.cameras)
    return round(float(histogram.count.sum())), len(histogram.to_camid)


def _stays(rows: TrackRows) -> list[Stay]:
    """Each tracklet of each person, from first to last sight, without the gaps longer than a visit bears."""
    gap_s = OutputConfig().visit_gap_s
    order = np.lexsort((rows.time_s, rows.camid, rows.global_id))
    gid, camid, time_s = rows.global_id[order], rows.camid[order], rows.time_s[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(gid) != 0) | (np.diff(camid) != 0) | (np.diff(time_s) > gap_s)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order)) - 1
    return [
        Stay(int(gid[i]), rows.cameras[camid[i]], float(time_s[i]), float(time_s[j]))
        for i, j in zip(first.tolist(), last.tolist(), strict=True)
        if len(order)
    ]


def _curve(
    way: TravelTimes, box: tuple[float, float, float, float]
) -> tuple[Float64, Float64, list[tuple[float, float]]]:
    """-> x and y (P,) px of the curve in a box, and the (x px, seconds) of its ticks."""
    left, top, right, bottom = box
    low, high = way.span_s()
    grid = np.linspace(low, high, _POINTS)
    share = np.interp(grid, (np.arange(len(way.share)) + 0.5) * way.bin_s, way.share, left=0, right=0)
    x = left + (grid - low) / (high - low) * (right - left)
    step = svg.nice_step((high - low) / 6)
    ticks = np.arange(math.ceil(low / step) * step, high, step)
    places = (left + (ticks - low) / (high - low) * (right - left)).tolist()
    return x, bottom - share / max(float(share.max()), 1e-12) * (bottom - top), list(zip(places, ticks, strict=True))


def _boxes(number: int) -> tuple[float, float, float, float]:
    x, y = number % _ACROSS * _WIDTH, number // _ACROSS * _HEIGHT
    return x + 14, y + 42, x + _WIDTH - 22, y + _HEIGHT - 28


def _words(way: TravelTimes) -> tuple[str, str]:
    arrow = f"{svg.cut(way.from_camera, 135)} -> {svg.cut(way.to_camera, 135)}"
    return arrow, f"{way.count.sum():.1f} transits, median {way.quantiles_s()[1]:.1f} s"


def _size(ways: Sequence[TravelTimes]) -> tuple[int, int]:
    return min(len(ways), _ACROSS) * _WIDTH, math.ceil(len(ways) / _ACROSS) * _HEIGHT


def _as_svg(ways: Sequence[TravelTimes]) -> str:
    shapes = [_STYLE]
    for number, way in enumerate(ways):
        left, top, _, bottom = box = _boxes(number)
        x, y, ticks = _curve(way, box)
        title, count = _words(way)
        shapes += [svg.text(left, top - 22, title, "start", "head"), svg.text(left, top - 7, count)]
        for at, seconds in ticks:
            shapes += [svg.line(at, top, at, bottom), svg.text(at, bottom + 14, f"{seconds:g} s", "middle")]
        shapes.append(svg.curve(x, y, svg.PALETTE[0], filled_to=bottom))
    drawing = svg.drawing(*_size(ways), shapes, "travel times between cameras")
    return drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _as_image(ways: Sequence[TravelTimes], scale: int = 2) -> UInt8:
    width, height = _size(ways)
    image = np.full((height * scale, width * scale, 3), 255, np.uint8)

    def write(x: float, y: float, words: str, bold: int = 1) -> None:
        plain = words.encode("ascii", "replace").decode()  # the drawing library's letters
        at = round(x * scale), round(y * scale)
        cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.36 * scale, (60, 60, 60), bold, cv2.LINE_AA)

    for number, way in enumerate(ways):
        left, top, right, bottom = box = _boxes(number)
        x, y, ticks = _curve(way, box)
        title, count = _words(way)
        write(left, top - 22, title, 2)
        write(left, top - 7, count)
        for at, seconds in ticks:
            ends = (round(at * scale), round(top * scale)), (round(at * scale), round(bottom * scale))
            cv2.line(image, *ends, (220, 220, 220), 1)
            write(at - 10, bottom + 14, f"{seconds:g} s")
        points = np.stack((x, y), axis=1) * scale
        area = np.concatenate((points, [[right * scale, bottom * scale], [left * scale, bottom * scale]]))
        faint = image.copy()
        cv2.fillPoly(faint, [np.round(area).astype(np.int32)], _BLUE)
        image = np.asarray(cv2.addWeighted(faint, 0.18, image, 0.82, 0), np.uint8)
        cv2.polylines(image, [np.round(points).astype(np.int32)], False, _BLUE, scale, cv2.LINE_AA)
    return image
