"""An outfit as the shaders take it: the uniform block of outfit.glsl, the layers to draw, hats and bags as meshes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.simulate.drawn.assets import BodyBasis
from pipeline.simulate.drawn.bodies import Body
from pipeline.simulate.drawn.meshes import superellipsoid
from pipeline.simulate.drawn.skeleton import ARMS, CHEST, HEAD, PELVIS
from pipeline.simulate.drawn.wardrobe import Bag, Coat, Hair, Hat, Outfit, Skirt
from pipeline.types import Float32, Float64, Int64


class Layer(IntEnum):
    """One fragment program each; numbers as the shaders know them."""

    SKIN = 0
    LEGS = 1
    TOP = 2
    COAT = 3
    SKIRT = 4
    HAIR = 5
    LONG_HAIR = 6
    BAG = 7
    HAT = 8


_VOLUME_M = {Hair.BALD: 0.0, Hair.CROPPED: 0.004, Hair.SHORT: 0.013, Hair.CURLY: 0.034, Hair.BOB: 0.014,
             Hair.LONG: 0.013, Hair.BUN: 0.008}  # fmt: skip
_LONG_HAIR_END = {Hair.BOB: 0.855, Hair.LONG: 0.76}
_ITEMS: dict[str, tuple[float, int, Layer, int]] = {  # squareness, bands from pole to pole, layer, bone
    "backpack": (0.45, 12, Layer.BAG, CHEST),
    "shoulder_bag": (0.3, 12, Layer.BAG, PELVIS),
    "hand_bag": (0.35, 12, Layer.BAG, ARMS["right"][2]),
    "crown": (1.0, 12, Layer.HAT, HEAD),
    "brim": (1.0, 6, Layer.HAT, HEAD),
    "bun": (1.0, 8, Layer.LONG_HAIR, HEAD),
}


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """Meshes of all that is no cloth, appended to the body's vertices; the same for everybody but for its place."""

    points: dict[str, Float64]  # (K, 3) unit shapes
    faces: dict[str, Int64]  # numbered from the first vertex of the item
    first_vertex: dict[str, int]
    num_vertices: int  # body and items
    item_bones: Int64  # (all items' K,)


def build_wardrobe(basis: BodyBasis) -> Wardrobe:
    points, faces, first, bones = {}, {}, {}, []
    at = basis.num_vertices
    for name, (squareness, bands, _, bone) in _ITEMS.items():
        points[name], faces[name] = superellipsoid(squareness, bands)
        if name == "crown":
            points[name][:, 2] = np.maximum(points[name][:, 2], -0.05)
        first[name] = at
        bones.append(np.full(len(points[name]), bone))
        at += len(points[name])
    return Wardrobe(points, faces, first, at, np.concatenate(bones))


def worn_items(outfit: Outfit) -> dict[str, Layer]:
    """Names of the meshes that the outfit needs, and the layer that paints each."""
    bags = {Bag.NONE: [], Bag.BACKPACK: ["backpack"], Bag.SHOULDER: ["shoulder_bag"], Bag.HAND: ["hand_bag"]}
    names = bags[outfit.bag]
    if outfit.hat != Hat.NONE:
        names = [*names, "crown"] + (["brim"] if outfit.hat != Hat.KNIT else [])
    if outfit.hair == Hair.BUN and outfit.hat == Hat.NONE:
        names = [*names, "bun"]
    return {name: _ITEMS[name][2] for name in names}


def cut_meshes(basis: BodyBasis) -> dict[str, Int64]:
    """Name -> (F, 3): the parts of the body's meshes that a layer can need, so that nothing is drawn in vain.

    bare: skin but for the trunk, which every top covers; head; upper and lower: tights above and below the hips.
    """
    height, arm = basis.rest[:, 2] / basis.rest_height_m, basis.along_arm
    skin, tights = basis.faces["skin"], basis.faces["tights"]
    trunk = (height > 0.60) & (height < 0.79) & (arm < 0.05)
    return {
        "bare": skin[~trunk[skin].all(axis=1)],
        "head": skin[(height[skin] > 0.875).any(axis=1)],
        "upper": tights[((height[tights] > 0.43) | (arm[tights] > 0.05)).any(axis=1)],
        "lower": tights[((height[tights] < 0.6) & (arm[tights] < 0.12)).any(axis=1)],
        "skirt": basis.faces["skirt"],
        "hair": basis.faces["hair"],
        "eyes": basis.faces["eyes"],
    }


def cloth_layers(outfit: Outfit) -> list[tuple[Layer, str]]:
    """(layer, mesh of the body it is drawn on), the inner ones first."""
    layers = [(Layer.SKIN, "bare"), (Layer.SKIN, "eyes"), (Layer.LEGS, "lower"), (Layer.TOP, "upper")]
    if outfit.coat != Coat.NONE:
        layers.append((Layer.COAT, "upper"))
    if outfit.skirt != Skirt.NONE:
        layers.append((Layer.SKIRT, "skirt"))
    if outfit.hair != Hair.BALD and outfit.hat == Hat.NONE:
        layers.append((Layer.HAIR, "head"))
    if outfit.hair in _LONG_HAIR_END:
        layers.append((Layer.LONG_HAIR, "hair"))
    return layers


def place_items(wardrobe: Wardrobe, basis: BodyBasis, body: Body, outfit: Outfit) -> Float32:
    """(num_vertices, 3) the resting body with every item where it is worn on it."""
    points = np.zeros((wardrobe.num_vertices, 3), np.float32)
    points[: basis.num_vertices] = body.vertices
    for name, (centre, radii) in _item_places(basis, body, outfit).items():
        first = wardrobe.first_vertex[name]
        shape = wardrobe.points[name]
        points[first : first + len(shape)] = shape * radii + centre
    return points


def _item_places(basis: BodyBasis, body: Body, outfit: Outfit) -> dict[str, tuple[Float64, Float64]]:
    """Centre and radii of every item, metres on the resting body."""
    scale, size = body.height_m / basis.rest_height_m, outfit.bag_size
    height = basis.rest[:, 2] / basis.rest_height_m
    trunk = (np.abs(basis.rest[:, 0]) < 0.14) & (basis.along_arm < 0)
    skin = np.zeros(basis.num_vertices, bool)
    skin[np.unique(basis.faces["skin"])] = True

    def slab(low: float, high: float) -> Float32:
        return body.vertices[skin & trunk & (height > low) & (height < high)]

    back, hip, head = slab(0.70, 0.76), slab(0.49, 0.55), slab(0.93, 2.0)
    centre, half = (head.max(axis=0) + head.min(axis=0)) / 2, (head.max(axis=0) - head.min(axis=0)) / 2
    _, elbow, wrist = body.joints[list(ARMS["right"])]
    palm = wrist + (wrist - elbow) / np.linalg.norm(wrist - elbow) * 0.09
    crown_z = body.height_m - 0.075 * scale
    brim = (np.array([0, centre[1] - half[1] - 0.035, crown_z]), np.array([half[0] * 0.8, 0.085, 0.008]))
    if outfit.hat == Hat.BRIMMED:
        brim = (np.array([0, centre[1], crown_z]), np.array([half[0] + 0.085, half[1] + 0.085, 0.008]))
    return {
        "backpack": (
            np.array([0, back[:, 1].max() + 0.085 * size, back[:, 2].mean() - 0.06 * scale]),
            np.array([0.155, 0.10, 0.235]) * size * scale,
        ),
        "shoulder_bag": (
            np.array([hip[:, 0].max() + 0.13, 0.03, hip[:, 2].mean() - 0.02]),
            np.array([0.07, 0.17, 0.14]) * size * scale,
        ),
        "hand_bag": (palm + np.array([-0.06, 0, -0.18]), np.array([0.05, 0.16, 0.14]) * size),
        "crown": (np.array([0, centre[1], crown_z]), np.array([half[0] + 0.015, half[1] + 0.015, 0.09 * scale])),
        "brim": brim,
        "bun": (np.array([0, head[:, 1].max() + 0.012, body.height_m - 0.06]), np.array([0.042, 0.042, 0.042])),
    }


def pack_outfit(outfit: Outfit) -> Float32:
    """(18, 4) the members of the block `Outfit`, in the order of outfit.glsl."""
    bald = float(outfit.hair == Hair.BALD)
    curl = 2.2 if outfit.hair == Hair.CURLY else 0.7
    long_hair_end = _LONG_HAIR_END.get(outfit.hair, 0.88)
    rows = (
        (*outfit.skin, outfit.beard),
        (*outfit.hair_colour, _VOLUME_M[outfit.hair]),
        (long_hair_end, outfit.fringe, curl, bald),
        (*outfit.top.colour, outfit.top.pattern),
        (*outfit.top.second, outfit.top.scale),
        (outfit.top_hem, outfit.sleeve, outfit.neckline, outfit.raglan),
        (*outfit.legs.colour, outfit.legs.pattern),
        (*outfit.legs.second, outfit.legs.scale),
        (0.58, outfit.leg_end, outfit.belt, 0.0),
        (outfit.skirt_hem, outfit.skirt, outfit.skirt_bridges, outfit.skirt_flare_m),
        (*outfit.coat_colour, outfit.coat),
        (outfit.coat_hem, 1.01, outfit.coat_band, outfit.coat_yoke),
        (*outfit.shoes, outfit.shoe_height),
        (*outfit.bag_colour, outfit.bag),
        (*outfit.hat_colour, outfit.hat),
        (*outfit.print_xz_size, outfit.printed),
        (*outfit.ease_m, outfit.leg_flare_m),
        (outfit.seed, outfit.glasses, outfit.light_soles, 0.0),
    )
    return np.array(rows, np.float32)
