"""A common floor for cameras that overlap and are not calibrated, learned while the footage comes in.

Every `learn_every_s` one pair of cameras has its turn: an unknown pair is searched for a homography
(`self_calibration.py`), a known one is checked against what has been seen since, and searched anew now and
then.
Pairs that are good join cameras into floors: from the camera that knows most, or from one that is calibrated, along the
best pairs (a spanning tree), every camera gets an `image_to_ground` of about metres.

A floor is used only while it is good (`is_good`), and forgotten when people no longer are where it says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.fusion.config import FusionConfig
from pipeline.fusion.self_calibration import PairFit, explained, learn_pair, refit
from pipeline.fusion.self_calibration_feet import MOMENT_S, FeetBuffer, thinned
from pipeline.fusion.self_calibration_metric import View, ground_of_first
from pipeline.geometry.camera import GroundCamera
from pipeline.types import BoolMask, EmbeddedFrame, Float64

_LOGGER = logging.getLogger(__name__)

_LONGEST_WAIT = 16.0  # times `learn_every_s` between two searches of one pair
_FORGOTTEN = 0.4  # of the share explained at first: below, and ...
_ABOVE_CHANCE = 1.5  # ... no better than so many times what chance explains, the camera has moved
_FEW = 25  # places where somebody stood are too few to tell
_TRUST = 0.5  # how far the places of one way count as independent
_MOST_ODDS = 6.0
_RAYLEIGH_MEDIAN = 1.1774  # of a distance in the plane, per deviation of one axis


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


@dataclass(slots=True)
class _Floor:
    cameras: dict[int, GroundCamera] = field(default_factory=dict)
    sigma_m: dict[int, float] = field(default_factory=dict)
    area_m2: dict[int, float] = field(default_factory=dict)
    together: dict[int, int] = field(default_factory=dict)  # camid -> the first camera of its floor


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
        self._floor = _Floor()
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
        return self._floor.cameras.get(camid)

    def sigma_m(self, camid: int) -> float:
        """By how much more a learned camera errs than a calibrated one, metres per axis."""
        return self._floor.sigma_m.get(camid, 0.0)

    def allowed(self) -> BoolMask:
        """(C, C) pairs of cameras on one learned floor that are said to overlap."""
        table = np.zeros((len(self._given), len(self._given)), np.bool_)
        for pair in self._pairs:
            first = [self._floor.together.get(camid, -1) for camid in pair.cameras]
            if first[0] == first[1] >= 0:
                table[pair.cameras] = table[pair.cameras[::-1]] = True
        return table

    def area_m2(self) -> Float64:
        """(C, C) floor over which people are known to walk in both cameras of a learned pair; 0 elsewhere."""
        table = np.zeros((len(self._given), len(self._given)))
        for pair in self._pairs:
            if pair.fit is not None:
                table[pair.cameras] = table[pair.cameras[::-1]] = min(self._floor.area_m2[c] for c in pair.cameras)
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
        self._floor = self._build()
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

    def _build(self) -> _Floor:
        """Cameras on common floors, along the best pairs."""
        good = [pair for pair in self._pairs if pair.fit is not None]
        floor = _Floor()
        left = sorted({camid for pair in good for camid in pair.cameras})
        known = {camid: sum(p.fit.num_confirmed for p in good if p.fit and camid in p.cameras) for camid in left}
        while left:
            first = min(left, key=lambda camid: (self._given[camid] is None, -known[camid], camid))
            chain = self._chain(first, good)
            self._stand(first, chain, floor)
            left = [camid for camid in left if camid not in chain]
        for pair in good:
            self._doubt(pair, floor)
        return floor

    def _chain(self, first: int, good: Sequence[_Pair]) -> dict[int, Float64]:
        """camid -> homography px -> px of `first`, for all that hang together with it."""
        chain: dict[int, Float64] = {first: np.eye(3)}
        while True:
            edges = [p for p in good if p.fit is not None and (p.cameras[0] in chain) != (p.cameras[1] in chain)]
            if not edges:
                return chain
            best = max(edges, key=lambda p: (p.fit.num_confirmed if p.fit else 0, [-camid for camid in p.cameras]))
            assert best.fit is not None
            a, b = best.cameras
            if a in chain:
                back = np.asarray(np.linalg.inv(best.fit.a_to_b), np.float64)
                chain[b] = np.asarray(chain[a] @ _oriented(back, best.fit.b_xy), np.float64)
            else:
                chain[a] = np.asarray(chain[b] @ best.fit.a_to_b, np.float64)

    def _stand(self, first: int, chain: dict[int, Float64], floor: _Floor) -> None:
        given = self._given[first]
        views = [View(thinned(self._buffers[camid].feet()), to_first) for camid, to_first in chain.items()]
        ground = given.image_to_ground if given is not None else ground_of_first(views)
        for camid, to_first in chain.items():
            own = self._given[camid]
            floor.cameras[camid] = own or GroundCamera.from_homography(_normalised(ground @ to_first))
            floor.together[camid] = first
            trodden = floor.cameras[camid].to_ground(thinned(self._buffers[camid].feet()).xy)
            trodden = trodden[np.isfinite(trodden).all(axis=1)]
            floor.area_m2[camid] = float(len(np.unique(np.floor(trodden), axis=0)))

    def _doubt(self, pair: _Pair, floor: _Floor) -> None:
        """What held-out feet say of the accuracy, beyond what is said of every calibrated camera."""
        _, per_axis = self._apart_m(pair, floor)
        extra = float(np.sqrt(max(0.0, (per_axis**2 - 2 * self._config.floor_sigma_m**2) / 2)))
        for camid in pair.cameras:
            if self._given[camid] is None:
                floor.sigma_m[camid] = max(floor.sigma_m.get(camid, 0.0), extra)

    def _apart_m(self, pair: _Pair, floor: _Floor) -> tuple[float, float]:
        """Of held-out feet: median distance on the floor, and the deviation per axis that goes with it."""
        fit, camera = pair.fit, floor.cameras.get(pair.cameras[1])
        if fit is None or camera is None:
            return float("nan"), 0.0
        apart = np.linalg.norm(camera.to_ground(fit.b_predicted_xy) - camera.to_ground(fit.b_xy), axis=1)
        apart = apart[np.isfinite(apart)]
        median = float(np.median(apart)) if len(apart) else float("inf")
        return median, median / _RAYLEIGH_MEDIAN

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
            residual_m=self._apart_m(pair, self._floor)[0],
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


def _oriented(matrix: Float64, xy: Float64) -> Float64:
    """The same homography with its third coordinate positive at most of the points."""
    depth = np.column_stack((xy, np.ones(len(xy)))) @ matrix[2]
    return matrix if np.median(depth) > 0 else -matrix


def _normalised(matrix: Float64) -> Float64:
    return np.asarray(matrix / np.linalg.norm(matrix[2]), np.float64)
