"""Who walks where and when: groups of people on their way through a site, all groups at once, visit by visit."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.simulate.floor import STOP, Floors, floors_of
from pipeline.simulate.graph import Dwell, Site, Spreads
from pipeline.simulate.routes import NO_LINK, Routes
from pipeline.types import Float64, Int64, RowIndex

_MEMBER_LAG_S = 0.4  # members of a group come after each other
_MEMBER_OFFSET_M = 0.45  # and walk beside each other


@dataclass(frozen=True, eq=False)
class Visits:
    """V visits of one person to one place each, by (pid, enter_s). Row i of every array is one visit."""

    pid: Int64  # (V,) >= 1, in the order of first arrival
    number: Int64  # (V,) the person's visits counted from 0
    party: Int64  # (V,) the group they walk with, >= 0
    place: Int64  # (V,) in Site.place_names
    enter_s: Float64  # (V,) at the gate
    leave_s: Float64  # (V,)
    enter_border: Int64  # (V,) in graph.BORDERS
    leave_border: Int64  # (V,)
    link: Int64  # (V,) the link of Site.links taken afterwards, -1: out of the site
    enter_xy: Float64  # (V, 2) metres
    stop_xy: Float64  # (V, 2) where they stop, or a point on the way
    leave_xy: Float64  # (V, 2)
    stop_s: Float64  # (V,) when they get to `stop_xy`
    dwell_s: Float64  # (V,) how long they stay there
    warp: Float64  # (V,) in (-1, 1): how unevenly they walk

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.pid)

    def __getitem__(self, rows: RowIndex) -> Visits:
        return Visits(*(getattr(self, field.name)[rows] for field in fields(self)))

    def at(self, row: Int64, time_s: Float64) -> tuple[Float64, Float64]:
        """Where visits `row` (N,) are at `time_s` (N,) between enter_s and leave_s -> (N, 2) metres, and (N,) the
        distance walked since the gate in metres, for the gait."""
        begin, stop, dwell, end = self.enter_s[row], self.stop_s[row], self.dwell_s[row], self.leave_s[row]
        first = np.clip((time_s - begin) / np.maximum(stop - begin, 1e-9), 0, 1)
        second = np.clip((time_s - stop - dwell) / np.maximum(end - stop - dwell, 1e-9), 0, 1)
        warp = self.warp[row] / (2 * np.pi)
        first = first + warp * np.sin(2 * np.pi * first)
        second = second + warp * np.sin(2 * np.pi * second)
        one, two = self.stop_xy[row] - self.enter_xy[row], self.leave_xy[row] - self.stop_xy[row]
        xy = self.enter_xy[row] + first[:, None] * one + second[:, None] * two
        walked = first * np.hypot(one[:, 0], one[:, 1]) + second * np.hypot(two[:, 0], two[:, 1])
        return xy, walked


@dataclass(frozen=True, eq=False)
class _Parties:
    """Groups at a gate; row i is one."""

    party: Int64
    place: Int64
    border: Int64
    time_s: Float64
    pace: Float64  # standard normal, high is slow

    def __getitem__(self, rows: RowIndex) -> _Parties:
        return _Parties(*(getattr(self, field.name)[rows] for field in fields(self)))


def walk_site(site: Site, seconds: float, rng: np.random.Generator) -> Visits:
    """Let people come for `warm_up_s + seconds` and walk; time 0 is the end of the warm-up. Only visits that reach
    into [0, seconds] are kept, and only their people are numbered."""
    if seconds <= 0:
        raise ValueError(f"seconds: want more than 0, got {seconds}")
    routes = Routes(site)
    floors = floors_of(site)
    parties, num_members = _arrive(site, seconds, rng)
    waves: list[Visits] = []
    while len(parties.party):
        visits = _visit(site, routes, floors, parties, rng)
        waves.append(visits)
        parties = _go_on(site, routes, visits, parties, rng)
        parties = parties[parties.time_s < seconds]
    if not waves:
        return _visit(site, routes, floors, parties, rng)
    whole = Visits(*(np.concatenate([getattr(w, f.name) for w in waves]) for f in fields(Visits)))
    return _numbered(_members(whole, num_members, rng), seconds)


def _arrive(site: Site, seconds: float, rng: np.random.Generator) -> tuple[_Parties, Int64]:
    """The groups in the order of their arrival, and how many people each has."""
    sizes, shares = np.array(list(site.groups)), np.array(list(site.groups.values()), np.float64)
    shares = shares / shares.sum()
    times, places, borders = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for way in site.arrivals:
        begin, end = max(-site.warm_up_s, way.begin_s), min(seconds, way.end_s)
        rate = way.rate_per_s / float(shares @ sizes)
        count = int(rng.poisson(max(0.0, end - begin) * rate))
        place, border = site.gate(way.enter)
        times.append(rng.uniform(begin, max(begin, end), count))
        places.append(np.full(count, place))
        borders.append(np.full(count, border))
    time_s = np.concatenate(times)
    order = np.argsort(time_s, kind="stable")
    count = len(order)
    parties = _Parties(
        np.arange(count),
        np.concatenate(places)[order],
        np.concatenate(borders)[order],
        time_s[order],
        rng.standard_normal(count),
    )
    return parties, rng.choice(sizes, count, p=shares).astype(np.int64)


def _visit(site: Site, routes: Routes, floors: Floors, parties: _Parties, rng: np.random.Generator) -> Visits:
    """One visit of every group to the place it stands before."""
    count, walking = len(parties.party), site.walking
    choices = routes.choose(parties.place, parties.border, parties.time_s, rng)
    corner = rng.random((3, count, 2))
    gates = (parties.border, np.full(count, STOP), choices.leave)
    points = np.stack([floors.points(parties.place, gates[k], corner[k, :, 0], corner[k, :, 1]) for k in range(3)])
    dwells = _dwells(site)
    chance = np.array([dwell.probability for dwell in dwells])[parties.place]
    stops = rng.random(count) < chance
    z = rng.standard_normal(count)
    dwell_s = Spreads([dwell.time for dwell in dwells]).quantile(np.where(stops, parties.place, -1), z)
    share = 0.35 + 0.3 * rng.random(count)  # who does not stop walks straight
    straight = points[0] + share[:, None] * (points[2] - points[0])
    back = np.linalg.norm(points[2] - points[0], axis=1) < 2.0  # who goes out where they came in walks to somewhere
    points[1] = np.where((stops | back)[:, None], points[1], straight)
    spread = walking.speed_std_mps / walking.speed_mps
    speed = walking.speed_mps * np.exp(-spread * parties.pace - spread**2 / 2)
    legs = [np.linalg.norm(points[k + 1] - points[k], axis=1) / speed for k in (0, 1)]
    stop_s = parties.time_s + legs[0]
    return Visits(
        pid=np.zeros(count, np.int64),
        number=np.zeros(count, np.int64),
        party=parties.party,
        place=parties.place,
        enter_s=parties.time_s,
        leave_s=stop_s + dwell_s + legs[1],
        enter_border=parties.border,
        leave_border=choices.leave,
        link=choices.link,
        enter_xy=points[0],
        stop_xy=points[1],
        leave_xy=points[2],
        stop_s=stop_s,
        dwell_s=dwell_s,
        warp=walking.unevenness * rng.uniform(-1, 1, count),
    )


def _dwells(site: Site) -> tuple[Dwell, ...]:
    """By place, as in Site.place_names."""
    return (*(camera.dwell for camera in site.cameras if camera.place is None), *(p.dwell for p in site.places))


def _go_on(site: Site, routes: Routes, visits: Visits, parties: _Parties, rng: np.random.Generator) -> _Parties:
    """Where the groups stand next, and when; those who are gone for good have no row."""
    count, walking = len(visits), site.walking
    changes = rng.random(count) < walking.change_probability
    pace = np.where(changes, rng.standard_normal(count), parties.pace)
    rho = walking.pace_correlation
    travel_s = routes.travel_s(visits.link, rho * pace + np.sqrt(1 - rho**2) * rng.standard_normal(count))
    outside = visits.link == NO_LINK
    enter = routes.enter[visits.link] if len(routes.enter) else np.zeros((count, 2), np.int64)
    place, border = enter[:, 0].copy(), enter[:, 1].copy()

    returns = outside & (rng.random(count) < site.reentry.probability)
    delay_s = site.reentry.delay.quantile(rng.standard_normal(count))
    same = rng.random(count) < site.reentry.same_gate
    gates = np.array([site.gate(way.enter) for way in site.arrivals], np.int64).reshape(-1, 2)
    rates = np.array([way.rate_per_s for way in site.arrivals])
    other = gates[rng.choice(len(gates), count, p=rates / rates.sum())]
    place = np.where(outside, np.where(same, visits.place, other[:, 0]), place)
    border = np.where(outside, np.where(same, visits.leave_border, other[:, 1]), border)
    time_s = visits.leave_s + np.where(outside, delay_s, travel_s)
    return _Parties(parties.party, place, border, time_s, pace)[~outside | returns]


def _members(parties: Visits, num_members: Int64, rng: np.random.Generator) -> Visits:
    """A row for every member of every group. The first walks as the group does, the others a little aside."""
    size = num_members[parties.party]
    row = np.repeat(np.arange(len(parties)), size)
    member = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    first = np.cumsum(num_members) - num_members
    person = first[parties.party[row]] + member
    total = int(num_members.sum())
    lag_s = np.abs(rng.normal(0.0, _MEMBER_LAG_S, total))
    aside = rng.normal(0.0, _MEMBER_OFFSET_M, (total, 2))
    is_first = np.isin(np.arange(total), first)
    lag, offset = np.where(is_first, 0.0, lag_s)[person], np.where(is_first[:, None], 0.0, aside)[person]
    visits = parties[row]
    return replace(
        visits,
        pid=person + 1,
        enter_s=visits.enter_s + lag,
        leave_s=visits.leave_s + lag,
        stop_s=visits.stop_s + lag,
        enter_xy=visits.enter_xy + offset,
        stop_xy=visits.stop_xy + offset,
        leave_xy=visits.leave_xy + offset,
    )


def _numbered(visits: Visits, seconds: float) -> Visits:
    """Only what reaches into [0, seconds], by person and time, with people numbered by arrival and visits counted."""
    kept = visits[(visits.leave_s >= 0) & (visits.enter_s <= seconds)]
    kept = kept[np.lexsort((kept.enter_s, kept.pid))]
    pid = np.unique(kept.pid, return_inverse=True)[1].astype(np.int64) + 1
    starts = np.flatnonzero(np.diff(pid, prepend=0))
    number = np.arange(len(pid)) - np.repeat(starts, np.diff(starts, append=len(pid)))
    party = np.unique(kept.party, return_inverse=True)[1].astype(np.int64)
    return replace(kept, pid=pid, number=number, party=party)
