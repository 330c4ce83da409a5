"""Who walks where and when agrees with the description of the site."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from pipeline.simulate.graph import BORDERS, Arrivals, Dwell, Exit, Link, Reentry, Site, SiteCamera, Spread, Walking
from pipeline.simulate.ready_sites import READY_SITES, corridor, grid, ready_site
from pipeline.simulate.truth import see
from pipeline.simulate.walkers import Visits, walk_site

GAP = Spread(mean_s=12.0, std_s=4.0, min_s=5.0)
ALONE = {1: 1.0}


def pair(**changes: object) -> Site:
    """Two cameras: people come in at a.left, go to b, and leave there for good."""
    site = {
        "cameras": (SiteCamera(id="a"), SiteCamera(id="b")),
        "links": (Link(leave="a.right", enter="b.left", travel=GAP),),
        "exits": (Exit(leave="b.right"),),
        "arrivals": (Arrivals(enter="a.left", rate_per_s=0.5),),
        "groups": ALONE,
    }
    return Site(**(site | changes))  # type: ignore[arg-type]


def walk(site: Site, seconds: float, seed: int = 0) -> Visits:
    return walk_site(site, seconds, np.random.default_rng(seed))


def gaps_s(visits: Visits) -> tuple[np.ndarray, np.ndarray]:
    """Time between each visit and the same person's next, and the rows of the former."""
    rows = np.flatnonzero(visits.pid[1:] == visits.pid[:-1])
    return visits.enter_s[rows + 1] - visits.leave_s[rows], rows


@pytest.mark.parametrize("kind", ["lognormal", "gamma"])
def test_spread_has_the_mean_deviation_and_minimum_it_says(kind: str) -> None:
    spread = Spread(mean_s=20.0, std_s=6.0, min_s=8.0, kind=kind)  # type: ignore[arg-type]
    seconds = spread.quantile(np.random.default_rng(0).standard_normal(200_000))
    assert seconds.mean() == pytest.approx(20.0, abs=0.1)
    assert seconds.std() == pytest.approx(6.0, abs=0.1)
    assert seconds.min() >= 8.0


def test_travel_times_follow_the_links_distribution() -> None:
    seconds, _ = gaps_s(walk(pair(), 20_000))
    assert len(seconds) > 9000
    assert seconds.mean() == pytest.approx(GAP.mean_s, abs=5 * GAP.std_s / np.sqrt(len(seconds)))
    assert seconds.std() == pytest.approx(GAP.std_s, rel=0.06)
    assert seconds.min() >= GAP.min_s
    wanted = GAP.quantile(np.random.default_rng(1).standard_normal(100_000))
    assert kstest(seconds, wanted).pvalue > 1e-3


def test_slow_people_take_longer_out_of_sight_too() -> None:
    visits = walk(pair(walking=Walking(pace_correlation=0.8, change_probability=0.0)), 4000)
    seconds, rows = gaps_s(visits)
    length = np.linalg.norm(visits.leave_xy - visits.enter_xy, axis=1)
    speed = (length / (visits.leave_s - visits.enter_s))[rows]
    assert np.corrcoef(speed, seconds)[0, 1] < -0.6


def test_people_arrive_at_the_rate_given_whatever_the_size_of_their_groups() -> None:
    site = pair(groups={1: 0.6, 2: 0.3, 4: 0.1})
    visits = walk(site, 10_000)
    arrivals = visits.number == 0
    assert arrivals.sum() / 10_000 == pytest.approx(0.5, abs=0.05)
    size = np.bincount(visits.party[arrivals])
    assert (size == 2).mean() == pytest.approx(0.3, abs=0.04)
    assert (size == 4).mean() == pytest.approx(0.1, abs=0.03)


def test_members_of_a_group_walk_together() -> None:
    visits = walk(pair(groups={3: 1.0}), 2000)
    whole = visits[visits.place == 0]
    for party in np.unique(whole.party)[1:-1][:50]:
        rows = np.flatnonzero(whole.party == party)
        assert len(set(whole.pid[rows].tolist())) == len(rows)
        assert np.ptp(whole.enter_s[rows]) < 3.0
        assert np.linalg.norm(whole.enter_xy[rows] - whole.enter_xy[rows[0]], axis=1).max() < 4.0


def test_people_in_view_obey_littles_law() -> None:
    stop = Dwell(probability=1.0, time=Spread(mean_s=30.0, std_s=10.0))
    site = Site(
        cameras=(SiteCamera(id="a", fps=2, dwell=stop),),
        exits=(Exit(leave="a.right"),),
        arrivals=(Arrivals(enter="a.left", rate_per_s=0.2),),
        groups=ALONE,
        warm_up_s=300.0,
    )
    visits = walk(site, 8000)
    truth = see(site, visits, 8000, np.random.default_rng(0))
    stays_s = (visits.leave_s - visits.enter_s).mean()
    assert visits.dwell_s.mean() == pytest.approx(30.0, abs=1.5)
    in_view = truth.person_seconds(site) / 8000
    assert in_view == pytest.approx(0.2 * stays_s, rel=0.08)


def test_warm_up_fills_the_site_before_the_first_frame() -> None:
    stop = Dwell(probability=1.0, time=Spread(mean_s=60.0))
    cold = pair(cameras=(SiteCamera(id="a", dwell=stop), SiteCamera(id="b")))
    warm = cold.model_copy(update={"warm_up_s": 200.0})

    def at_start(site: Site) -> int:
        return int((walk(site, 100).enter_s < 0).sum())

    assert at_start(cold) == 0
    assert at_start(warm) > 15
    assert walk(warm, 100).pid.min() == 1


def test_ways_out_are_taken_by_their_weights_and_turning_back_is_rare() -> None:
    links = (
        Link(leave="a.right", enter="b.left", travel=GAP, weight=3.0),
        Link(leave="a.top", enter="b.left", travel=GAP, weight=1.0),
        Link(leave="a.left", enter="b.left", travel=GAP, weight=4.0),
    )
    visits = walk(pair(links=links, walking=Walking(turn_back=0.25)), 8000)
    left_by = np.bincount(visits.leave_border[visits.place == 0], minlength=5)
    shares = left_by / left_by.sum()
    assert shares[BORDERS.index("right")] == pytest.approx(0.6, abs=0.04)
    assert shares[BORDERS.index("top")] == pytest.approx(0.2, abs=0.04)
    assert shares[BORDERS.index("left")] == pytest.approx(0.2, abs=0.04)


def test_a_route_that_closes_is_taken_before_and_never_after() -> None:
    other = Link(leave="a.top", enter="b.left", travel=GAP, weight=0.2)
    link = Link(leave="a.right", enter="b.left", travel=GAP, closes_s=500.0)
    visits = walk(pair(links=(link, other)), 1000)
    here = visits[visits.place == 0]
    takes = here.link == 0
    before = here.enter_s < 500.0
    assert takes[before].mean() > 0.7
    assert not takes[~before].any()
    assert (here.link[~before] == 1).all()


def test_who_finds_every_way_closed_goes_out_where_they_came_in() -> None:
    link = Link(leave="a.right", enter="b.left", travel=GAP, opens_s=1e6)
    visits = walk(pair(links=(link,)), 300)
    assert (visits.place == 0).all()
    assert (visits.leave_border == BORDERS.index("left")).all()


def test_share_of_those_who_come_back_and_when_is_as_given() -> None:
    delay = Spread(mean_s=60.0, std_s=15.0, min_s=20.0)
    visits = walk(pair(reentry=Reentry(probability=0.3, delay=delay, same_gate=1.0)), 6000)
    done = visits.leave_s < 5500
    gone = (visits.link == -1) & done
    seconds, rows = gaps_s(visits)
    back = np.isin(np.arange(len(visits)), rows) & gone
    assert back.sum() / gone.sum() == pytest.approx(0.3, abs=0.03)
    away_s = seconds[gone[rows]]
    assert away_s.mean() == pytest.approx(60.0, abs=1.5)
    again = rows[gone[rows]] + 1
    assert (visits.enter_border[again] == visits.leave_border[again - 1]).all()
    assert (visits.place[again] == visits.place[again - 1]).all()


def test_speed_in_view_is_that_of_the_description() -> None:
    visits = walk(pair(walking=Walking(speed_mps=1.2, speed_std_mps=0.15)), 4000)
    speed = np.linalg.norm(visits.leave_xy - visits.enter_xy, axis=1) / (visits.leave_s - visits.enter_s)
    assert speed.mean() == pytest.approx(1.2, abs=0.02)
    assert speed.std() == pytest.approx(0.15, abs=0.02)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(["corridor:3", "grid:2x3", "station:5", "square:4"]))
@settings(max_examples=12, deadline=None)
def test_nobody_is_in_two_places_at_once(seed: int, name: str) -> None:
    visits = walk(ready_site(name), 400, seed)
    seconds, _ = gaps_s(visits)
    assert (seconds > 0).all()
    assert (visits.leave_s > visits.enter_s).all()
    assert sorted(set(visits.pid.tolist())) == list(range(1, int(visits.pid.max(initial=0)) + 1))


def test_a_site_to_which_nobody_comes_is_empty() -> None:
    assert len(walk(pair(arrivals=()), 100)) == 0


@pytest.mark.parametrize("name", [*READY_SITES, "grid"])
def test_ready_sites_of_sixteen_and_a_hundred_cameras_reach_every_camera(name: str) -> None:
    for num_cams, text in ((16, "4x4"), (100, "10x10")):
        site = ready_site(f"{name}:{text if name == 'grid' else num_cams}")
        assert len(site.cameras) == num_cams
        visits = walk(site.model_copy(update={"arrivals": tuple(
            way.model_copy(update={"rate_per_s": 40 * way.rate_per_s}) for way in site.arrivals
        )}), 1500)  # fmt: skip
        assert len(np.unique(visits.place)) == len(site.place_names)


def test_faults_of_a_description_are_told() -> None:
    with pytest.raises(ValidationError, match="no such place"):
        pair(exits=(Exit(leave="c.right"),))
    with pytest.raises(ValidationError, match="stands twice"):
        Site(cameras=(SiteCamera(id="a"), SiteCamera(id="a")))
    with pytest.raises(ValidationError, match="no room below mean_s"):
        Spread(mean_s=5.0, std_s=1.0, min_s=6.0)
    with pytest.raises(ValueError, match="corridor:N, station:N, square:N or grid:ROWSxCOLS"):
        ready_site("tunnel:4")
    with pytest.raises(ValueError, match="at least 4 cameras"):
        ready_site("station:2")
    with pytest.raises(ValueError, match="more than 0"):
        walk(corridor(2), 0)
    assert len(grid(2, 3).cameras) == 6
