"""A common floor for cameras that overlap and are not calibrated, learned while the footage comes in.

Every `learn_every_s` one pair of cameras has its turn: an unknown pair is searched for a homography
(`self_calibration.py`), a known one is checked against what has been seen since, and searched anew now and
then. Pairs that are good join cameras into floors (`common_floor.py`).

A floor is used only while it is good (`is_good`), and forgotten when people no longer are where it says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.fusion.common_floor import CommonFloors, common_floors, held_out_m
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.self_calibration import PairFit, explained, learn_pair, refit
from pipeline.fusion.self_calibration_feet import MOMENT_S, FeetBuffer
from pipeline.geometry.camera import GroundCamera
from pipeline.types import BoolMask, EmbeddedFrame, Float64

_LOGGER = logging.getLogger(__name__)

_LONGEST_WAIT = 16.0  # times `learn_every_s` between two searches of one pair
_FORGOTTEN = 0.4  # of the share explained at first: below, and ...
_ABOVE_CHANCE = 1.5  # ... no better than so many times what chance explains, the camera has moved
_FEW = 25  # places where somebody stood are too few to tell
_TRUST = 0.5  # how far the places of one way count as independent
_MOST_ODDS = 6.0


@dataclass(frozen=True, slots=True)
class PairQuality:
    """How good the floor between two cameras is, on people it was not made from (held out)."""

    cameras: tuple[int, int]
    num_people: int  # matched one-to-one, in blocks of a minute
    num_confirmed: int  # fitted by the floor that was made without them
    gain: float  # the matches' log-likelihood over that of the best fit to mirrored views, which is chance
    explained: float  # share of people in the common floor whom the other camera shows where they should be
    explained_by_chance: float  # the same with the other camera half the time late
    residual_heights: float  # median distance of held-out feet, in heights of the person
    residual_m: float  # and on the floor, in about metres


@dataclass(slots=True)
class _Pair:
    """What is known of one pair of cameras."""

    cameras: tuple[int, int]
    due_s: float
    wait_s: float
    search_s: float = -np.inf  # when it is to be searched again
    since: int = -1  # moment; older feet were seen before the camera moved
    checked: int = -1  # moment up to which the fit was checked
    fit: PairFit | None = None
    explained: float = 0.0
    explained_by_chance: float = 0.0
    found: str = "not looked for yet: too little was seen"  # in words


class LearnedFloor:
    """Owns the feet seen of late, the homographies between views, and the cameras made of them."""

    def __init__(
        self, config: FusionConfig, cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]]
    ) -> None:
        """overlaps: pairs of camids that look at one place; pairs of two calibrated cameras need nothing learned."""
        self._config = config
        self._given = tuple(cameras)
        wanted = sorted({(min(pair), max(pair)) for pair in overlaps}) if config.learn_floor else []
        wanted = [(a, b) for a, b in wanted if cameras[a] is None or cameras[b] is None]
        self._pairs = [_Pair(pair, np.inf, config.learn_every_s) for pair in wanted]
        self._buffers = {camid: FeetBuffer(config.learn_window_s) for pair in wanted for camid in pair}
        self._floors = CommonFloors()
        self._next_s = -np.inf
        self._frozen = not wanted

    def follow(self, cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]]) -> None:
        """There are more cameras: what is known of the pairs so far stays."""
        more = LearnedFloor(self._config, cameras, overlaps)
        known = {pair.cameras for pair in self._pairs}
        self._given = more._given
        self._pairs += [pair for pair in more._pairs if pair.cameras not in known]
        self._buffers = {**more._buffers, **self._buffers}
        self._frozen = self._frozen and not {pair.cameras for pair in more._pairs} - known

    @property
    def quality(self) -> list[PairQuality]:
        """Of all pairs in use, by camera."""
        return [self._quality(pair) for pair in self._pairs if pair.fit is not None and is_good(pair.fit, self._config)]

    def wanted(self) -> list[tuple[tuple[int, int], str]]:
        """All pairs of cameras between which a floor is looked for, and what was found when that was last done."""
        return [(pair.cameras, pair.found) for pair in self._pairs]

    def camera(self, camid: int) -> GroundCamera | None:
        """The camera as learned, None where it is not (or not well enough) known. In about metres."""
        return self._floors.cameras.get(camid)

    def sigma_m(self, camid: int) -> float:
        """By how much more a learned camera errs than a calibrated one, metres per axis."""
        return self._floors.sigma_m.get(camid, 0.0)

    def allowed(self) -> BoolMask:
        """(C, C) pairs of cameras on one learned floor that are said to overlap."""
        table = np.zeros((len(self._given), len(self._given)), np.bool_)
        for pair in self._pairs:
            first = [self._floors.together.get(camid, -1) for camid in pair.cameras]
            if first[0] == first[1] >= 0:
                table[pair.cameras] = table[pair.cameras[::-1]] = True
        return table

    def area_m2(self) -> Float64:
        """(C, C) floor over which people are known to walk in both cameras of a learned pair; 0 elsewhere."""
        table = np.zeros((len(self._given), len(self._given)))
        for pair in self._pairs:
            if pair.fit is not None:
                table[pair.cameras] = table[pair.cameras[::-1]] = min(self._floors.area_m2[c] for c in pair.cameras)
        return table

    def history(self) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """(camid, track_id) of one and of the other camera of a learned pair, and how much all their common way so far
        speaks for one person, in log-odds: the fuser's own looks fade after seconds, and begin with the floor."""
        found = []
        for pair in self._pairs:
            if pair.fit is not None:
                a, b = pair.cameras
                odds = np.clip(_TRUST * pair.fit.log_odds, -_MOST_ODDS, _MOST_ODDS)
                rows = zip(pair.fit.a_id.tolist(), pair.fit.b_id.tolist(), odds.tolist(), strict=True)
                found += [((a, one), (b, other), each) for one, other, each in rows]
        return found

    def freeze(self) -> None:
        """Learn no more: keep the floor as it is."""
        self._frozen = True

    def observe(self, items: Sequence[EmbeddedFrame]) -> None:
        """Remember where people stood."""
        if self._frozen:
            return
        for item in items:
            if item.camid in self._buffers:
                self._buffers[item.camid].add(item.time_s, item.tracks.track_id, item.tracks.xyxy)

    def update(self, now_s: float) -> bool:
        """Give one pair its turn if it is time -> whether the floor has changed. A turn takes a second or two."""
        if self._frozen or now_s < self._next_s:
            return False
        if self._next_s == -np.inf:
            for pair in self._pairs:
                pair.due_s = pair.search_s = now_s + pair.wait_s
        self._next_s = now_s + self._config.learn_every_s / max(1, len(self._pairs))
        # Of pairs that are due together the one that sees most people has the first turn.
        due = min(self._pairs, key=lambda pair: (pair.due_s, -min(len(self._buffers[c]) for c in pair.cameras)))
        if now_s < due.due_s:
            return False
        due.due_s = now_s + self._config.learn_every_s
        before = due.fit
        self._turn(due, now_s)
        if due.fit is before:
            return False
        good = {pair.cameras: pair.fit for pair in self._pairs if pair.fit is not None}
        self._floors = common_floors(good, self._given, self._buffers, self._config.floor_sigma_m)
        return True

    def _turn(self, pair: _Pair, now_s: float) -> None:
        """Check what is known, search where it is time, decide what is used from now on."""
        known, pair.fit = pair.fit, self._checked(pair, now_s)
        if known is not None and pair.fit is None:
            return
        a, b = (self._buffers[camid].feet(pair.since) for camid in pair.cameras)
        if known is not None:
            again = refit(a, b, known)
            if again is not None and is_good(again, self._config):
                known = pair.fit = again
        if now_s < pair.search_s:
            return
        pair.search_s = now_s + pair.wait_s
        pair.wait_s = min(2 * pair.wait_s, _LONGEST_WAIT * self._config.learn_every_s)
        found = learn_pair(a, b, np.random.default_rng(pair.cameras))
        if known is not None:
            again = refit(a, b, known if found is None else replace(known, chance=found.chance))
            if again is not None and (found is None or again.score >= found.score):
                found = again
        pair.found = _words(found)
        if found is None or not is_good(found, self._config):
            _LOGGER.info("no common floor of cameras %d and %d yet: %s", *pair.cameras, _words(found))
            if known is not None and found is not None:
                pair.fit = None
            return
        pair.fit = found
        pair.explained, _ = explained(found, a, b)
        pair.explained_by_chance, _ = explained(found, a, b.late(0.5, a))
        _LOGGER.info("cameras %d and %d share a floor: %s", *pair.cameras, _words(found))

    def _checked(self, pair: _Pair, now_s: float) -> PairFit | None:
        """The fit of a pair, or None where what was seen since the last check says that a camera has moved."""
        moment = int(now_s // MOMENT_S)
        if pair.fit is None:
            pair.checked = moment
            return None
        a, b = (self._buffers[camid].feet(pair.checked) for camid in pair.cameras)
        share, count = explained(pair.fit, a, b)
        if count < _FEW:
            return pair.fit
        by_chance = explained(pair.fit, a, b.late(0.5, a))[0]
        if share < _FORGOTTEN * pair.explained and share < _ABOVE_CHANCE * by_chance + 1 / count:
            _LOGGER.warning(
                "cameras %d and %d no longer agree on their floor (%.0f %% explained, %.0f %% at first): learning anew",
                *pair.cameras,
                100 * share,
                100 * pair.explained,
            )
            pair.found = "a camera was moved, and no floor has been found since"
            pair.since, pair.wait_s = pair.checked, self._config.learn_every_s
            pair.search_s = now_s + pair.wait_s
            pair.checked = moment
            return None
        pair.checked = moment
        return pair.fit

    def _quality(self, pair: _Pair) -> PairQuality:
        assert pair.fit is not None
        return PairQuality(
            cameras=pair.cameras,
            num_people=pair.fit.num_people,
            num_confirmed=pair.fit.num_confirmed,
            gain=pair.fit.gain,
            explained=pair.explained,
            explained_by_chance=pair.explained_by_chance,
            residual_heights=pair.fit.residual,
            residual_m=held_out_m(pair.fit, self._floors.cameras[pair.cameras[1]]),
        )


def is_good(fit: PairFit, config: FusionConfig) -> bool:
    """Whether a homography may be used: clearly better than chance, confirmed by held-out people, and accurate."""
    return (
        fit.gain >= config.learn_min_gain
        and fit.num_confirmed >= config.learn_min_people
        and fit.num_confirmed >= config.learn_min_share * fit.num_people
        and fit.residual <= config.learn_max_residual
    )


def _words(fit: PairFit | None) -> str:
    if fit is None:
        return "nothing fits"
    return (
        f"{fit.num_confirmed} of {fit.num_people} people confirmed when held out, {fit.residual:.2f} heights apart, "
        f"{fit.gain:.1f} times as good as chance"
    )
