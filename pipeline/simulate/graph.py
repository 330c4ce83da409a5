"""What a simulated site is: cameras, the places they look at, the ways between them, and who walks there.

A **place** is where people can be seen. A camera that names no place has one of its own, called like the camera: its
picture's borders are the **gates** through which people come and go (`c1.left`, `c1.right`, `c1.top`, `c1.bottom`, or
`c1.interior` for a door or stairs inside the picture). Cameras that name one place share its floor, a rectangle in
metres, and overlap; then the gates are the rectangle's sides. Between places nobody is seen: a **link** leads from
the gate where people leave to the gate where they come in, and says how long that takes.

Everything here is a frozen description that can be written in YAML; `pipeline.simulate.walkers` makes people of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator
from scipy import special

from pipeline.settings import Settings
from pipeline.simulate.faults import Fault
from pipeline.simulate.noise import Noise
from pipeline.types import Float64, Int64

Border = Literal["left", "right", "top", "bottom", "interior"]
BORDERS: tuple[str, ...] = get_args(Border)
Gate = Annotated[str, Field(pattern=r"^.+\.(left|right|top|bottom|interior)$")]
GATE_HELP = "<camera or place>.<left|right|top|bottom|interior>"


class Spread(Settings):
    """A distribution of durations: `min_s` plus a lognormal or gamma one, with this mean and standard deviation."""

    mean_s: float = Field(gt=0, le=1e7, description="mean, `min_s` included")
    std_s: float = Field(0.0, ge=0, le=1e7, description="standard deviation; 0: always the mean")
    min_s: float = Field(0.0, ge=0, le=1e7, description="nobody is faster")
    kind: Literal["lognormal", "gamma"] = Field("lognormal", description="shape above `min_s`")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_s > self.mean_s or (self.std_s > 0 and self.min_s >= self.mean_s):
            raise ValueError(f"min_s {self.min_s} leaves no room below mean_s {self.mean_s}")
        return self

    def quantile(self, z: Float64) -> Float64:
        """Seconds at the quantiles Phi(z) of standard normal numbers z (N,): normal z give durations of this spread."""
        return Spreads((self,)).quantile(np.zeros(len(z), np.int64), z)


class Spreads:
    """Several spreads, to be drawn from at once."""

    def __init__(self, spreads: Sequence[Spread]) -> None:
        self._min_s = np.array([spread.min_s for spread in spreads])
        self._above_s = np.array([spread.mean_s for spread in spreads]) - self._min_s
        self._std_s = np.array([spread.std_s for spread in spreads])
        self._is_gamma = np.array([spread.kind == "gamma" for spread in spreads], np.bool_)

    def quantile(self, which: Int64, z: Float64) -> Float64:
        """(N,) seconds of spread `which[i]` at the quantile Phi(z[i]); 0 where `which` is below 0."""
        seconds = np.zeros(len(z))
        varies = (which >= 0) & (self._std_s[which] > 0) if len(self._std_s) else np.zeros(len(z), np.bool_)
        fixed = (which >= 0) & ~varies
        seconds[fixed] = (self._min_s + self._above_s)[which[fixed]]
        gamma = varies & self._is_gamma[which] if len(self._std_s) else varies
        for rows, above in ((gamma, self._gamma), (varies & ~gamma, self._lognormal)):
            seconds[rows] = self._min_s[which[rows]] + above(which[rows], z[rows])
        return seconds

    def _lognormal(self, which: Int64, z: Float64) -> Float64:
        variance = np.log1p((self._std_s[which] / self._above_s[which]) ** 2)
        return np.asarray(self._above_s[which] * np.exp(np.sqrt(variance) * z - variance / 2), np.float64)

    def _gamma(self, which: Int64, z: Float64) -> Float64:
        shape = (self._above_s[which] / self._std_s[which]) ** 2
        return np.asarray(special.gammaincinv(shape, special.ndtr(z)) * self._above_s[which] / shape, np.float64)


class Dwell(Settings):
    """People who stop on their way through a place."""

    probability: float = Field(0.0, ge=0, le=1, description="share of the visits with a stop")
    time: Spread = Field(Spread(mean_s=10.0, std_s=6.0, min_s=1.0), description="how long the stop lasts")


class Place(Settings):
    """A rectangle of floor that several cameras look at: x from left to right, y from bottom to top, metres."""

    id: str = Field(min_length=1, max_length=100, description="the place's name in gates")
    left_m: float = Field(0.0, description="x of its left side in the world")
    bottom_m: float = Field(0.0, description="y of its bottom side in the world")
    width_m: float = Field(12.0, gt=0, le=1000)
    depth_m: float = Field(12.0, gt=0, le=1000)
    dwell: Dwell = Dwell()


class SiteCamera(Settings):
    """A camera: its picture, and where in the world it hangs. Floor at z = 0, yaw 0 looks along y."""

    id: str = Field(min_length=1, max_length=100, description="the camera's name in every table")
    width_px: int = Field(1280, ge=32, le=16384)
    height_px: int = Field(720, ge=32, le=16384)
    fps: float = Field(5.0, gt=0, le=240)
    x_m: float = Field(0.0, description="where it hangs in the world")
    y_m: float = Field(0.0, description="where it hangs in the world")
    mount_m: float = Field(3.5, gt=0.5, le=100, description="height above the floor")
    yaw_deg: float = Field(0.0, description="direction it looks in, clockwise from y")
    pitch_deg: float = Field(22.0, gt=5, lt=90, description="by how much it looks down")
    fov_deg: float = Field(60.0, ge=10, le=120, description="horizontal angle of view")
    place: str | None = Field(None, description="the place it shares with others; none: one of its own")
    calibrated: bool = Field(False, description="whether the pipeline is told how the picture lies on the floor")
    dwell: Dwell = Field(Dwell(), description="stops in its own place")

    @field_validator("id")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip() or ">" in name:
            raise ValueError("a camera id is printable text without `>` and without spaces at its ends")
        return name


class Link(Settings):
    """A way that nobody sees, in one direction: from a gate where people leave to one where they come in."""

    leave: Gate = Field(description=GATE_HELP)
    enter: Gate = Field(description=GATE_HELP)
    travel: Spread = Field(description="time out of sight")
    weight: float = Field(1.0, ge=0, description="how often it is taken, beside the place's other ways out")
    opens_s: float = Field(0.0, ge=0, description="before, nobody sets out on it")
    closes_s: float = Field(1e9, ge=0, description="from then on nobody sets out on it")


class Exit(Settings):
    """A gate through which people leave the site."""

    leave: Gate = Field(description=GATE_HELP)
    weight: float = Field(1.0, ge=0, description="how often it is taken, beside the place's other ways out")


class Arrivals(Settings):
    """People who come to the site, at random (a Poisson process of groups)."""

    enter: Gate = Field(description=GATE_HELP)
    rate_per_s: float = Field(gt=0, le=1000, description="people per second, on average")
    begin_s: float = Field(-1e9, description="nobody comes before")
    end_s: float = Field(1e9, description="nobody comes after")


class Reentry(Settings):
    """People who leave the site and come back."""

    probability: float = Field(0.0, ge=0, le=1, description="share of those who leave")
    delay: Spread = Field(Spread(mean_s=240.0, std_s=120.0, min_s=30.0), description="how long they are away")
    same_gate: float = Field(
        0.5, ge=0, le=1, description="share who return where they left; others where people arrive"
    )


class Walking(Settings):
    """How people walk."""

    speed_mps: float = Field(1.3, gt=0.1, le=5, description="mean speed in view")
    speed_std_mps: float = Field(0.2, ge=0, le=2, description="its standard deviation between people")
    change_probability: float = Field(0.1, ge=0, le=1, description="per visit, that a person takes on another pace")
    pace_correlation: float = Field(
        0.5, ge=0, lt=1, description="of speed in view and travel time: the slow are slow everywhere"
    )
    unevenness: float = Field(0.25, ge=0, lt=1, description="by how much the speed varies within a visit, at most")
    turn_back: float = Field(0.1, ge=0, le=1, description="factor on the weight of leaving where one came in")


class Site(Settings):
    """A whole site. `simulate_site` lets people walk through it."""

    cameras: tuple[SiteCamera, ...] = Field(min_length=1)
    places: tuple[Place, ...] = ()
    links: tuple[Link, ...] = ()
    exits: tuple[Exit, ...] = ()
    arrivals: tuple[Arrivals, ...] = ()
    groups: dict[int, float] = Field({1: 0.8, 2: 0.15, 3: 0.05}, description="size of a group: share of the groups")
    reentry: Reentry = Reentry()
    walking: Walking = Walking()
    warm_up_s: float = Field(0.0, ge=0, description="how long people have been coming when the first frame is taken")
    noise: Noise = Field(Noise(), description="what detector, tracker and network make of what they see")
    faults: tuple[Fault, ...] = Field((), description="what goes wrong, and when")

    @field_validator("groups")
    @classmethod
    def _sizes(cls, groups: dict[int, float]) -> dict[int, float]:
        if not groups or min(groups) < 1 or min(groups.values()) < 0 or sum(groups.values()) <= 0:
            raise ValueError("want sizes of at least 1, each with its share, e.g. {1: 0.8, 2: 0.2}")
        return dict(sorted(groups.items()))

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [camera.id for camera in self.cameras]
        places = list(self.place_names)
        for kind, given in (("cameras", names), ("places", places)):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: {twice[0]!r} stands twice")
        shared = {place.id for place in self.places}
        for camera in self.cameras:
            if camera.place is not None and camera.place not in shared:
                raise ValueError(f"camera {camera.id!r}: there is no place {camera.place!r} in `places`")
        for place in self.places:
            if not any(camera.place == place.id for camera in self.cameras):
                raise ValueError(f"place {place.id!r}: no camera looks at it; name it in a camera's `place`")
        for gate in self._gates():
            if gate.rpartition(".")[0] not in places:
                raise ValueError(f"gate {gate!r}: there is no such place; places are {', '.join(sorted(places))}")
        for fault in self.faults:
            if getattr(fault, "camera", names[0]) not in names:
                raise ValueError(f"faults: {fault.kind}: there is no camera {getattr(fault, 'camera', '')!r}")
        return self

    def _gates(self) -> list[str]:
        links = [gate for link in self.links for gate in (link.leave, link.enter)]
        return [*links, *(way.leave for way in self.exits), *(way.enter for way in self.arrivals)]

    @property
    def place_names(self) -> tuple[str, ...]:
        """All places: those of single cameras by camid, then the shared ones."""
        return (*(c.id for c in self.cameras if c.place is None), *(place.id for place in self.places))

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.id for camera in self.cameras)

    def gate(self, text: str) -> tuple[int, int]:
        """(place, border) numbers of a gate, places as in `place_names`, borders as in `BORDERS`."""
        place, _, border = text.rpartition(".")
        return self.place_names.index(place), BORDERS.index(border)

    def cameras_of(self, place: int) -> tuple[int, ...]:
        """camids of the cameras that look at a place."""
        name = self.place_names[place]
        return tuple(i for i, camera in enumerate(self.cameras) if (camera.place or camera.id) == name)

    def overlaps(self) -> frozenset[tuple[int, int]]:
        """Pairs of camids, lower first, that look at one place."""
        pairs = [(a, b) for place in range(len(self.place_names)) for a in self.cameras_of(place)
                 for b in self.cameras_of(place) if a < b]  # fmt: skip
        return frozenset(pairs)

    def with_noise(self, **changes: Any) -> Site:
        """The same site under other noise, e.g. `with_noise(appearance=AppearanceNoise(factor=1.5))`."""
        return self.model_copy(update={"noise": self.noise.model_copy(update=changes)})
