"""People who go about in several places: through a gate in, past some points, out again, and on to the next place.

A social-force walk (Helbing and Molnar 1995, simplified): each wants to go to the next point, keeps off others and
off obstacles, and turns slowly. Between two places people are out of everybody's sight for some seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.simulate.drawn.people import Person
from pipeline.simulate.drawn.places import Place
from pipeline.simulate.drawn.staging import free_spot
from pipeline.types import Float64

AWAY = -1
_ARRIVED_M, _AT_STOP_M = 0.55, 0.35
_PERSONAL_M = 0.75
_TURN_PER_S = 4.0
_SPEED_UP_PER_S = 2.5
_DWELL_S = (2.0, 7.0)
_FIRST_S = 8.0
_STUCK_S = 25.0


@dataclass(frozen=True, eq=False)
class Moment:
    """Where everybody is at one time. Row i is person i."""

    place: np.ndarray  # (P,) int, AWAY where nobody sees the person
    xy: Float64  # (P, 2)
    heading: Float64  # (P,)
    cycle: Float64  # (P,) rounds of the gait so far
    stir: Float64  # (P,) 0 stands .. 1 walks


@dataclass
class _Walker:
    """The state of one person on the way."""

    pace: float  # metres per second
    place: int = AWAY
    last_place: int = AWAY
    wait_s: float = 0.0
    on_the_way_s: float = 0.0
    xy: Float64 = field(default_factory=lambda: np.zeros(2))
    heading: float = 0.0
    cycle: float = 0.0
    speed: float = 0.0
    route: list[Float64] = field(default_factory=list)  # points still to be reached, the last is a gate
    stop_at: int = -1  # how many points are left when the person stops to stand


class Walkers:
    """Moves everybody step by step; what happens is decided by the generator it is given."""

    def __init__(
        self,
        places: Sequence[Place],
        people: Sequence[Person],
        rng: np.random.Generator,
        *,
        between_s: tuple[float, float],
    ) -> None:
        """between_s: the least and the most seconds out of sight from one place to the next."""
        self._places, self._people, self._rng, self._between_s = places, people, rng, between_s
        self._walkers = [_Walker(pace=float(rng.uniform(0.95, 1.5))) for _ in people]
        for walker in self._walkers:
            if rng.random() < 0.5:
                self._enter(walker, int(rng.integers(len(places))), in_the_middle=True)
            else:
                walker.wait_s = float(rng.uniform(0.0, _FIRST_S))

    def moment(self) -> Moment:
        walkers, people = self._walkers, self._people
        return Moment(
            np.array([w.place for w in walkers], np.int64),
            np.array([w.xy for w in walkers]).reshape(-1, 2),
            np.array([w.heading for w in walkers]),
            np.array([w.cycle for w in walkers]),
            np.array([min(1.15, w.speed / p.stride_m) for w, p in zip(walkers, people, strict=True)]),
        )

    def step(self, step_s: float) -> None:
        for walker, person in zip(self._walkers, self._people, strict=True):
            if walker.place == AWAY:
                walker.wait_s -= step_s
                if walker.wait_s <= 0:
                    self._enter(walker, self._next_place(walker), in_the_middle=False)
                continue
            self._walk(walker, person, step_s)

    def _next_place(self, walker: _Walker) -> int:
        """Another place than the last one, where there are several."""
        others = [
            number for number in range(len(self._places)) if number != walker.last_place or len(self._places) == 1
        ]
        return others[int(self._rng.integers(len(others)))]

    def _enter(self, walker: _Walker, number: int, *, in_the_middle: bool) -> None:
        place, rng = self._places[number], self._rng
        gates = place.gates[rng.permutation(len(place.gates))]
        start = free_spot(place, rng) if in_the_middle else None
        walker.place, walker.last_place, walker.on_the_way_s = number, number, 0.0
        walker.xy = (gates[0] if start is None else start).astype(np.float64).copy()
        far = gates[1:][np.argsort(-np.hypot(*(gates[1:] - walker.xy).T), kind="stable")]
        middle = [spot for _ in range(int(rng.integers(1, 3))) if (spot := free_spot(place, rng)) is not None]
        walker.stop_at = -1
        if len(place.stops) and rng.random() < 0.35:
            middle[-1:] = [place.stops[int(rng.integers(len(place.stops)))][:2].copy()]
            walker.stop_at = 1
        walker.route = [*middle, far[0].astype(np.float64)]
        ahead = walker.route[0] - walker.xy
        walker.heading, walker.speed = float(np.arctan2(ahead[1], ahead[0])), 0.8 * walker.pace
        walker.wait_s = 0.0

    def _walk(self, walker: _Walker, person: Person, step_s: float) -> None:
        walker.on_the_way_s += step_s
        if walker.wait_s > 0:  # stands at a stop
            walker.wait_s -= step_s
            wanted = np.zeros(2)
        else:
            ahead = walker.route[0] - walker.xy
            left = float(np.hypot(*ahead))
            if left < (_AT_STOP_M if len(walker.route) - 1 == walker.stop_at else _ARRIVED_M):
                if not self._reached(walker):
                    return
                ahead = walker.route[0] - walker.xy
            wanted = ahead / max(float(np.hypot(*ahead)), 1e-6) * walker.pace + self._push(walker)
        size = float(np.hypot(*wanted))
        if size > 0.05:
            turn = (np.arctan2(wanted[1], wanted[0]) - walker.heading + np.pi) % (2 * np.pi) - np.pi
            walker.heading += float(np.clip(turn, -_TURN_PER_S * step_s, _TURN_PER_S * step_s))
            size *= max(0.2, float(np.cos(turn)))
        change, most = min(size, 1.15 * walker.pace) - walker.speed, _SPEED_UP_PER_S * step_s
        walker.speed = max(0.0, walker.speed + float(np.clip(change, -most, most)))
        metres = walker.speed * step_s
        walker.xy = walker.xy + metres * np.array([np.cos(walker.heading), np.sin(walker.heading)])
        left, bottom, right, top = self._places[walker.place].bounds
        walker.xy = np.clip(walker.xy, (left + 0.25, bottom + 0.25), (right - 0.25, top - 0.25))
        walker.cycle += metres / person.stride_m
        if walker.on_the_way_s > _STUCK_S * 2 and walker.wait_s <= 0:
            self._leave(walker)

    def _reached(self, walker: _Walker) -> bool:
        """Go on to the next point -> False where the person has left."""
        if len(walker.route) - 1 == walker.stop_at:
            walker.wait_s, walker.stop_at = float(self._rng.uniform(*_DWELL_S)), -1
        walker.route = walker.route[1:]
        if walker.route:
            return True
        self._leave(walker)
        return False

    def _leave(self, walker: _Walker) -> None:
        walker.place, walker.wait_s, walker.speed = AWAY, float(self._rng.uniform(*self._between_s)), 0.0

    def _push(self, walker: _Walker) -> Float64:
        """Metres per second away from people and obstacles that are near, and a little to the right of who comes."""
        push = np.zeros(2)
        place = self._places[walker.place]
        others = np.array([w.xy for w in self._walkers if w is not walker and w.place == walker.place]).reshape(-1, 2)
        sources = [(others, np.full(len(others), _PERSONAL_M)), (place.obstacles[:, :2], place.obstacles[:, 2] + 0.55)]
        for points, reach in sources:
            if not len(points):
                continue
            away = walker.xy - points
            gap = np.maximum(np.hypot(*away.T), 1e-3)
            strength = 2.2 * np.exp((reach - gap) / 0.25) * (gap < reach + 0.8)
            unit = away / gap[:, None]
            aside = np.stack([unit[:, 1], -unit[:, 0]], axis=1)
            push += (np.minimum(strength, 3.0)[:, None] * (unit + 0.5 * aside)).sum(axis=0)
        return push
