"""What the association knew at the end of a run (association.json), as a picture, tables' rows and words."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.sinks.report import svg

logger = logging.getLogger(__name__)

FLOOR_HEADS = ("pair", "floor", "people", "confirmed", "gain", "found there", "by chance", "off by", "note")
_WIDTH, _HEIGHT = 560.0, 170.0
_CHANCE = 0.7  # below, looks hardly tell people apart

Cell = tuple[str, str]  # words, kind
Normal = tuple[float, float, float]  # share, mean, standard deviation


def looks_picture(known: Mapping[str, Any]) -> str:
    """Similarities of different people and of one person, as they are believed to be on this site."""
    curves = _curves(known)
    if not curves:
        return ""
    left, right, top, bottom = 14.0, _WIDTH - 14, 26.0, _HEIGHT - 22
    low = min(mean - 3.5 * std for _, parts in curves for _, mean, std in parts)
    high = min(1.0, max(mean + 3.5 * std for _, parts in curves for _, mean, std in parts))
    low = max(-1.0, min(low, high - 0.1))
    grid = np.linspace(low, high, 160)
    x = left + (grid - low) / (high - low) * (right - left)
    heights = [
        np.sum([share * np.exp(-0.5 * ((grid - mean) / std) ** 2) / std for share, mean, std in parts], axis=0)
        for _, parts in curves
    ]
    most = max(float(height.max()) for height in heights)
    step = svg.nice_step((high - low) / 6)
    shapes = []
    for tick in np.arange(math.ceil(low / step) * step, high, step).tolist():
        at = left + (tick - low) / (high - low) * (right - left)
        shapes += [svg.line(at, top, at, bottom), svg.text(at, bottom + 14, f"{tick:.4g}", "middle")]
    for place, height in enumerate(heights):
        y = bottom - height / max(most, 1e-12) * (bottom - top)
        shapes.append(svg.curve(x, y, svg.PALETTE[place], filled_to=bottom if place == 0 else None))
    words = [(svg.PALETTE[place], name) for place, (name, _) in enumerate(curves)]
    _, entries = svg.legend(left, 4, words, _WIDTH - 28)
    return svg.drawing(_WIDTH, _HEIGHT, [*shapes, *entries], "similarity of looks")


def looks_note(known: Mapping[str, Any]) -> str:
    """How well looks tell people apart here."""
    curves = _curves(known)
    if not curves:
        return ""
    (_, different), _, (_, ((_, same, same_std),)) = curves
    chance = sum(
        share * 0.5 * (1 + math.erf((same - apart) / math.sqrt(2 * (same_std**2 + apart_std**2))))
        for share, apart, apart_std in different
    )
    note = (
        "Similarity of the appearance vectors of two tracklets, as learned here. One person in two cameras looks more "
        f"alike than two people in about {100 * chance:.0f} of 100 cases"
    )
    note += ": clothes tell people apart badly here, time and ways decide." if chance < _CHANCE else "."
    if len(different) > 1:
        note += (
            f" Different people are alike in two ways here: {_percent(different[1][0])} of the pairs as wearers of one "
            "uniform are. Among these looks count for little."
        )
    least = _percent(known.get("least_confidence"))
    return note + (f" A link had to be {least} probable at the end." if least else "")


def floor_rows(known: Mapping[str, Any]) -> list[list[Cell]]:
    """A row under `FLOOR_HEADS` for each pair of overlapping cameras that are not calibrated."""
    rows = []
    for entry in _floors(known):
        used = bool(entry.get("used"))
        people, confirmed = entry.get("num_people"), entry.get("num_confirmed")
        off = [f"{entry[key]:.2f} {unit}" for key, unit in _OFF if _is_number(entry.get(key))]
        rows.append(
            [
                (" · ".join(map(str, entry["cameras"])), "words"),
                ("in use" if used else "none", "words" if used else "words bad"),
                (str(people) if used else "", ""),
                (str(confirmed) if used else "", ""),
                (f"{entry['gain']:.1f}×" if _is_number(entry.get("gain")) else "", ""),
                (_percent(entry.get("explained")), ""),
                (_percent(entry.get("explained_by_chance")), ""),
                (" / ".join(off), ""),
                (str(entry.get("reason", "")), "note"),
            ]
        )
    return rows


FLOOR_NOTE = (
    "Cameras that overlap and are not calibrated, on people who were left out when the floor was made: how many were "
    "matched and confirmed, how many times better than chance the floor explains them, how many people stand where it "
    "says in the other camera, and by how much they are off, in heights of a person and in about metres. Without a "
    "floor such cameras are associated by looks and time alone."
)
_OFF = (("residual_heights", "h"), ("residual_m", "m"))


def _curves(known: Mapping[str, Any]) -> list[tuple[str, list[Normal]]]:
    """Name and normals of: different people, one person in one camera, one person in two."""
    try:
        told = known["similarity"]
        (apart, apart_std), (same, same_std), (shift, shift_std) = (
            (float(told[name]["mean"]), float(told[name]["std"])) for name in ("different_across", "same", "shift")
        )
        humps = told.get("humps_across", {"share": [1.0], "mean": [apart], "std": [apart_std]})
        different = [
            (float(share), float(mean), max(float(std), 1e-3))
            for share, mean, std in zip(humps["share"], humps["mean"], humps["std"], strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        if known:
            logger.warning("association.json: not as this report reads it; its figures are left out")
        return []
    span = max(0.0, same - apart)
    across = same - max(shift, 0.0) * span, max(same_std, 0.5 * apart_std, shift_std * span)
    return [
        ("different people", different),
        ("one person in one camera", [(1.0, same, max(same_std, 1e-3))]),
        ("one person in two cameras", [(1.0, across[0], max(across[1], 1e-3))]),
    ]


def _floors(known: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    floors = known.get("learned_floor", ())
    return [entry for entry in floors if isinstance(entry, dict) and "cameras" in entry]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percent(value: Any) -> str:
    return f"{100 * value:.0f} %" if _is_number(value) else ""
