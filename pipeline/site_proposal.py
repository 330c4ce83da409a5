"""Sites proposed from the walks of a run, for people: read, parted, written as a part of pipeline.yaml."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cameras import load_cameras, overlapping_pairs
from pipeline.fusion.partition import Group, crossing_share, propose_sites
from pipeline.fusion.transitions import TransitionsFileError, read_document
from pipeline.fusion.travel_file import TRANSITIONS_FILE
from pipeline.sinks.final import TRANSITION_COLUMNS
from pipeline.types import Float64
from pipeline.yaml_file import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Walks:
    """How many people went from one camera to another."""

    cameras: tuple[str, ...]
    count: Float64  # (C, C) from, to
    together: tuple[tuple[int, int], ...] = ()  # pairs that look at one place


@dataclass(frozen=True, slots=True)
class Proposal:
    rows: tuple[tuple[str, Group, float], ...]  # name, cameras, walks within it
    crossing: float  # share of the walks over a border
    num_looks: int  # cameras looked at by all sites, guests too


def read_walks(path: Path, cams: Path | None = None) -> Walks:
    """Of a run's folder, its transitions.json or transitions.csv. Raises ConfigError, TransitionsFileError."""
    file = path / TRANSITIONS_FILE if path.is_dir() else path
    ways = _from_table(file) if file.suffix == ".csv" else _from_learned(file)
    named = sorted({name for way in ways for name in way[:2]})
    names = tuple(named)
    together: tuple[tuple[int, int], ...] = ()
    if cams is not None:
        cameras, _ = load_cameras(cams)
        names, together = tuple(camera.name for camera in cameras), tuple(sorted(overlapping_pairs(cameras)))
        unknown = sorted(set(named) - set(names))
        if unknown:
            raise ConfigError(f"{file}: there is no camera {unknown[0]!r} in {cams}")
    if not names:
        raise ConfigError(f"{file}: nobody was seen to walk from camera to camera; record for longer")
    camid_of = {name: camid for camid, name in enumerate(names)}
    count = np.zeros((len(names), len(names)))
    for start, goal, number in ways:
        if start != goal:
            count[camid_of[start], camid_of[goal]] += number
    return Walks(names, count, together)


def propose(walks: Walks, max_cameras: int) -> Proposal:
    """Sites of at most `max_cameras` cameras, 0: as large as they are."""
    groups = propose_sites(walks.count, walks.together, max_cameras)
    within = [float(walks.count[np.ix_(group.cameras, group.cameras)].sum()) for group in groups]
    rows = tuple((f"site{n}", group, walked) for n, (group, walked) in enumerate(zip(groups, within, strict=True), 1))
    looks = sum(len(group.cameras) + len(group.guests) for group in groups)
    return Proposal(rows, crossing_share(walks.count, groups), looks)


def as_yaml(walks: Walks, proposal: Proposal) -> str:
    """`fusion.sites` as it stands in pipeline.yaml."""
    lines = ["fusion:", "  sites:"]
    for name, group, _ in proposal.rows:
        lines += [f"    {name}:", f"      cameras: {_names(walks, group.cameras)}"]
        if group.guests:
            lines.append(f"      guests: {_names(walks, group.guests)}")
    return "\n".join(lines) + "\n"


def _names(walks: Walks, camids: tuple[int, ...]) -> str:
    return json.dumps([walks.cameras[camid] for camid in camids], ensure_ascii=False)


def _from_learned(file: Path) -> list[tuple[str, str, float]]:
    document = read_document(file)
    try:
        return [(str(p["from"]), str(p["to"]), float(sum(p["counts"]))) for p in document["pairs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise TransitionsFileError(f"{file} is not a file of transitions ({error!r}); estimate it anew") from error


def _from_table(file: Path) -> list[tuple[str, str, float]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            if list(rows.fieldnames or ()) != list(TRANSITION_COLUMNS):
                raise ConfigError(f"{file}: want the columns {', '.join(TRANSITION_COLUMNS)}")
            return [(row["from"], row["to"], 1.0) for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can not be read ({error})") from error
