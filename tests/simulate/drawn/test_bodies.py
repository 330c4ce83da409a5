from __future__ import annotations

import numpy as np
import pytest

from pipeline.simulate.drawn.assets import MESHES, load_basis
from pipeline.simulate.drawn.bodies import random_body, vertex_normals
from pipeline.simulate.drawn.gait import random_manner, stride_m
from pipeline.simulate.drawn.people import fitting_room, pose, random_person
from pipeline.simulate.drawn.skeleton import LEGS, X, bone_matrices, rotation, skinned


def test_asset_is_small_and_whole() -> None:
    basis = load_basis()
    assert basis.num_vertices < 8000 and len(basis.coefficients) == 1200
    assert set(basis.faces) == set(MESHES)
    assert all(faces.max() < basis.num_vertices for faces in basis.faces.values())
    np.testing.assert_allclose(basis.weights.sum(axis=1), 1.0, atol=1e-6)


def test_bodies_are_grown_ups_of_all_sizes_with_soles_on_the_floor() -> None:
    rng = np.random.default_rng(0)
    bodies = [random_body(load_basis(), rng) for _ in range(60)]
    heights = np.array([body.height_m for body in bodies])
    assert 1.4 < heights.min() < 1.62 and 1.75 < heights.max() < 2.1
    assert np.mean([b.height_m for b in bodies if not b.female]) > np.mean([b.height_m for b in bodies if b.female])
    assert {body.female for body in bodies} == {True, False}
    assert all(0.55 <= body.age <= 0.96 for body in bodies)


def test_no_two_people_have_the_same_body() -> None:
    rng = np.random.default_rng(1)
    shapes = [random_body(load_basis(), rng).vertices for _ in range(12)]
    apart = [np.abs(a - b).max() for i, a in enumerate(shapes) for b in shapes[:i]]
    assert min(apart) > 1e-3


def test_normals_of_a_square_point_away_from_it() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    normals = vertex_normals(square, np.array([[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(normals, np.tile([0, 0, 1], (4, 1)), atol=1e-6)


def test_resting_bones_leave_the_body_as_it_is() -> None:
    room, body = fitting_room(), random_body(load_basis(), np.random.default_rng(2))
    still = bone_matrices(room.basis.parents, body.joints, np.tile(np.eye(3), (21, 1, 1)))
    count = room.basis.num_vertices
    moved = skinned(body.vertices, room.bones[:count], room.weights[:count], still)
    np.testing.assert_allclose(moved, body.vertices, atol=1e-5)


def test_a_bent_knee_moves_the_foot_and_not_the_hip() -> None:
    room, body = fitting_room(), random_body(load_basis(), np.random.default_rng(3))
    turns = np.tile(np.eye(3), (21, 1, 1))
    thigh, shank, foot = LEGS["left"]
    turns[shank] = rotation(X, np.pi / 2)
    bones = bone_matrices(room.basis.parents, body.joints, turns)
    ankle = (bones[foot] @ [*body.joints[foot], 1])[:3]
    np.testing.assert_allclose((bones[thigh] @ [*body.joints[thigh], 1])[:3], body.joints[thigh], atol=1e-9)
    assert ankle[1] > body.joints[foot][1] + 0.2  # behind: the body looks along -y
    length = np.linalg.norm(body.joints[foot] - body.joints[shank])
    assert np.linalg.norm(ankle - body.joints[shank]) == pytest.approx(length)


@pytest.mark.parametrize("stir", [0.0, 1.0])
def test_the_lower_foot_stands_on_the_floor_all_the_time(stir: float) -> None:
    person = random_person(np.random.default_rng(4))
    for cycle in np.linspace(0, 1, 9):
        points = pose(person, (3.0, -2.0), 0.7, cycle=float(cycle), stir=stir).outline_points()
        assert -0.02 < points[:, 2].min() < 0.06
        assert 0.93 * person.body.height_m < points[:, 2].max() < 1.2 * person.body.height_m


def test_a_standing_foot_slides_little_while_the_body_goes_on() -> None:
    """Between heel strike and push-off the ankle stays near where it came down."""
    person = random_person(np.random.default_rng(5))
    _, _, foot = LEGS["left"]
    where = []
    for phase in np.linspace(0.08, 0.42, 12):
        cycle = phase - person.manner.phase
        posed = pose(person, (person.stride_m * phase, 0.0), 0.0, cycle=float(cycle), stir=1.0)
        where.append((posed.bones[foot] @ [*person.body.joints[foot], 1])[0])
    assert np.ptp(where) < 0.12, "a third of a stride is 0.45 m"


def test_strides_are_those_of_grown_ups() -> None:
    rng = np.random.default_rng(6)
    strides = [stride_m(random_body(load_basis(), rng), random_manner(rng)) for _ in range(40)]
    assert min(strides) > 1.0 and max(strides) < 2.1


def test_a_person_faces_where_they_are_headed() -> None:
    person = random_person(np.random.default_rng(7))
    room = fitting_room()
    eyes = np.unique(room.basis.faces["eyes"])
    for heading in (0.0, 2.0, -1.3):
        posed = pose(person, (0.0, 0.0), heading, cycle=0.3, stir=0.0)
        face = skinned(person.points[eyes], room.bones[eyes], room.weights[eyes], posed.bones).mean(axis=0)
        assert face[:2] @ (np.cos(heading), np.sin(heading)) > 0.04
