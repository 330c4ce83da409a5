"""What the files of a run say, gathered for its report. Files that are not there leave their part empty."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.sinks.events import EVENTS_FILE
from pipeline.sinks.files import OutputError, naming
from pipeline.sinks.final import COUNTS_FILE, IDENTITIES_FILE, TRACKLETS_FILE, TRANSITIONS_FILE
from pipeline.types import Float64

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
LEARNED_FILE = "transitions.json"
KNOWN_FILE = "association.json"
_MAX_TROUBLES = 50


@dataclass(frozen=True, slots=True)
class Piece:
    """A tracklet, or a part of one that was split. `confidence` NaN: nothing was said."""

    camera: str
    track_id: int
    global_id: int  # 0: nobody decided
    first_s: float
    last_s: float
    num_frames: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Person:
    """An identity."""

    global_id: int
    first_s: float
    last_s: float
    num_cameras: int
    num_frames: int
    pieces: tuple[Piece, ...]  # in order of time

    @property
    def confidence(self) -> float:
        """Of its least certain tracklet; NaN where nothing was said."""
        said = [piece.confidence for piece in self.pieces if not math.isnan(piece.confidence)]
        return min(said, default=math.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The travel times of one pair of cameras as the association had learned them."""

    bin_width_s: float
    share: Float64  # (B,) per bin, smoothed


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A run as its files tell it."""

    folder: Path
    run: Mapping[str, Any]
    cameras: tuple[str, ...]
    people: tuple[Person, ...]
    num_tracklets: Mapping[str, int]
    walks: Mapping[tuple[str, str], Float64]  # (from, to) -> travel times, seconds
    counts: Mapping[str, Float64]  # camera, "" the site -> (W, 4): start_s, present, entered, distinct
    window_s: float
    learned: Mapping[tuple[str, str], Learned]
    known: Mapping[str, Any]  # what the association knew at the end, empty where it was not kept
    num_events: Mapping[str, int]
    troubles: tuple[Mapping[str, Any], ...]  # what happened to cameras that the user should know, the first of them
    num_troubles: int

    @property
    def span_s(self) -> tuple[float, float]:
        """From the first to the last sighting."""
        first = min((person.first_s for person in self.people), default=0.0)
        return first, max((person.last_s for person in self.people), default=first)


def load_record(folder: Path) -> Record:
    """Read the files of a run. Raises OutputError where there are no tables."""
    for name in (TRACKLETS_FILE, IDENTITIES_FILE):
        if not (folder / name).is_file():
            raise OutputError(f"{folder}: no {name}; name the output folder of a run")
    run = _json(folder / RUN_FILE)
    pieces = [
        Piece(
            camera=row["camera"],
            track_id=int(row["track_id"]),
            global_id=int(row["global_id"] or 0),
            first_s=float(row["first_s"]),
            last_s=float(row["last_s"]),
            num_frames=int(row["num_frames"]),
            confidence=float(row["confidence"] or "nan"),
        )
        for row in _rows(folder / TRACKLETS_FILE)
    ]
    seen = dict.fromkeys([camera["id"] for camera in run.get("cameras", ())] + sorted({p.camera for p in pieces}))
    num_events, troubles = _events(folder / EVENTS_FILE)
    counts, window_s = _counts(folder / COUNTS_FILE)
    return Record(
        folder=folder,
        run=run,
        cameras=tuple(seen),
        people=tuple(_people(folder / IDENTITIES_FILE, pieces)),
        num_tracklets=Counter(camera for camera, _ in {(p.camera, p.track_id) for p in pieces}),
        walks=_walks(folder / TRANSITIONS_FILE),
        counts=counts,
        window_s=window_s,
        learned=_learned(folder / LEARNED_FILE),
        known=_json(folder / KNOWN_FILE),
        num_events=num_events,
        troubles=tuple(troubles[:_MAX_TROUBLES]),
        num_troubles=len(troubles),
    )


def _people(path: Path, pieces: list[Piece]) -> Iterator[Person]:
    of: dict[int, list[Piece]] = {}
    for piece in pieces:
        of.setdefault(piece.global_id, []).append(piece)
    for row in _rows(path):
        gid = int(row["global_id"])
        yield Person(
            gid,
            float(row["first_s"]),
            float(row["last_s"]),
            num_cameras=int(row["num_cameras"]),
            num_frames=int(row["num_frames"]),
            pieces=tuple(sorted(of.get(gid, []), key=lambda p: (p.first_s, p.camera, p.track_id))),
        )


def _walks(path: Path) -> dict[tuple[str, str], Float64]:
    walks: dict[tuple[str, str], list[float]] = {}
    for row in _rows(path):
        walks.setdefault((row["from"], row["to"]), []).append(float(row["travel_s"]))
    return {pair: np.array(times) for pair, times in sorted(walks.items())}


def _counts(path: Path) -> tuple[dict[str, Float64], float]:
    counts: dict[str, list[tuple[float, ...]]] = {}
    window_s = 0.0
    for row in _rows(path):
        window_s = float(row["end_s"]) - float(row["start_s"])
        numbers = (float(row["start_s"]), float(row["present"]), float(row["entered"]), float(row["distinct"]))
        counts.setdefault(row["camera"], []).append(numbers)
    return {camera: np.array(rows) for camera, rows in counts.items()}, window_s


def _learned(path: Path) -> dict[tuple[str, str], Learned]:
    """Smoothed shares per bin of a transitions.json; what can not be read is left out with a warning."""
    document = _json(path)
    try:
        width_s, sigma = float(document["bin_width"]), float(document["sigma_bins"])
        learned = {}
        for pair in document["pairs"]:
            share = np.zeros(max(pair["bins"], default=0) + 1 + math.ceil(3 * sigma))
            share[pair["bins"]] = pair["counts"]
            if share.any():
                learned[pair["from"], pair["to"]] = Learned(width_s, smoothed(share / share.sum(), sigma))
    except (KeyError, TypeError, ValueError, IndexError):
        if document:
            logger.warning("%s: not as this report reads it; its curves are left out", path)
        return {}
    return learned


def smoothed(share: Float64, sigma_bins: float) -> Float64:
    """Shares per bin (B,) under a Gaussian window of `sigma_bins` (0: none)."""
    if sigma_bins <= 0:
        return share
    at = np.arange(-math.ceil(3 * sigma_bins), math.ceil(3 * sigma_bins) + 1)
    window = np.exp(-0.5 * (at / sigma_bins) ** 2)
    reach = len(at) // 2
    return np.convolve(share, window / window.sum())[reach : reach + len(share)]


def _events(path: Path) -> tuple[dict[str, int], list[Mapping[str, Any]]]:
    """How many events of each kind, and the camera events that tell of trouble."""
    count: Counter[str] = Counter()
    troubles = []
    if path.is_file():
        with naming(path), path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                    kind = str(line["kind"])
                except (ValueError, TypeError, KeyError):
                    continue
                count[kind] += 1
                if kind in ("camera_failed", "camera_reconnecting") or (
                    kind.startswith("camera_") and "message" in line
                ):
                    troubles.append(line)
    return dict(count), troubles


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.is_file():
        with naming(path), path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s: can not be read (%s); left out of the report", path, error)
        return {}
    return content if isinstance(content, dict) else {}
