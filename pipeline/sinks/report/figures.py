"""The pictures of the report. Each is a function of the record; "" where there is nothing to show."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.sinks.report import svg
from pipeline.sinks.report.record import Person, Record
from pipeline.types import Float64

WIDTH = 1080.0
MAX_TIMELINES = 60
MAX_MATRIX = 30
MAX_CURVES = 12
MAX_HEAT_ROWS = 80
_MAX_POINTS = 720
_MAX_LEGEND = 12
_LEFT = 70.0
_RIGHT = 16.0
_CHART_LEFT, _CHART_RIGHT = 130.0, WIDTH - 34
_MAX_LANES = 8


def people_over_time(record: Record) -> str:
    """Individuals on the site in each window, and how many different ones so far."""
    site = record.counts.get("")
    if site is None or not len(site):
        return ""
    top, bottom = 26.0, 220.0
    present = _thinned(record, site)
    most, shapes = svg.number_axis(_CHART_LEFT, _CHART_RIGHT, top, bottom, float(present.max()))
    span_s = _counted_span_s(record)
    shapes += svg.time_axis(_CHART_LEFT, _CHART_RIGHT, bottom, span_s, top=top)
    edges = np.linspace(_CHART_LEFT, _CHART_RIGHT, len(present) + 1)
    heights = bottom - present / most * (bottom - top)
    shapes.append(svg.curve(np.repeat(edges, 2)[1:-1], np.repeat(heights, 2), svg.PALETTE[0], filled_to=bottom))
    keep = np.unique(np.linspace(0, len(site) - 1, min(len(site), _MAX_POINTS)).astype(int))
    x = _CHART_LEFT + (site[keep, 0] - span_s[0]) / (span_s[1] - span_s[0]) * (_CHART_RIGHT - _CHART_LEFT)
    so_far = bottom - site[keep, 3] / site[-1, 3] * (bottom - top)
    x, so_far = np.append(np.repeat(x, 2)[1:], _CHART_RIGHT), np.repeat(so_far, 2)
    shapes.append(svg.curve(x, so_far, svg.PALETTE[2]))
    shapes.append(svg.text(_CHART_RIGHT + 6, top + 4, f"{site[-1, 3]:.0f}"))
    names = ("people present", "different people so far (right scale)")
    _, words = svg.legend(_CHART_LEFT, 4, list(zip((svg.PALETTE[0], svg.PALETTE[2]), names, strict=True)), 700)
    return svg.drawing(WIDTH, bottom + 26, [*shapes, *words], "people over time")


def cameras_over_time(record: Record) -> str:
    """A row per camera, darker the more people were in it."""
    rows = [camera for camera in record.cameras if camera in record.counts]
    if len(rows) < 2:
        return ""
    busiest = sorted(rows, key=lambda camera: -float(record.counts[camera][:, 1].sum()))[:MAX_HEAT_ROWS]
    rows = sorted(busiest, key=record.cameras.index)
    span_s = _counted_span_s(record)
    num = min(_MAX_POINTS, max(1, round((span_s[1] - span_s[0]) / record.window_s)))
    heat = np.zeros((len(rows), num))
    for place, camera in enumerate(rows):
        counts = record.counts[camera]
        at = ((counts[:, 0] - span_s[0]) / (span_s[1] - span_s[0]) * num + 1e-6).astype(int)
        np.maximum.at(heat[place], at.clip(0, num - 1), counts[:, 1])
    most = max(1.0, float(heat.max()))
    cell = 16.0 if len(rows) <= 30 else 9.0
    bottom = 20 + cell * len(rows)
    bgra = np.zeros((*heat.shape, 4), np.uint8)
    bgra[..., :3] = (208, 105, 66)  # the first colour of the palette
    bgra[..., 3] = np.where(heat > 0, 40 + 215 * np.sqrt(heat / most), 0)
    shapes = svg.time_axis(_CHART_LEFT, _CHART_RIGHT, bottom, span_s, top=20)
    shapes.append(svg.picture(_CHART_LEFT, 20, _CHART_RIGHT - _CHART_LEFT, bottom - 20, _png(bgra)))
    kind = "label" if cell > 10 else "small"
    for i, camera in enumerate(rows):
        name = svg.cut(camera, _CHART_LEFT - 10)
        shapes.append(svg.text(_CHART_LEFT - 8, 20 + cell * (i + 0.5) + 4, name, "end", kind))
    shapes.append(svg.text(_CHART_LEFT, 12, f"people present in each camera, up to {most:.0f} at once"))
    return svg.drawing(WIDTH, bottom + 24, shapes, "people in each camera over time")


def timelines(record: Record, people: Sequence[Person]) -> str:
    """A row per identity with its tracklets, coloured by camera; faint where the identity is uncertain. Tracklets at
    one time stand one below the other."""
    if not people:
        return ""
    place = {camera: i for i, camera in enumerate(record.cameras)}
    first, last = record.span_s
    per_s = (WIDTH - _RIGHT - _LEFT) / max(last - first, 1e-9)
    top = 8.0
    words: list[str] = []
    if len(place) <= _MAX_LEGEND:
        entries = [(svg.colour_of_place(i), svg.cut(camera, 160)) for camera, i in place.items()]
        height, words = svg.legend(_LEFT, top, entries, WIDTH - _RIGHT - _LEFT)
        top += height
    y, shapes = top, list[str]()
    for person in people:
        lanes, num_lanes = _lanes(person)
        bar = max(4.0, 11.0 / num_lanes)
        height = bar * num_lanes + 6
        shapes.append(svg.text(_LEFT - 8, y + height / 2 + 4, f"{person.global_id}", "end"))
        ends = [_LEFT + (t - first) * per_s for t in (person.first_s, person.last_s)]
        shapes.append(svg.line(ends[0], y + height / 2, ends[1], y + height / 2, "thread"))
        for piece, lane in zip(person.pieces, lanes, strict=True):
            sure = 1.0 if math.isnan(piece.confidence) else piece.confidence
            title = f"identity {person.global_id}: {piece.camera}:{piece.track_id}, {piece.first_s:.2f} to "
            title += f"{piece.last_s:.2f} s" + (f", confidence {sure:.2f}" if sure == piece.confidence else "")
            x, width = _LEFT + (piece.first_s - first) * per_s, (piece.last_s - piece.first_s) * per_s
            fill = svg.colour_of_place(place[piece.camera])
            shapes.append(svg.rect(x, y + 3 + lane * bar, width, bar - 0.5, fill="var(--paper)"))
            shapes.append(
                svg.rect(x, y + 3 + lane * bar, width, bar - 0.5, fill=fill, title=title, opacity=0.35 + 0.65 * sure)
            )
        y += height
    axis = svg.time_axis(_LEFT, WIDTH - _RIGHT, y + 2, (first, last), top=top)
    return svg.drawing(WIDTH, y + 26, [*words, *axis, *shapes], "where each identity was when")


def _lanes(person: Person) -> tuple[list[int], int]:
    """Which lane each tracklet takes, so that those at one time do not cover each other; how many lanes there are."""
    free_s: list[float] = []
    lanes = []
    for piece in person.pieces:
        lane = next((i for i, end_s in enumerate(free_s) if end_s <= piece.first_s), len(free_s))
        lane = min(lane, _MAX_LANES - 1)
        if lane == len(free_s):
            free_s.append(piece.last_s)
        free_s[lane] = max(free_s[lane], piece.last_s)
        lanes.append(lane)
    return lanes, max(1, len(free_s))


def matrix(record: Record) -> str:
    """How many walked from each camera (rows) to each camera (columns)."""
    if not record.walks:
        return ""
    number = {pair: len(times) for pair, times in record.walks.items()}
    busy: Counter[str] = Counter()
    for (a, b), count in number.items():
        busy[a] += count
        busy[b] += count
    shown = {camera for camera, _ in sorted(busy.items(), key=lambda item: (-item[1], item[0]))[:MAX_MATRIX]}
    cameras = [camera for camera in record.cameras if camera in shown]
    cell = min(44.0, max(22.0, 640 / len(cameras)))
    names_px = min(170.0, 14 + 6.6 * max(len(camera) for camera in cameras))
    left, top = names_px + 26, names_px + 14
    most = max(number.values())
    shapes = []
    for i, a in enumerate(cameras):
        y = top + cell * i
        shapes.append(svg.text(left - 8, y + cell / 2 + 4, svg.cut(a, names_px), "end"))
        shapes.append(svg.text(left + cell * (i + 0.5) + 4, top - 8, svg.cut(a, names_px), "start", turned=-90))
        for j, b in enumerate(cameras):
            count = number.get((a, b), 0)
            title = f"{a} to {b}: {count} times"
            if count:
                title += f", median {np.median(record.walks[a, b]):.1f} s"
            fill = svg.PALETTE[0] if count else "var(--faint)"
            opacity = 0.15 + 0.85 * math.sqrt(count / most) if count else 1.0
            shapes.append(svg.rect(left + cell * j, y, cell - 1.5, cell - 1.5, fill=fill, title=title, opacity=opacity))
            if count:
                kind = "oncolour" if opacity > 0.6 else "head"
                shapes.append(svg.text(left + cell * (j + 0.5) - 1, y + cell / 2 + 4, str(count), "middle", kind))
    shapes.append(svg.text(12, top + cell * len(cameras) / 2, "from", "middle", "head", turned=-90))
    shapes.append(svg.text(left + cell * len(cameras) / 2, 12, "to", "middle", "head"))
    size = left + cell * len(cameras) + 16
    return svg.drawing(size, top + cell * len(cameras) + 8, shapes, "walks between cameras")


def travel_curves(record: Record) -> str:
    """For the busiest pairs of cameras: how long people took, and what the association had learned."""
    pairs = sorted(
        (
            pair
            for pair in {*record.walks, *record.learned}
            if len(record.walks.get(pair, ())) >= 3 or pair in record.learned
        ),
        key=lambda pair: (-len(record.walks.get(pair, ())), pair),
    )[:MAX_CURVES]
    if not pairs:
        return ""
    across, width, height = 3, WIDTH / 3, 186.0
    shapes: list[str] = []
    for number, pair in enumerate(pairs):
        x, y = number % across * width, number // across * height
        shapes += _travel_curve(record, pair, (x + 14, y + 38, x + width - 22, y + height - 28))
    words = [(svg.PALETTE[0], "measured (transitions.csv)")]
    if any(pair in record.learned for pair in pairs):
        words.append((svg.PALETTE[1], "learned by the association (transitions.json)"))
    rows = math.ceil(len(pairs) / across)
    _, entries = svg.legend(14, rows * height + 4, words, WIDTH - 28)
    return svg.drawing(WIDTH, rows * height + 24, [*shapes, *entries], "travel times between cameras")


def _travel_curve(record: Record, pair: tuple[str, str], box: tuple[float, float, float, float]) -> list[str]:
    left, top, right, bottom = box
    times = record.walks.get(pair, np.zeros(0))
    learned = record.learned.get(pair)
    ends = [times] if len(times) else []
    if learned is not None:
        busy = np.flatnonzero(learned.share > 0.01 * learned.share.max())
        ends.append(np.array([busy[0], busy[-1] + 1]) * learned.bin_width_s)
    low, high = float(min(e.min() for e in ends)), float(max(e.max() for e in ends))
    spread = max(1.0, 0.3 * (high - low))
    span = (min(low - spread, 0.0) if low < 0 else max(0.0, low - spread), high + spread)
    grid = np.linspace(*span, 160)
    curves: list[tuple[Float64, str, float | None]] = []
    if len(times):
        curves.append((_density(times, grid), svg.PALETTE[0], bottom))
    if learned is not None:
        at = (np.arange(len(learned.share)) + 0.5) * learned.bin_width_s
        curves.append((np.interp(grid, at, learned.share, left=0, right=0) / learned.bin_width_s, svg.PALETTE[1], None))
    most = max(float(density.max()) for density, _, _ in curves)
    x = left + (grid - span[0]) / (span[1] - span[0]) * (right - left)
    title = f"{svg.cut(pair[0], 135)} → {svg.cut(pair[1], 135)}"
    count = f"{len(times)}×" + (f", median {np.median(times):.1f} s" if len(times) else "")
    shapes = [svg.text(left, top - 22, title, "start", "head"), svg.text(left, top - 7, count)]
    step = svg.nice_step((span[1] - span[0]) / 6)
    for tick in np.arange(math.ceil(span[0] / step) * step, span[1], step).tolist():
        tick_x = left + (tick - span[0]) / (span[1] - span[0]) * (right - left)
        shapes += [svg.line(tick_x, top, tick_x, bottom), svg.text(tick_x, bottom + 14, f"{tick:g} s", "middle")]
    for density, colour, filled in curves:
        shapes.append(svg.curve(x, bottom - density / max(most, 1e-12) * (bottom - top), colour, filled_to=filled))
    return shapes


def stage_times(record: Record) -> str:
    """How long each stage has worked."""
    nodes = [node for node in record.run.get("nodes", ()) if node.get("wall_s")]
    if not nodes:
        return ""
    most = max(max(node["wall_s"], node.get("cpu_s", 0.0)) for node in nodes)
    left, row, right = 110.0, 34.0, 620.0
    shapes = []
    for number, node in enumerate(nodes):
        y = 4 + row * number
        items = max(int(node.get("items", 0)), 1)
        each = f"{node['wall_s']:.1f} s, {1e3 * node['wall_s'] / items:.1f} ms a frame"
        shapes.append(svg.text(left - 8, y + 17, svg.cut(str(node["name"]), left - 16), "end"))
        length = node["wall_s"] / most * (right - left)
        shapes.append(svg.rect(left, y + 4, length, 12, fill=svg.PALETTE[0], title="by the clock"))
        cpu = node.get("cpu_s", 0.0) / most * (right - left)
        shapes.append(
            svg.rect(left, y + 17, cpu, 6, fill=svg.PALETTE[1], title="processor time of the stage's own thread")
        )
        shapes.append(svg.text(left + length + 8, y + 15, each))
    bottom = 8 + row * len(nodes)
    _, words = svg.legend(left, bottom, [(svg.PALETTE[0], "by the clock"), (svg.PALETTE[1], "of its own thread")], 600)
    return svg.drawing(900, bottom + 20, [*shapes, *words], "working time of each stage")


def _density(times: Float64, grid: Float64) -> Float64:
    """Density of travel times (N,) on a grid (G,), by Gaussian kernels (Silverman's rule)."""
    spread = min(float(np.std(times)), float(np.subtract(*np.percentile(times, [75, 25]))) / 1.349) or float(
        np.std(times)
    )
    width = max(0.9 * spread * len(times) ** -0.2, 0.02 * (grid[-1] - grid[0]))
    if len(times) > 2000:
        times = times[np.linspace(0, len(times) - 1, 2000).astype(int)]
    kernels = np.exp(-0.5 * ((grid[:, None] - times) / width) ** 2)
    return np.asarray(kernels.sum(axis=1) / (len(times) * width * math.sqrt(2 * math.pi)), np.float64)


def _counted_span_s(record: Record) -> tuple[float, float]:
    """From the first to the end of the last window in which anybody was there."""
    site = record.counts[""]
    return float(site[0, 0]), float(site[-1, 0] + record.window_s)


def _thinned(record: Record, site: Float64) -> Float64:
    """People present in each window, those with nobody included; at most `_MAX_POINTS`, each the most of several."""
    num = round((site[-1, 0] - site[0, 0]) / record.window_s) + 1
    bins = min(num, _MAX_POINTS)
    at = (np.round((site[:, 0] - site[0, 0]) / record.window_s) * bins / num).astype(int).clip(0, bins - 1)
    present = np.zeros(bins)
    np.maximum.at(present, at, site[:, 1])
    return present


def _png(bgra: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    done, encoded = cv2.imencode(".png", bgra)
    if not done:
        raise ValueError("a picture of the report could not be encoded as PNG")
    return base64.b64encode(encoded.tobytes()).decode("ascii")
