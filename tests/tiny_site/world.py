"""Who walks where: people with errands between hall and corridor, moved by a small social-force model.

Each person follows an itinerary of points; velocities relax towards the next point and away from other people
and the column (after Helbing and Molnar, "Social force model for pedestrian dynamics", 1995, much reduced).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from pipeline.types import Float64, Int64
from tests.tiny_site.site import COLUMN, CORRIDOR_DOOR_Y, HALL_DOOR_X

FPS = 10
NUM_PEOPLE = 6
_SUBSTEPS = 2
_RELAX_S = 0.35
_ARRIVE_M = 0.45


@dataclass(frozen=True, eq=False)
class Moment:
    """Where everyone is at the time of one frame; row i of every array is the same person. Rows ascend in `person`.

    People who are in neither place (between the doors, outside) have no row.
    """

    frame_idx: int
    person: Int64  # (N,) 0-based
    in_hall: Int64  # (N,) 1 hall, 0 corridor
    xy: Float64  # (N, 2) metres
    heading: Float64  # (N,) radians, 0 = along x
    phase: Float64  # (N,) of the gait, radians
    pace: Float64  # (N,) m/s


@dataclass(frozen=True)
class Step:
    """One line of an itinerary: walk to a point, then wait; `appear` sets the walker down there first.

    `room` None means that the walker is nowhere to be seen for `wait_s`.
    """

    room: str | None
    to: tuple[float, float] = (0.0, 0.0)
    wait_s: float = 0.0
    appear: bool = False


def _hall_points(rng: np.random.Generator, num_points: int) -> list[Step]:
    """Points where people meet each other: taken in turn from the hall's quarters, with a stop at the last."""
    steps: list[Step] = []
    last = np.array([5.7, 7.0])
    while len(steps) < num_points:
        point = np.array([rng.uniform(2.6, 8.6), rng.uniform(2.2, 6.2)])
        near_column = abs(point[0] - 4.35) < 0.9 and abs(point[1] - 4.45) < 0.9
        if near_column or np.hypot(*(point - last)) < 2.2:
            continue
        last = point
        wait_s = float(rng.uniform(0.6, 1.8)) if len(steps) == num_points - 1 else 0.0
        steps.append(Step("hall", (float(point[0]), float(point[1])), wait_s))
    return steps


def _from_hall_to_corridor(rng: np.random.Generator) -> list[Step]:
    return [
        Step("hall", (6.05, 7.3)),
        Step("hall", (6.05, 8.75)),
        Step("hall", (8.1, 9.1)),
        Step(None, wait_s=float(rng.uniform(1.0, 2.2))),
        Step("corridor", (19.0, 8.0), appear=True),
        Step("corridor", (19.3, 9.25)),
        Step("corridor", (20.7, 9.3)),
    ]


def _from_corridor_to_hall(rng: np.random.Generator) -> list[Step]:
    return [
        Step("corridor", (20.6, 9.8)),
        Step("corridor", (19.4, 9.8)),
        Step("corridor", (18.8, 8.2)),
        Step(None, wait_s=float(rng.uniform(1.0, 2.2))),
        Step("hall", (7.7, 9.3), appear=True),
        Step("hall", (5.3, 8.7)),
        Step("hall", (5.35, 7.3)),
    ]


def _in_corridor(rng: np.random.Generator, turns_back: bool) -> list[Step]:
    """Down the corridor on the right-hand side; half the way, or out under the camera and in again."""
    down_x, up_x = float(rng.uniform(20.6, 21.1)), float(rng.uniform(21.6, 22.1))
    if turns_back:
        turn_y = float(rng.uniform(4.6, 6.6))
        return [
            Step("corridor", (down_x, turn_y), wait_s=float(rng.uniform(0.3, 1.2))),
            Step("corridor", (up_x, turn_y + 1.5)),
        ]
    return [
        Step("corridor", (down_x, 4.0)),
        Step("corridor", (down_x, -0.6)),
        Step(None, wait_s=float(rng.uniform(1.5, 3.0))),
        Step("corridor", (up_x, -0.6), appear=True),
        Step("corridor", (up_x, 6.5)),
    ]


def itinerary(person: int, rng: np.random.Generator) -> Iterator[Step]:
    """The endless errands of one person. The first four begin in the hall, the others in the corridor."""
    if person < 4:
        start = ((6.9, 4.6), (3.2, 3.2), (7.9, 3.4), (2.9, 5.8))[person]
        yield Step("hall", start, appear=True)
        yield from _hall_points(rng, (0, 2, 6, 4)[person])
    else:
        yield Step("corridor", ((20.9, 8.2), (21.9, 2.6))[person - 4], appear=True)
        if person == 4:
            yield from _in_corridor(rng, turns_back=True)
        yield from _from_corridor_to_hall(rng)
        yield from _hall_points(rng, 7 - person)
    for visit in count(person):
        yield from _from_hall_to_corridor(rng)
        yield from _in_corridor(rng, turns_back=visit % 2 == 0)
        yield from _from_corridor_to_hall(rng)
        yield from _hall_points(rng, int(rng.integers(2, 5)))


@dataclass
class Walker:
    """The state of one person: place, motion and what is left of the itinerary."""

    steps: Iterator[Step]
    speed: float  # m/s when nothing is in the way
    room: str | None = None
    xy: Float64 = field(default_factory=lambda: np.zeros(2))
    velocity: Float64 = field(default_factory=lambda: np.zeros(2))
    heading: float = 0.0
    phase: float = 0.0
    _step: Step | None = None
    _wait_s: float = 0.0
    _arrived: bool = False

    def __post_init__(self) -> None:
        self._next_step()

    def _next_step(self) -> None:
        step = self._step = next(self.steps)
        self.room, self._wait_s, self._arrived = step.room, step.wait_s, step.room is None
        if step.appear:
            self.xy = np.array(step.to)
            self.velocity = np.zeros(2)

    def advance(self, push: Float64, dt_s: float) -> None:
        """Move on by `dt_s`, with `push` (2,) m/s from whoever stands near."""
        step = self._step
        assert step is not None
        if not self._arrived and np.hypot(*(np.array(step.to) - self.xy)) < _ARRIVE_M:
            self._arrived = True
        if self._arrived:
            self._wait_s -= dt_s
            if self._wait_s <= 0:
                self._next_step()
                return self.advance(push, dt_s) if self.room is not None else None
        if self.room is None:
            return None
        wanted = np.zeros(2)
        if not self._arrived:
            gap = np.array(step.to) - self.xy
            wanted = self.speed * gap / max(float(np.hypot(*gap)), 1e-9)
        self.velocity = self.velocity + (wanted + push - self.velocity) * (dt_s / _RELAX_S)
        pace = float(np.hypot(*self.velocity))
        if pace > 1.25 * self.speed:
            self.velocity *= 1.25 * self.speed / pace
        before = self.xy
        self.xy = _keep_off_walls(self.room, self.xy + self.velocity * dt_s)
        self.phase += 2 * np.pi * float(np.hypot(*(self.xy - before))) / 1.45
        if pace > 0.25:
            turn = np.arctan2(self.velocity[1], self.velocity[0]) - self.heading
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            self.heading += float(turn) * min(1.0, dt_s / 0.2)
        return None


def _keep_off_walls(room: str, xy: Float64) -> Float64:
    """Walls stop people; only through the doorways, a shoulder's width from their posts, do they get on."""
    x, y = float(xy[0]), float(xy[1])
    if room == "hall":
        if 7.6 < y < 8.3 and not HALL_DOOR_X[0] + 0.25 < x < HALL_DOOR_X[1] - 0.25:
            y = 7.6 if y < 7.95 else 8.3
        x = min(max(x, 0.5), 10.5)
    else:
        if 19.7 < x < 20.35 and not CORRIDOR_DOOR_Y[0] + 0.25 < y < CORRIDOR_DOOR_Y[1] - 0.25:
            x = 19.7 if x < 20.0 else 20.35
        x = min(x, 22.45)
    return np.array([x, y])


def _pushes(walkers: list[Walker]) -> Float64:
    """(N, 2) m/s: everyone gives way to those near by, a little to the right; nobody walks into the column."""
    push = np.zeros((len(walkers), 2))
    column = (np.array(COLUMN.low[:2]) + np.array(COLUMN.high[:2])) / 2
    for i, one in enumerate(walkers):
        if one.room is None:
            continue
        near = [(w.xy, 0.6) for j, w in enumerate(walkers) if j != i and w.room == one.room]
        for centre, radius_m in [*near, (column, 0.6)]:
            gap = one.xy - centre
            distance = max(float(np.hypot(*gap)), 1e-6)
            if distance < 1.6:
                away = gap / distance
                right = np.array([away[1], -away[0]]) * -0.5
                push[i] += 1.1 * np.exp(-(distance - radius_m) / 0.22) * (away + right)
    lengths = np.hypot(push[:, 0], push[:, 1])
    push *= np.minimum(1.0, 2.4 / np.maximum(lengths, 1e-9))[:, None]
    return push


def walk(seed: int, num_frames: int) -> Iterator[Moment]:
    """Let everyone walk; one moment per frame. The same seed gives the same walk, however long it is."""
    walkers = []
    for person in range(NUM_PEOPLE):
        rng = np.random.default_rng([seed, person])
        walkers.append(Walker(itinerary(person, rng), speed=float(rng.uniform(1.2, 1.55))))
    dt_s = 1.0 / FPS / _SUBSTEPS
    for _ in range(10):  # get into their stride
        _advance(walkers, dt_s)
    for frame_idx in range(num_frames):
        seen = [i for i, w in enumerate(walkers) if w.room is not None]
        yield Moment(
            frame_idx,
            np.array(seen, np.int64),
            np.array([walkers[i].room == "hall" for i in seen], np.int64),
            np.array([walkers[i].xy for i in seen]).reshape(-1, 2),
            np.array([walkers[i].heading for i in seen]),
            np.array([walkers[i].phase for i in seen]),
            np.array([np.hypot(*walkers[i].velocity) for i in seen]),
        )
        for _ in range(_SUBSTEPS):
            _advance(walkers, dt_s)


def _advance(walkers: list[Walker], dt_s: float) -> None:
    for walker, push in zip(walkers, _pushes(walkers), strict=True):
        walker.advance(push, dt_s)
