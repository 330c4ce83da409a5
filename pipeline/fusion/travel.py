"""Travel times that learn themselves: who left there so long ago, does he come in here now?

Between two zones (`zones.Zones`), and between their cameras, transits are counted over the time they took and smoothed
by a Parzen window, as in st-ReID (Wang et al., AAAI 2019, section 3; `transitions`). Three things differ, since nobody
labels these transits and a site has travel times of seconds and of many minutes:

* bins are even in u = log(1 + t / 2 s), so that the window widens with the time; on this scale 'no idea' is even too;
* a decided tracklet counts once, divided among all who it may be, by their probabilities (one step of online EM);
* counts fade, and a pair of zones with few of them is filled up with its pair of cameras, that one with 'no idea'.

So nothing is said at the start, and whatever was learned never proves more than `_UNFORESEEN` allows. What a user
knows of a site (`GivenTravel`) counts as if so many people had been seen to walk there; only its `min_s` is a law.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.fusion.kernels import kernels
from pipeline.fusion.zones import NUM_ZONES
from pipeline.types import BoolMask, Float64, Int64

KNEE_S = 2.0  # below it bins are even in seconds, far above it in their logarithm
BIN_U = 0.05
_LONGEST_S = 4 * 3600.0
NUM_BINS = int(math.log1p(_LONGEST_S / KNEE_S) / BIN_U) + 1
_EPS_S = 1e-6  # times are rounded
_CENTRE: Float64 = np.asarray((np.arange(NUM_BINS) + 0.5) * BIN_U, np.float64)
_WINDOW = (0.1, 0.6)  # least and greatest standard deviation of the Parzen window, in u
_REACH_SIGMAS = 4.0  # where that window is cut off
_LOOSE = 0.5  # standard deviation of u that is expected before transits are seen
_MOST = 4.0  # log-odds that time and way can prove
_UNFORESEEN = 0.05  # share of transits that take any time, to anywhere
_WORTH_LEARNING = 0.05  # chances below teach nothing
_CHANCES = 4.0  # the pairs of different people remembered, for each transit
_GIVEN_TRANSITS = 30.0  # a travel time given by hand counts as so many transits
_GIVEN_SPREAD = 0.7  # in u, from the shortest travel time to the usual one, where only that is given

Stays: TypeAlias = tuple[Int64, Float64, Float64]  # camid, first_s, last_s


def warped(travel_s: npt.ArrayLike) -> Float64:
    """u of travel times in seconds; those beyond four hours count as four hours."""
    return np.log1p(np.clip(np.asarray(travel_s, np.float64), 0.0, _LONGEST_S) / KNEE_S)


class TransitCounts:
    """Fading counts of transits between numbered places, by u. Bounded: the pair least used makes room."""

    def __init__(self, num_places: int, memory: float, capacity: int = 4096) -> None:
        """memory: a pair remembers about its last so many transits."""
        self._num_places = num_places
        self._keep = 1.0 - 1.0 / max(memory, 2.0)
        self._capacity = capacity
        self._row: dict[int, int] = {}  # from * num_places + to -> row
        self._count: Float64 = np.zeros((16, NUM_BINS))
        self._smoothed: Float64 = np.zeros((16, NUM_BINS))  # of the counts, made anew when asked for
        self._number: Float64 = np.zeros(16)
        self._stale: BoolMask = np.zeros(16, np.bool_)
        self._total: Float64 = np.zeros(16)  # of each row, kept up to date
        self._key: Int64 = np.zeros(16, np.int64)  # of each row in `_row`
        self.departures: Float64 = np.zeros(num_places)  # fading number of transits from each place
        self.arrivals: Float64 = np.zeros(num_places)

    def follow(self, num_places: int) -> None:
        """There are more places, numbered on from those so far."""
        before, self._num_places = self._num_places, num_places
        self._row = {key // before * num_places + key % before: row for key, row in self._row.items()}
        self._key = self._key // before * num_places + self._key % before
        self.departures = np.pad(self.departures, (0, num_places - before))
        self.arrivals = np.pad(self.arrivals, (0, num_places - before))

    def rows(self, from_place: Int64, to_place: Int64) -> Int64:
        """(N,) row of each ordered pair, -1 where nothing is known."""
        keys = (from_place * self._num_places + to_place).tolist()
        return np.array([self._row.get(key, -1) for key in keys], np.int64)

    def add(self, from_place: Int64, to_place: int, travel_s: Float64, weight: Float64) -> None:
        """Count transits (N,) of so many seconds to one place, each with its weight in [0, 1]."""
        if not len(from_place):
            return
        keys = (from_place * self._num_places + to_place).tolist()
        own = [self._row[key] if key in self._row else self._open(key) for key in keys]
        loops = kernels("compiled_counts")
        if loops is not None:
            transits = np.array((own, from_place, _bin(travel_s)), np.int64)
            loops.add_transits(
                self._count, self._total, self._stale, self.departures, transits, np.array(weight), self._keep
            )
            return
        rows, faded = np.array(own, np.int64), np.array(sorted(set(own)), np.int64)
        keep = self._keep**weight
        fade = np.ones(len(self._count))
        np.multiply.at(fade, rows, keep)
        self._count[faded] *= fade[faded, None]
        np.add.at(self._count, (rows, _bin(travel_s)), weight)
        self._stale[faded] = True
        self._total[faded] *= fade[faded]
        np.add.at(self._total, rows, weight)
        np.multiply.at(self.departures, from_place, keep)
        np.add.at(self.departures, from_place, weight)

    def arrive(self, place: int) -> None:
        """Somebody begins to be seen there, whoever it is."""
        self.arrivals *= self._keep ** (1 / max(int(np.count_nonzero(self.arrivals)), 1))
        self.arrivals[place] += 1.0

    def density(self, rows: Int64, travel_s: Float64) -> tuple[Float64, Float64]:
        """-> how many times as probable as 'no idea' each travel time (N,) is in its row, number of transits (N,)."""
        known = rows >= 0
        for row in sorted(set(rows[known & self._stale[rows]].tolist())):
            self._smoothed[row], self._number[row] = _parzen(self._count[row])
            self._stale[row] = False
        return np.where(known, self._smoothed[rows, _bin(travel_s)], 0.0), np.where(known, self._number[rows], 0.0)

    def share(self, rows: Int64, from_place: Int64, to_place: Int64, trust: float) -> Float64:
        """How many times as often as by chance those who left `from_place` come to `to_place`, (N,)."""
        chance = (self.arrivals[to_place] + 1.0) / (self.arrivals.sum() + np.count_nonzero(self.arrivals) + 1.0)
        number = np.where(rows >= 0, self._number[rows], 0.0)
        often = (number + trust * chance) / (self.departures[from_place] + trust) / chance
        return np.asarray(often, np.float64)

    def pairs(self) -> Iterator[tuple[int, int, Float64]]:
        """From where, to where, and the counts (B,) of each pair, in the order in which the pairs were opened."""
        for key, row in sorted(self._row.items(), key=lambda item: item[1]):
            yield key // self._num_places, key % self._num_places, self._count[row]

    def put(self, from_place: int, to_place: int, count: Float64) -> None:
        """Set the counts (B,) of a pair; nothing fades."""
        key = from_place * self._num_places + to_place
        row = self._row[key] if key in self._row else self._open(key)
        self._count[row], self._total[row], self._stale[row] = count, count.sum(), True

    def _open(self, key: int) -> int:
        row = len(self._row)
        if row >= self._capacity:
            row = int(self._total[: len(self._row)].argmin())
            del self._row[int(self._key[row])]
            self._count[row] = 0.0
        elif row == len(self._count):
            for name in ("_count", "_smoothed", "_number", "_stale", "_total", "_key"):
                setattr(self, name, np.concatenate((getattr(self, name), np.zeros_like(getattr(self, name)))))
        self._row[key], self._key[row], self._stale[row], self._total[row] = row, key, True, 0.0
        return row


def _bin(travel_s: Float64) -> Int64:
    u = np.log1p(np.minimum(np.maximum(travel_s, 0.0), _LONGEST_S) / KNEE_S)
    return np.minimum((u / BIN_U).astype(np.int64), NUM_BINS - 1)


def _parzen(count: Float64) -> tuple[Float64, float]:
    """Counts (B,) smoothed by a Gaussian window that narrows as they grow -> times 'no idea' (B,), their number."""
    number = float(count.sum())
    if number <= 0:
        return np.zeros(NUM_BINS), 0.0
    mean = float(count @ _CENTRE) / number
    variance = (float(count @ (_CENTRE - mean) ** 2) + _LOOSE**2) / (number + 1.0)
    window = min(max(1.06 * math.sqrt(variance) * max(number, 1.0) ** -0.2, _WINDOW[0]), _WINDOW[1])
    return _blurred(count, window / BIN_U) * (NUM_BINS / number), number


def _blurred(count: Float64, sigma: float) -> Float64:
    """Counts (B,) smoothed by a Gaussian of `sigma` bins, cut off at four of them; nothing lies beyond the ends."""
    reach = int(_REACH_SIGMAS * sigma + 0.5)
    away = np.arange(-reach, reach + 1) / sigma
    weight = np.exp(-0.5 * away * away)
    return np.convolve(count, weight / weight.sum())[reach : reach + len(count)]


@dataclass(frozen=True, slots=True)
class GivenTravel:
    """What a user knows of the way from one camera to another. NaN where not known."""

    from_camid: int
    to_camid: int
    min_s: float = math.nan  # nobody is faster
    mean_s: float = math.nan
    max_s: float = math.nan  # hardly anybody is slower

    def count(self) -> Float64:
        """(B,) transits as expected: a triangle over u with its top at `mean_s`; zeros where only `min_s` is known."""
        low, top, high = warped(np.array([self.min_s, self.mean_s, self.max_s])).tolist()
        if math.isnan(top) and math.isnan(high):
            return np.zeros(NUM_BINS)
        if math.isnan(top):
            top = ((0.0 if math.isnan(low) else low) + high) / 2
        if math.isnan(low):
            low = max(0.0, top - (_GIVEN_SPREAD if math.isnan(high) else high - top))
        if math.isnan(high):
            high = 2 * top - low
        rise, fall = max(top - low, BIN_U), max(high - top, BIN_U)
        share = np.maximum(np.where(top > _CENTRE, 1 - (top - _CENTRE) / rise, 1 - (_CENTRE - top) / fall), 0.0)
        return np.asarray(_GIVEN_TRANSITS * share / share.sum(), np.float64)


@dataclass(frozen=True, slots=True)
class TravelTrust:
    """How many transits it takes to believe them as much as what is known without."""

    cameras: float = 3.0
    zones: float = 6.0
    destinations: float = 10.0
    chance: float = 3.0  # pairs of different people


CAMERAS_ONLY = TravelTrust(zones=1e12, destinations=1e12)


class TravelModel:
    """Travel times and destinations of a site. The only owner of that state.

    The time that passes between one person's leaving and another one's coming is no 'no idea' either: where people come
    at regular times it has peaks of its own, which say nothing of who they are. It is counted likewise, from all who a
    tracklet is not.
    """

    def __init__(
        self,
        num_cameras: int,
        memory: float,
        trust: TravelTrust = TravelTrust(),
        given: Iterable[GivenTravel] = (),
    ) -> None:
        """memory: a pair of zones remembers about its last so many transits. given: what is known beforehand."""
        self._trust = trust
        self.zones = TransitCounts(num_cameras * NUM_ZONES, memory)
        self.cameras = TransitCounts(num_cameras, memory)
        self.by_chance = TransitCounts(num_cameras, _CHANCES * memory)
        self._least_s: Float64 = np.zeros((num_cameras, num_cameras))
        self._take(given)

    def follow(self, num_cameras: int, given: Iterable[GivenTravel] = ()) -> None:
        """There are more cameras. given: what is known beforehand of the ways to and from them."""
        more = num_cameras - len(self._least_s)
        self.zones.follow(num_cameras * NUM_ZONES)
        self.cameras.follow(num_cameras)
        self.by_chance.follow(num_cameras)
        self._least_s = np.pad(self._least_s, (0, more))
        self._take(given)

    def _take(self, given: Iterable[GivenTravel]) -> None:
        for way in given:
            self._least_s[way.from_camid, way.to_camid] = 0.0 if math.isnan(way.min_s) else way.min_s
            count = way.count()
            if count.any():
                self.cameras.put(way.from_camid, way.to_camid, count)
        self.has_least = bool(self._least_s.any())

    def too_fast(self, one: Stays, other: Stays) -> BoolMask:
        """Whether nobody is in both of two stays, since one begins sooner after the other than anybody can walk.

        The arrays of `one` are broadcast with those of `other`.
        """
        before = one[1] <= other[1]
        least_s = np.where(before, self._least_s[one[0], other[0]], self._least_s[other[0], one[0]])
        travel_s = np.where(before, other[1] - one[2], one[1] - other[2])
        return np.asarray((least_s > 0) & (one[0] != other[0]) & (travel_s < least_s - _EPS_S), np.bool_)

    def log_odds(self, from_zone: Int64, to_zone: Int64, travel_s: Float64) -> Float64:
        """(N,) log p(comes in here now | left there `travel_s` ago) - log p(the same | somebody else left there)."""
        trust = self._trust
        from_cam, to_cam = from_zone // NUM_ZONES, to_zone // NUM_ZONES
        of_cameras, of_zones = self.cameras.rows(from_cam, to_cam), self.zones.rows(from_zone, to_zone)
        chance = _filled(*self.by_chance.density(self.by_chance.rows(from_cam, to_cam), travel_s), trust.chance, 1.0)
        expected = _filled(*self.cameras.density(of_cameras, travel_s), trust.cameras, chance)
        when = _filled(*self.zones.density(of_zones, travel_s), trust.zones, expected)
        where = self.zones.share(of_zones, from_zone, to_zone, trust.destinations)
        odds = np.log((1 - _UNFORESEEN) * when / chance * where + _UNFORESEEN)
        return np.asarray(np.minimum(odds, _MOST), np.float64)

    def learn(self, from_zone: Int64, to_zone: int, travel_s: Float64, probability: Float64) -> None:
        """One tracklet came in at `to_zone`; it is with these probabilities who left there so long ago (N,)."""
        told = probability >= _WORTH_LEARNING
        likely = from_zone[told], travel_s[told], probability[told]
        self.zones.add(likely[0], to_zone, *likely[1:])
        self.cameras.add(likely[0] // NUM_ZONES, to_zone // NUM_ZONES, *likely[1:])
        self.by_chance.add(from_zone // NUM_ZONES, to_zone // NUM_ZONES, travel_s, 1 - probability)

    def arrive(self, zone: int) -> None:
        """Somebody begins to be seen in a zone, whoever it is."""
        self.zones.arrive(zone)
        self.cameras.arrive(zone // NUM_ZONES)


def _filled(density: Float64, number: Float64, trust: float, otherwise: Float64 | float) -> Float64:
    return (number * density + trust * otherwise) / (number + trust)
