from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.tiny_site.site import COLUMN
from tests.tiny_site.world import NUM_PEOPLE, Moment, walk

NUM_FRAMES = 240


@pytest.fixture(scope="module", params=[0, 1, 2], ids="seed {}".format)
def moments(request: pytest.FixtureRequest) -> list[Moment]:
    return list(walk(request.param, NUM_FRAMES))


def places(moments: list[Moment]) -> np.ndarray:
    """(frames, people) of 'h' in the hall, 'c' in the corridor, ' ' nowhere."""
    table = np.full((len(moments), NUM_PEOPLE), " ")
    for moment in moments:
        table[moment.frame_idx, moment.person] = np.where(moment.in_hall == 1, "h", "c")
    return table


def test_the_same_seed_walks_the_same_way_however_long() -> None:
    short, long = list(walk(5, 30)), list(walk(5, 60))[:30]
    for one, other in zip(short, long, strict=True):
        for field in ("person", "in_hall", "xy", "heading", "phase", "pace"):
            assert np.array_equal(getattr(one, field), getattr(other, field))


def test_another_seed_walks_another_way() -> None:
    one, other = list(walk(1, 30))[-1], list(walk(2, 30))[-1]
    assert not np.array_equal(one.xy, other.xy)


def test_no_frames_is_no_walk() -> None:
    assert list(walk(0, 0)) == []


def test_nobody_is_twice_in_one_moment(moments: list[Moment]) -> None:
    assert [m.frame_idx for m in moments] == list(range(NUM_FRAMES))
    for moment in moments:
        assert (np.diff(moment.person) > 0).all()
        assert moment.person.max() < NUM_PEOPLE


def test_between_hall_and_corridor_people_are_unseen_for_some_seconds(moments: list[Moment]) -> None:
    """Also: nobody is in both rooms, for there is one place per person and moment."""
    for person, row in enumerate(places(moments).T):
        story = [(place, len(list(run))) for place, run in _runs(row)]
        for (one, _), (gap, length), (other, _) in zip(story, story[1:], story[2:], strict=False):
            if gap == " " and one != other:
                assert 9 <= length <= 30, f"person {person}: {story}"
        assert not any({a, b} == {"h", "c"} for (a, _), (b, _) in pairwise(story))


def _runs(row: np.ndarray) -> list[tuple[str, np.ndarray]]:
    cuts = np.flatnonzero(row[1:] != row[:-1]) + 1
    return [(str(part[0]), part) for part in np.split(row, cuts)]


def test_most_people_visit_both_rooms_and_someone_comes_back(moments: list[Moment]) -> None:
    stories = ["".join(place for place, _ in _runs(row)).replace(" ", "") for row in places(moments).T]
    assert sum({"h", "c"} <= set(story) for story in stories) >= 4
    assert any(len(story) >= 3 for story in stories), stories


def test_people_walk_at_the_pace_of_people(moments: list[Moment]) -> None:
    for before, after in pairwise(moments):
        both = np.intersect1d(before.person, after.person)
        gap = after.xy[np.isin(after.person, both)] - before.xy[np.isin(before.person, both)]
        assert np.hypot(gap[:, 0], gap[:, 1]).max(initial=0) < 0.22


def test_people_pass_close_by_but_not_through_each_other_nor_the_column(moments: list[Moment]) -> None:
    nearest, column = np.inf, np.inf
    middle = (np.array(COLUMN.low[:2]) + np.array(COLUMN.high[:2])) / 2
    for moment in moments:
        for room in (0, 1):
            xy = moment.xy[moment.in_hall == room]
            gaps = np.linalg.norm(xy[:, None] - xy[None], axis=2) + 9.0 * np.eye(len(xy))
            nearest = min(nearest, gaps.min(initial=9.0))
        column = min(column, np.linalg.norm(moment.xy - middle, axis=1).min(initial=9.0))
    assert 0.25 < nearest < 1.0
    assert column > 0.35
