"""A person: body, clothes and way of moving; and a person at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.simulate.drawn.assets import BodyBasis, load_basis
from pipeline.simulate.drawn.bodies import Body, random_body
from pipeline.simulate.drawn.clothes import Wardrobe, build_wardrobe, place_items, worn_items
from pipeline.simulate.drawn.gait import Manner, joint_rotations, random_manner, stride_m
from pipeline.simulate.drawn.skeleton import bone_matrices, placed, skinned
from pipeline.simulate.drawn.wardrobe import Bag, Outfit, random_outfit
from pipeline.types import Float32, Float64, Int64, UInt8

_SOLE_SHARE = 0.012  # vertices below this share of the height may touch the floor
_SHOE_M = 0.012  # shoes lift the skin's soles by this
_OUTLINE_STEP = 6  # every so many vertices outline the body


@dataclass(frozen=True, eq=False)
class Person:
    body: Body
    outfit: Outfit
    manner: Manner
    points: Float32  # (V + items, 3) at rest, with all that is worn
    stride_m: float


@dataclass(frozen=True, eq=False)
class Posed:
    """A person somewhere at some moment."""

    person: Person
    xy: Float64  # (2,) metres, on the floor below the hips
    bones: Float64  # (21, 4, 4)

    def outline_points(self) -> Float64:
        """(K, 3) points on the skin and on what is worn, dense enough to tell where in a picture the person is."""
        shared = fitting_room()
        rows = np.concatenate([shared.outline, *(shared.item_rows[name] for name in worn_items(self.person.outfit))])
        return skinned(self.person.points[rows], shared.bones[rows], shared.weights[rows], self.bones)


@dataclass(frozen=True, eq=False)
class FittingRoom:
    """What all people share: the mesh with its items, and the weights of both."""

    basis: BodyBasis
    wardrobe: Wardrobe
    bones: UInt8  # (V + items, 4)
    weights: Float32  # (V + items, 4)
    soles: Int64
    outline: Int64
    item_rows: dict[str, Int64]


@cache
def fitting_room() -> FittingRoom:
    basis = load_basis()
    wardrobe = build_wardrobe(basis)
    num_items = len(wardrobe.item_bones)
    bones = np.concatenate([basis.bones, np.zeros((num_items, 4), np.uint8)])
    bones[basis.num_vertices :, 0] = wardrobe.item_bones
    weights = np.concatenate([basis.weights, np.zeros((num_items, 4), np.float32)])
    weights[basis.num_vertices :, 0] = 1.0
    skin, tights = np.unique(basis.faces["skin"]), np.unique(basis.faces["tights"])
    height = basis.rest[:, 2] / basis.rest_height_m
    extremes = skin[(height[skin] > 0.985) | (basis.along_arm[skin] > 1.25) | (height[skin] < 0.02)]
    outline = np.unique(np.concatenate([skin[::_OUTLINE_STEP], tights[:: 2 * _OUTLINE_STEP], extremes[::2]]))
    rows = {name: wardrobe.first_vertex[name] + np.arange(0, len(p), 4) for name, p in wardrobe.points.items()}
    return FittingRoom(basis, wardrobe, bones, weights, skin[height[skin] < _SOLE_SHARE], outline, rows)


def random_person(rng: np.random.Generator) -> Person:
    """Somebody."""
    body = random_body(fitting_room().basis, rng)
    outfit = random_outfit(rng, female=body.female, age=body.age)
    return made_person(body, outfit, random_manner(rng, bag_arm=outfit.bag == Bag.HAND))


def made_person(body: Body, outfit: Outfit, manner: Manner) -> Person:
    room = fitting_room()
    return Person(body, outfit, manner, place_items(room.wardrobe, room.basis, body, outfit), stride_m(body, manner))


def pose(person: Person, xy: npt.ArrayLike, heading: float, *, cycle: float, stir: float) -> Posed:
    """The person at `xy`, facing `heading`, after `cycle` rounds of the gait; stir: 0 stands .. 1 walks. The lower
    foot stands on the floor."""
    room = fitting_room()
    turns = joint_rotations(person.body, person.manner, cycle, stir)
    bones = bone_matrices(room.basis.parents, person.body.joints, turns)
    soles = skinned(person.points[room.soles], room.bones[room.soles], room.weights[room.soles], bones)
    where = np.asarray(xy, np.float64)
    return Posed(person, where, placed(bones, where, heading, float(_SHOE_M - soles[:, 2].min())))
