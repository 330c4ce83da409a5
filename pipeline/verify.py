"""`verify`: the identity invariants on the files of a run, or on any system's tracks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cameras import load_cameras, overlapping_pairs
from pipeline.interchange.readers import GLOBAL_TRACKS, frame_rates, kind_of, read_tracks
from pipeline.interchange.rows import NO_ID, TrackRows, timed
from pipeline.invariants import (
    Check,
    explained_by_events,
    ids_never_reused,
    once_per_frame,
    one_place_at_once,
    possible_speed,
    possible_travel,
    spans_of,
)
from pipeline.sinks.events import EVENTS_FILE, read_events
from pipeline.types import Float64
from pipeline.yaml_file import ConfigError, YamlFile

RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What is known of the cameras. `overlaps` None: it is not known which ones look at one place."""

    overlaps: frozenset[frozenset[str]] | None = None
    min_travel_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    fps: Mapping[str, float] = field(default_factory=dict)
    zero_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as impossible. `handover_s`: for so long one of two stays may go on at its end, beside the other that
    begins elsewhere, as a tracker hangs on to something else."""

    clock_error_s: float = 0.0
    handover_s: float = 0.0
    max_speed_m_s: float = 10.0
    ground_slack_m: float = 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked, and what was found."""

    path: Path
    num_rows: int
    num_identities: int
    num_cameras: int
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "rows": self.num_rows,
            "identities": self.num_identities,
            "cameras": self.num_cameras,
            "holds": self.holds,
            "checks": [
                {
                    "name": check.name,
                    "skipped": check.skipped or None,
                    "checked": check.num_checked,
                    "unit": check.unit,
                    "broken": check.num_broken,
                    "examples": list(check.examples),
                }
                for check in self.checks
            ],
        }


def site_facts(cams: Path | None, folder: Path | None) -> SiteFacts:
    """What cams.yaml says of the site, else the run.json in `folder`, else nothing. Raises ConfigError."""
    if cams:
        cameras, _ = load_cameras(cams)
        names = [camera.name for camera in cameras]
        pairs = frozenset(frozenset((names[a], names[b])) for a, b in overlapping_pairs(cameras))
        starts = [camera.start_time_s for camera in cameras if camera.start_time_s is not None]
        first_s = min(starts, default=0.0)
        return SiteFacts(
            overlaps=pairs,
            min_travel_s=_min_travel(cams),
            fps={camera.name: camera.fps for camera in cameras if camera.fps},
            zero_s={c.name: c.offset_s + (c.start_time_s - first_s if c.start_time_s else 0.0) for c in cameras},
        )
    run_file = folder / RUN_FILE if folder else None
    return _facts_of_run(run_file) if run_file and run_file.is_file() else SiteFacts()


def tolerances(folder: Path | None) -> tuple[float, float]:
    """Clock error and handover, seconds, that the run in `folder` was told to allow; 0 where it does not say."""
    try:
        fusion = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["config"]["fusion"] if folder else {}
        return float(fusion.get("simultaneous_s", 0.0)), float(fusion.get("handover_s", 0.0))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return 0.0, 0.0


def verify(
    path: Path, facts: SiteFacts, limits: Limits, *, kind: str | None = None, fps: float | None = None
) -> Verdict:
    """Check a folder of a run, or a file or folder of tracks. `fps` is for cameras that no one else knows it of.

    Raises TableError for files that can not be read.
    """
    kind = kind or kind_of(path)
    rows = read_tracks(path, kind)
    known = {**(dict.fromkeys(rows.cameras, fps) if fps else {}), **frame_rates(path), **facts.fps}
    rows = timed(rows, known, facts.zero_s)
    checks = [once_per_frame(rows), *_checks_in_time(rows, facts, limits), *_checks_of_events(path, kind, rows)]
    people = np.unique(rows.global_id[rows.global_id != NO_ID])
    return Verdict(path, len(rows), len(people), len(rows.cameras), tuple(checks))


def _checks_in_time(rows: TrackRows, facts: SiteFacts, limits: Limits) -> list[Check]:
    names = ("one place at once", "possible travel", "possible speed")
    if not np.isfinite(rows.time_s).all():
        timeless = rows.cameras[rows.camid[int(np.argmin(np.isfinite(rows.time_s)))]]
        reason = f"the rows of camera {timeless} have no time; give the frames per second: --fps"
        return [Check(name, skipped=reason) for name in names]
    spans = spans_of(rows)
    number = {name: camid for camid, name in enumerate(rows.cameras)}
    overlaps = np.eye(len(rows.cameras), dtype=bool)
    for a, b in (sorted(pair) for pair in facts.overlaps or ()):
        if a in number and b in number:
            overlaps[number[a], number[b]] = overlaps[number[b], number[a]] = True
    least_s: Float64 = np.zeros(overlaps.shape)
    for (a, b), seconds in facts.min_travel_s.items():
        if a in number and b in number:
            least_s[number[a], number[b]] = seconds
    unknown = "it is not known which cameras overlap; give --cams, or say --no-overlaps"
    no_floor = not np.isfinite(rows.ground_xy).any()
    return [
        Check(names[0], skipped=unknown)
        if facts.overlaps is None and len(rows.cameras) > 1
        else one_place_at_once(rows, spans, overlaps, limits.clock_error_s, limits.handover_s),
        possible_travel(rows, spans, least_s, limits.clock_error_s)
        if least_s.any()
        else Check(names[1], skipped="no least travel times are given; cams.yaml can, under `transitions`"),
        Check(names[2], skipped="no places on the floor; calibrate the cameras")
        if no_floor
        else possible_speed(rows, limits.max_speed_m_s, limits.ground_slack_m),
    ]


def _checks_of_events(path: Path, kind: str, rows: TrackRows) -> list[Check]:
    folder = path if path.is_dir() else path.parent
    events_path = folder / EVENTS_FILE
    is_table = path.is_dir() or path.name == GLOBAL_TRACKS
    if kind != "crosscam" or not is_table or not events_path.is_file():
        reason = f"no {EVENTS_FILE} beside the table"
        return [Check(name, skipped=reason) for name in ("ids never reused", "explained by events")]
    camids: dict[str, int] = {}
    events = list(read_events(events_path, camids))
    return [ids_never_reused(events), explained_by_events(rows, events, camids)]


def _min_travel(cams: Path) -> dict[tuple[str, str], float]:
    """`min_s` of the entries under `transitions` in cams.yaml, by (from, to)."""
    file = YamlFile(cams)
    entries = file.data.get("transitions") or []
    try:
        return {
            (str(entry["from"]), str(entry["to"])): float(entry["min_s"])
            for entry in entries
            if entry.get("min_s") is not None
        }
    except (TypeError, KeyError, ValueError, AttributeError):
        where = file.where(("transitions",))
        raise ConfigError(f"{where}: transitions: want a list of {{from: a, to: b, min_s: seconds}}") from None


def _facts_of_run(path: Path) -> SiteFacts:
    """Overlaps as a run had them. Runs that do not list them: all calibrated cameras overlap each other."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        cameras = run["cameras"]
        pairs = {frozenset((c["id"], other)) for c in cameras for other in c.get("overlaps", ())}
        if not any("overlaps" in c for c in cameras):
            calibrated = [c["id"] for c in cameras if c.get("calibrated")]
            pairs = {frozenset((a, b)) for a in calibrated for b in calibrated if a != b}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: is no run.json of a run ({error!r}); give --cams") from None
    return SiteFacts(overlaps=frozenset(pairs))
