"""transitions.json of a run: what the association has learned of travel times, for the next run and for people.

The file is one of `transitions.save_transitions`: for each pair of cameras the transits by travel time in seconds,
smoothed as the model sees them (so `sigma_bins` is 0), for plots and for other readers. What the model needs to go on
stands beside it under `learned`: the counts of zones, cameras and chance by u = log(1 + t / knee_s) as they are, the
departures and arrivals, and the borders of the zones. A file without that part, estimated from labelled tracks, serves
as counts of cameras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.fusion.transitions import FORMAT_VERSION, TransitionsFileError, read_document, write_json
from pipeline.fusion.travel import BIN_U, KNEE_S, NUM_BINS, TransitCounts, TravelModel
from pipeline.fusion.zones import NUM_ZONES, ZONES, Zones
from pipeline.types import Float64

TRANSITIONS_FILE = "transitions.json"
_LEARNED_VERSION = 1
_NOTHING = 1e-9  # counts that have faded to less are left out
_MAX_CELLS = 100_000  # numbers in the part for people; bins are as narrow as that allows, from half a second up
_LEAST_SHARE = 1e-4
_EDGES_U = np.arange(4 * NUM_BINS + 1) * (BIN_U / 4)
_EDGES_S = np.asarray(KNEE_S * np.expm1(_EDGES_U), np.float64)


def save_travel(path: Path, cameras: Sequence[str], travel: TravelModel, zones: Zones) -> None:
    """Write what was learned under the cameras' names; the file appears whole or not at all. Raises OSError."""
    places = [(name, zone) for name in cameras for zone in ZONES]
    alone = [(name, "") for name in cameras]
    borders = {name: zones.borders(camid) for camid, name in enumerate(cameras)}
    learned = {
        "version": _LEARNED_VERSION,
        "knee_s": KNEE_S,
        "bin_u": BIN_U,
        "num_bins": NUM_BINS,
        "zones": _counts(travel.zones, places),
        "cameras": _counts(travel.cameras, alone),
        "by_chance": _counts(travel.by_chance, alone),
        "borders": {name: list(four) for name, four in borders.items() if all(map(math.isfinite, four))},
    }
    write_json({**_readable(travel, cameras), "learned": learned}, path)


def load_travel(path: Path, cameras: Sequence[str], travel: TravelModel, zones: Zones, memory: float) -> None:
    """Let a new model and new zones go on where `save_travel` left them. camids are places in `cameras`.

    memory: of the model; a file that was estimated elsewhere counts as no more transits than that per pair.
    Raises TransitionsFileError naming the file and what is wrong with it.
    """
    document = read_document(path, cameras)
    try:
        if "learned" not in document:
            _take_estimate(document, cameras, travel, memory)
            return
        learned = document["learned"]
        scale = [learned["version"], learned["knee_s"], learned["bin_u"], learned["num_bins"]]
        if scale != [_LEARNED_VERSION, KNEE_S, BIN_U, NUM_BINS]:
            raise TransitionsFileError(f"{path}: was learned by another version of this program; estimate it anew")
        camid_of = {name: camid for camid, name in enumerate(cameras)}
        _restore(travel.zones, learned["zones"], camid_of)
        _restore(travel.cameras, learned["cameras"], camid_of)
        _restore(travel.by_chance, learned["by_chance"], camid_of)
        for name, (left, top, right, bottom) in learned["borders"].items():
            if name in camid_of:
                zones.widen(camid_of[name], (float(left), float(top), float(right), float(bottom)))
    except TransitionsFileError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise TransitionsFileError(f"{path} is not a file of transitions ({error!r}); estimate it anew") from error


def _counts(counts: TransitCounts, places: Sequence[tuple[str, str]]) -> dict[str, Any]:
    pairs = []
    for from_place, to_place, count in counts.pairs():
        bins = np.flatnonzero(count > _NOTHING)
        ends = [*places[from_place], *places[to_place]]
        pairs.append({"pair": ends, "bins": bins.tolist(), "counts": count[bins].tolist()})
    return {
        "pairs": pairs,
        "departures": [[*places[i], float(counts.departures[i])] for i in np.flatnonzero(counts.departures).tolist()],
        "arrivals": [[*places[i], float(counts.arrivals[i])] for i in np.flatnonzero(counts.arrivals).tolist()],
    }


def _restore(counts: TransitCounts, part: Any, camid_of: dict[str, int]) -> None:
    def place(camera: str, zone: str) -> int:
        return camid_of[camera] * NUM_ZONES + ZONES.index(zone) if zone else camid_of[camera]

    for pair in part["pairs"]:
        from_camera, leaving, to_camera, entering = pair["pair"]
        counts.put(place(from_camera, leaving), place(to_camera, entering), _row(pair, NUM_BINS))
    for name, into in (("departures", counts.departures), ("arrivals", counts.arrivals)):
        for camera, zone, number in part[name]:
            if not 0 <= float(number) < math.inf:
                raise ValueError(f"{name} of {camera}: {number}")
            into[place(camera, zone)] = number


def _row(pair: Any, num_bins: int) -> Float64:
    bins, numbers = np.array(pair["bins"], np.int64), np.array(pair["counts"], np.float64)
    if bins.shape != numbers.shape or not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        raise ValueError("counts of travel times must be numbers of at least 0, one for each bin")
    if bins.min(initial=0) < 0:
        raise ValueError("a bin is negative")
    count = np.zeros(num_bins)
    count[bins] = numbers
    return count


def _take_estimate(document: dict[str, Any], cameras: Sequence[str], travel: TravelModel, memory: float) -> None:
    """Counts per bin of seconds, as counts of pairs of cameras; a bin's transits took any time within it."""
    width_s, num_bins = float(document["bin_width"]), int(document["num_bins"])
    if not (width_s > 0 and math.isfinite(width_s)):
        raise ValueError(f"bin_width {width_s}")
    edges = np.arange(NUM_BINS + 1) * BIN_U
    at = np.interp(KNEE_S * np.expm1(edges), np.arange(num_bins + 1) * width_s, np.arange(num_bins + 1.0))
    for pair in document["pairs"]:
        total = np.concatenate((np.zeros(1), np.cumsum(_row(pair, num_bins))))
        count = np.diff(np.interp(at, np.arange(num_bins + 1.0), total))
        if count.sum() > 0:
            count *= min(1.0, memory / float(count.sum()))
            travel.cameras.put(cameras.index(pair["from"]), cameras.index(pair["to"]), count)


def _readable(travel: TravelModel, cameras: Sequence[str]) -> dict[str, Any]:
    """The travel times between cameras in the layout of `transitions.save_transitions`."""
    pairs = [(a, b, count) for a, b, count in sorted(travel.cameras.pairs(), key=lambda p: p[:2]) if count.sum() > 0.5]
    curves = [_by_then(travel.cameras, a, b) for a, b, _ in pairs]
    longest_s = max((_EDGES_S[int(np.searchsorted(curve, 1 - _LEAST_SHARE))] for curve in curves), default=0.0)
    width_s = 0.5
    while True:
        num_bins = max(1, math.ceil(longest_s / width_s))
        shares = [_shares(curve, width_s, num_bins) for curve in curves]
        if sum(np.count_nonzero(share) for share in shares) <= _MAX_CELLS:
            break
        width_s *= 2
    written = []
    for (a, b, count), share in zip(pairs, shares, strict=True):
        bins = np.flatnonzero(share)
        numbers = [float(f"{number:.4g}") for number in (count.sum() * share[bins]).tolist()]
        written.append({"from": cameras[a], "to": cameras[b], "bins": bins.tolist(), "counts": numbers})
    return {
        "version": FORMAT_VERSION,
        "cameras": list(cameras),
        "bin_width": width_s,
        "num_bins": num_bins,
        "sigma_bins": 0.0,
        "pairs": written,
    }


def _by_then(counts: TransitCounts, a: int, b: int) -> Float64:
    """Smoothed share of the transits from a to b that took no longer than each of `_EDGES_S`, (E,)."""
    middle_s = np.asarray(KNEE_S * np.expm1(0.5 * (_EDGES_U[1:] + _EDGES_U[:-1])), np.float64)
    row = np.full(len(middle_s), counts.rows(np.array([a]), np.array([b]))[0], np.int64)
    sums = np.cumsum(counts.density(row, middle_s)[0])
    return np.concatenate((np.zeros(1), sums / sums[-1]))


def _shares(by_then: Float64, width_s: float, num_bins: int) -> Float64:
    """Share of transits in each bin of seconds, zero where there are hardly any; sums to one."""
    share = np.diff(np.interp(np.arange(num_bins + 1) * width_s, _EDGES_S, by_then))
    share[share < _LEAST_SHARE * share.max()] = 0.0
    return np.asarray(share / share.sum(), np.float64)
