"""Offices, their furniture, and people who sit."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.simulate.drawn import furniture
from pipeline.simulate.drawn.detection_set import DetectionSetSettings, draw_scene_pictures
from pipeline.simulate.drawn.people import Posed, random_person
from pipeline.simulate.drawn.places import build_place
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.sitting import sit, sitting_cast
from pipeline.simulate.drawn.skeleton import LEGS
from pipeline.simulate.drawn.staging import random_scene


@pytest.mark.parametrize("seed", range(4))
def test_an_office_has_chairs_inside_its_walls_that_nobody_walks_through(seed: int) -> None:
    place = build_place("office", np.random.default_rng(seed))
    left, bottom, right, top = place.bounds
    assert len(place.seats) >= 3
    assert ((place.seats[:, :2] > (left, bottom)) & (place.seats[:, :2] < (right, top))).all()
    assert ((place.seats[:, 3] > 0.4) & (place.seats[:, 3] < 0.55)).all()
    for seat in place.seats:
        assert (np.hypot(*(place.obstacles[:, :2] - seat[:2]).T) < 1e-9).any()


def test_offices_are_drawn_only_where_they_are_asked_for() -> None:
    kinds = {random_scene(np.random.default_rng(seed)).place.kind for seed in range(25)}
    assert kinds == {"square", "corridor", "shop", "platform"}
    assert random_scene(np.random.default_rng(0), "office").place.indoor


def _joint(posed: Posed, bone: int) -> np.ndarray:
    return (posed.bones[bone] @ np.append(posed.person.body.joints[bone], 1.0))[:3]


@pytest.mark.parametrize("seed", range(6))
def test_who_sits_has_hips_above_the_seat_level_thighs_and_feet_near_the_floor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heading, high_m = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0.42, 0.54))
    posed = sit(random_person(rng), np.array([1.0, -2.0, heading, high_m]), rng)
    ahead = np.array([np.cos(heading), np.sin(heading)])
    for side in LEGS:
        hip, knee, ankle = (_joint(posed, bone) for bone in LEGS[side])
        assert abs(hip[2] - high_m - 0.09) < 0.02
        assert (knee - hip)[:2] @ ahead > 0.25
        assert abs(knee[2] - hip[2]) < 0.25
        assert -0.02 < ankle[2] < 0.3
        assert np.hypot(*(hip[:2] - (1.0, -2.0))) < 0.3


def test_seats_are_taken_once_by_people_who_are_there() -> None:
    rng = np.random.default_rng(2)
    place = build_place("office", rng)
    people = [random_person(rng) for _ in range(3)]
    cast = [sitting_cast(place, people, np.random.default_rng(seed)) for seed in range(5)]
    assert any(len(seated) == 3 for seated in cast)
    for seated in cast:
        assert [number for number, _ in seated] == list(range(len(seated)))
        spots = {tuple(posed.xy.round(6)) for _, posed in seated}
        assert len(spots) == len(seated)
    assert sitting_cast(place, [], rng) == []


def test_put_turns_things_and_their_normals_and_leaves_the_original() -> None:
    parts = furniture.desk(np.random.default_rng(0), 1.4)
    before = parts[0][1].copy()
    (_, turned), *_ = furniture.put(parts, 2.0, 3.0, np.pi / 2, 0.5)
    assert np.array_equal(parts[0][1], before)
    assert turned[:, :2] == pytest.approx(np.stack([2.0 - before[:, 1], 3.0 + before[:, 0]], axis=1), abs=1e-5)
    assert turned[:, 2] == pytest.approx(before[:, 2] + 0.5, abs=1e-5)
    assert np.linalg.norm(turned[:, 3:6], axis=1) == pytest.approx(1.0, abs=1e-5)


def test_an_office_is_drawn_with_people_who_sit_and_people_who_stand(renderer: Renderer) -> None:
    settings = DetectionSetSettings(frames=3, frames_per_scene=3, most_people=8, seed=4, samples=1, places=("office",))
    pictures = draw_scene_pictures(renderer, settings, 0, 3)
    assert sum(len(picture.truth.row) for picture in pictures) > 2
    again = draw_scene_pictures(renderer, settings, 0, 3)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(pictures, again, strict=True))
