"""Decisions of a run made again from its files: is it the same decision, and what would be decided now?

Two questions. *Then*: an event holds the parts of its evidence; their sum, the posterior that follows and the threshold
of that moment, replayed from the events before it, must lead to what was decided. *Now*: two tracklets are compared by
their kept looks and ways with what the run had learned by its end, beside everybody else who could be meant.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.fusion.affinity import posterior, return_log_odds
from pipeline.fusion.archive import Parts
from pipeline.fusion.association_file import (
    KNOWN_FILE,
    TRACKLETS_FILE,
    AssociationFileError,
    calibration_of,
    load_known,
    load_tracklets,
    mixed_calibration_of,
)
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reranking import counts, described, similarity_of
from pipeline.fusion.threshold import LinkThreshold
from pipeline.fusion.tracklet_graph import build_graph
from pipeline.fusion.transitions import TransitionsFileError
from pipeline.fusion.travel import CAMERAS_ONLY, TravelModel, TravelTrust
from pipeline.fusion.travel_file import TRANSITIONS_FILE, load_travel
from pipeline.fusion.zones import Zones
from pipeline.types import BoolMask, Int64

log = logging.getLogger(__name__)

RUN_FILE = "run.json"
_PARTS = ("appearance", "travel", "motion", "floor")
_EPS = 1e-4  # numbers are rounded to a millionth
_MOST_ROWS = 600  # tracklets compared at once

Tracklet = tuple[str, int]  # camera, track_id


def fusion_config(folder: Path) -> FusionConfig:
    """The settings of the association that a run was made with; the defaults where run.json does not say."""
    try:
        told = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["config"]["fusion"]
        return FusionConfig.model_validate(told)
    except FileNotFoundError:
        return FusionConfig()
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        log.warning("%s: the settings of the association can not be read; the defaults are taken", folder / RUN_FILE)
        return FusionConfig()


def decided_again(lines: Sequence[Mapping[str, Any]], config: FusionConfig) -> dict[int, dict[str, Any]]:
    """Every decision that says what it rested on, made again -> by place in `lines` (the identity events in order).

    prior, total: log-odds; p_same: with somebody new and the runner-up as the other answers; needed: how probable a
    choice had to be then; same: whether this leads to what was decided, the told confidence included.
    """
    threshold = LinkThreshold(config.false_merge_rate)
    needed, at_s = threshold.value, math.nan
    again = {}
    for place, line in enumerate(lines):
        if line["kind"] in ("create", "link"):
            if line.get("time_s") != at_s:
                needed, at_s = threshold.value, line.get("time_s", math.nan)
            least = min(needed, threshold.value)  # tracklets of one moment are decided in rounds
            threshold.see(_best_chance(line))
        else:
            least = 1 - config.false_merge_rate
        if line["kind"] in ("link", "merge") and "appearance" in line and "confidence" in line:
            again[place] = _joined_again(line, least, config)
        elif line["kind"] == "create" and "margin" in line and "confidence" in line:
            again[place] = _founded_again(line, least)
    return again


def _best_chance(line: Mapping[str, Any]) -> float:
    """Probability of the likeliest identity, as a decision tells it."""
    confidence = float(line.get("confidence", 0.0))
    if line["kind"] == "link":
        return confidence
    return min(1.0, confidence * math.exp(min(-float(line["margin"]), 50.0))) if "margin" in line else 0.0


def _joined_again(line: Mapping[str, Any], needed: float, config: FusionConfig) -> dict[str, Any]:
    gap_s = np.array([max(float(line.get("gap_s", 0.0)), 0.0)])
    prior = float(return_log_odds(gap_s, config.return_log_odds, config.return_s, config.return_decay)[0])
    total = prior + sum(float(line.get(name, 0.0)) for name in _PARTS)
    margin = float(line.get("margin", math.inf))
    rivals = [total - margin] if abs(margin - total) > _EPS and math.isfinite(margin) else []
    p_same = float(posterior(np.array([total, *rivals]))[0][0])
    told = float(line["confidence"])
    return {
        "prior": prior,
        "total": total,
        "p_same": p_same,
        "p_told": told,
        "needed": needed,
        "same": margin >= -_EPS and told <= p_same + _EPS and told >= needed - 0.01,
    }


def _founded_again(line: Mapping[str, Any], needed: float) -> dict[str, Any]:
    best = _best_chance(line)
    return {"p_same": best, "needed": needed, "same": best < needed + 0.01 or float(line["margin"]) > 0}


@dataclass(frozen=True, eq=False)
class Memory:
    """What the association knew at the end of a run."""

    cameras: tuple[str, ...]
    parts: Parts
    calibration: SimilarityCalibration
    mixed: SimilarityCalibration
    travel: TravelModel
    overlaps: frozenset[tuple[int, int]]
    config: FusionConfig
    least_confidence: float

    def rows(self, tracklet: Tracklet) -> Int64:
        """The parts of a tracklet, in order of time."""
        if tracklet[0] not in self.cameras:
            return np.zeros(0, np.int64)
        there = self.parts.camid == self.cameras.index(tracklet[0])
        return np.flatnonzero(there & (self.parts.track_id == tracklet[1]))

    def name(self, row: int) -> str:
        return f"{self.cameras[int(self.parts.camid[row])]}:{int(self.parts.track_id[row])}"


def load_memory(folder: Path, config: FusionConfig) -> Memory | None:
    """What a run kept for this, None where it kept nothing (`fusion.record_capacity: 0`, or an earlier version).

    Raises AssociationFileError and TransitionsFileError for files that are damaged.
    """
    if not all((folder / name).is_file() for name in (KNOWN_FILE, TRACKLETS_FILE)):
        return None
    known = load_known(folder)
    cameras = tuple(map(str, known["cameras"]))
    trust = CAMERAS_ONLY if config.travel == "cameras" else TravelTrust()
    travel = TravelModel(len(cameras), config.travel_memory, trust)
    if config.travel != "off" and (folder / TRANSITIONS_FILE).is_file():
        load_travel(folder / TRANSITIONS_FILE, cameras, travel, Zones(len(cameras)), config.travel_memory)
    parts = load_tracklets(folder)
    if len(parts) and int(parts.camid.max()) >= len(cameras):
        raise AssociationFileError(f"{folder / TRACKLETS_FILE}: speaks of cameras that {KNOWN_FILE} does not name")
    return Memory(
        cameras=cameras,
        parts=parts,
        calibration=calibration_of(known, config),
        mixed=mixed_calibration_of(known, config),
        travel=travel,
        overlaps=_overlaps(folder, cameras),
        config=config,
        least_confidence=float(known["least_confidence"]),
    )


def compared_now(memory: Memory, one: Tracklet, other: Tracklet) -> dict[str, Any] | None:
    """Two tracklets by what was known at the end, beside all that the later one may go on from; None where one is not
    kept any more.

    similarity (cosine) and appearance (log-odds), reranked (k-reciprocal similarity, 0 to 1) and its place among the
    candidates; gap_s, prior, travel and motion (log-odds); total, p_same among all candidates, runner_up and margin.
    `possible`: nobody would be in two places at once.
    """
    mine, theirs = memory.rows(one), memory.rows(other)
    if not len(mine) or not len(theirs):
        return None
    first, later = _nearest(memory.parts, mine, theirs)
    rows = _surroundings(memory.parts, first, later)
    i, j = (int(np.flatnonzero(rows == row)[0]) for row in (first, later))
    parts, config = memory.parts[rows], memory.config
    neighbourhoods = described(parts.vector, parts.camid, config.reranking_neighbours)
    graph = build_graph(
        parts,
        {},
        memory.overlaps,
        config,
        calibration=memory.calibration,
        travel=memory.travel,
        mixed=memory.mixed,
        neighbourhoods=neighbourhoods if counts(config, parts.vector) else None,
    )
    odds = graph.look[:j, j] + graph.chain[:j, j]
    told: dict[str, Any] = {
        "earlier": memory.name(first),
        "later": memory.name(later),
        "possible": not bool(graph.forbidden[i, j]),
        "appearance": float(graph.look[i, j]),
        "needed": memory.least_confidence,
    }
    if graph.has_look[i] and graph.has_look[j]:
        told["similarity"] = float(parts.vector[i] @ parts.vector[j])
        told |= _reranked(neighbourhoods, graph.has_look, (i, j), np.isfinite(odds))
    if not math.isfinite(graph.chain[i, j]):
        return told
    chance = posterior(odds)[0]
    rivals = np.where(np.arange(j) == i, -np.inf, odds)
    second = int(rivals.argmax())
    told |= _way(memory, parts[np.array([i, j])], float(graph.chain[i, j]))
    told |= {
        "total": float(odds[i]),
        "p_same": float(chance[i]),
        "candidates": int(np.isfinite(odds).sum()),
    }
    if np.isfinite(rivals[second]):
        told |= {"runner_up": memory.name(int(rows[second])), "margin": float(odds[i] - rivals[second])}
    return told


def _way(memory: Memory, pair: Parts, chain: float) -> dict[str, float]:
    """What the time between the two parts of a pair, earlier and later, says; chain: log-odds of all that but looks."""
    config = memory.config
    gap_s = max(float(pair.first_s[1] - pair.last_s[0]), 0.0)
    prior = return_log_odds(np.array([gap_s]), config.return_log_odds, config.return_s, config.return_decay)
    zones = pair.exit_zone[:1], pair.entry_zone[1:]
    travels = gap_s > 0 and zones[0][0] >= 0 and zones[1][0] >= 0
    travel = float(memory.travel.log_odds(*zones, np.array([gap_s]))[0]) if travels else 0.0
    return {
        "gap_s": gap_s,
        "prior": float(prior[0]),
        "travel": travel,
        "motion": float(chain - prior[0] - travel),
    }


def _nearest(parts: Parts, mine: Int64, theirs: Int64) -> tuple[int, int]:
    """Of two tracklets, which may have been split, the two parts nearest in time, the earlier one first."""
    pairs = [(a, b) if a < b else (b, a) for a in mine.tolist() for b in theirs.tolist()]
    return min(pairs, key=lambda pair: (abs(parts.first_s[pair[1]] - parts.last_s[pair[0]]), pair))


def _surroundings(parts: Parts, first: int, later: int) -> Int64:
    """At most `_MOST_ROWS` rows, ascending: the two, those most like the later one, and those seen last before it."""
    if len(parts) <= _MOST_ROWS:
        return np.arange(len(parts))
    alike = np.argsort(-(parts.vector @ parts.vector[later]), kind="stable")[: _MOST_ROWS // 2]
    before = np.flatnonzero(np.arange(len(parts)) < later)
    before = before[np.argsort(-parts.last_s[before], kind="stable")][: _MOST_ROWS // 2 - 2]
    return np.unique(np.concatenate((alike, before, [first, later])))


def _reranked(neighbourhoods: Any, has_look: BoolMask, pair: tuple[int, int], candidate: BoolMask) -> dict[str, Any]:
    """k-reciprocal similarity of the two, and the place of the earlier one by it among the candidates (j,)."""
    earlier, later = pair
    others = [earlier, *np.flatnonzero(candidate & has_look[:later] & (np.arange(later) != earlier)).tolist()]
    own, *rest = similarity_of(neighbourhoods[[later, *others]])[0, 1:].tolist()
    told = {"reranked": own}
    return told | {"reranked_place": 1 + sum(one > own + 1e-9 for one in rest)} if candidate[earlier] else told


def _overlaps(folder: Path, cameras: Sequence[str]) -> frozenset[tuple[int, int]]:
    """Pairs of overlapping cameras, as run.json has them."""
    try:
        entries: Iterable[Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["cameras"]
        names = [(str(entry["id"]), list(map(str, entry.get("overlaps", ())))) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
    place = {name: camid for camid, name in enumerate(cameras)}
    return frozenset(
        (place[name], place[other]) for name, others in names for other in others if name in place and other in place
    )


DAMAGED = (AssociationFileError, TransitionsFileError)
