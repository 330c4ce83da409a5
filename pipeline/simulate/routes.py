"""The ways out of every place as tables, so that many groups of people can choose theirs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.graph import BORDERS, Site, Spreads
from pipeline.types import Float64, Int64

NO_LINK = -1


@dataclass(frozen=True, eq=False)
class Choices:
    """What groups chose; row i is one group."""

    link: Int64  # (N,) place in Site.links, NO_LINK: out of the site
    leave: Int64  # (N,) border


class Routes:
    """P places, up to L ways out of each. Frozen once made."""

    def __init__(self, site: Site) -> None:
        self.num_places = len(site.place_names)
        self._changes = np.unique([t for link in site.links for t in (link.opens_s, link.closes_s)])
        ways: list[list[tuple[int, int, float, float, float]]] = [[] for _ in range(self.num_places)]
        for number, link in enumerate(site.links):
            place, border = site.gate(link.leave)
            ways[place].append((number, border, link.weight, link.opens_s, link.closes_s))
        for way in site.exits:
            place, border = site.gate(way.leave)
            ways[place].append((NO_LINK, border, way.weight, -np.inf, np.inf))
        width = max(1, *(len(row) for row in ways))
        table = np.array([row + [(NO_LINK, 0, 0.0, 0.0, 0.0)] * (width - len(row)) for row in ways], np.float64)
        self._link, self._leave = table[..., 0].astype(np.int64), table[..., 1].astype(np.int64)
        starts = np.concatenate([[-np.inf], self._changes])  # of the epochs between two changes
        is_open = (table[None, ..., 3] <= starts[:, None, None]) & (starts[:, None, None] < table[None, ..., 4])
        weight = np.where(is_open, table[None, ..., 2], 0.0)  # (E, P, L)
        back = self._leave[:, None, :] == np.arange(len(BORDERS))[None, :, None]  # (P, 5, L)
        factor = np.where(back, site.walking.turn_back, 1.0)
        self._cumulative = np.cumsum(weight[:, :, None, :] * factor[None], axis=3)  # (E, P, 5, L)
        self.enter = np.array([site.gate(link.enter) for link in site.links], np.int64).reshape(-1, 2)
        self._travel = Spreads([link.travel for link in site.links])

    def choose(self, place: Int64, border: Int64, time_s: Float64, rng: np.random.Generator) -> Choices:
        """Which way groups (N,) take that came into `place` by `border` at `time_s`.

        Ways that are closed by then are not taken. Where none is left, people go out where they came in.
        """
        epoch = np.searchsorted(self._changes, time_s, side="right")
        cumulative = self._cumulative[epoch, place, border]
        total = cumulative[:, -1]
        draw = rng.random(len(place)) * total
        pick = np.minimum((cumulative <= draw[:, None]).sum(axis=1), cumulative.shape[1] - 1)
        stuck = total <= 0
        link = np.where(stuck, NO_LINK, self._link[place, pick])
        return Choices(link, np.where(stuck, border, self._leave[place, pick]))

    def travel_s(self, link: Int64, z: Float64) -> Float64:
        """(N,) seconds that links (N,) take, at the quantiles of standard normal numbers z (N,); 0 for NO_LINK."""
        return self._travel.quantile(link, z)
