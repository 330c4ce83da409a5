"""The shader programs, put together from the files in shaders/."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from pipeline.simulate.drawn.clothes import Layer

VERSION = "#version 330\n"
_LAYER_FILE = {
    Layer.SKIN: "layer_skin.glsl",
    Layer.LEGS: "layer_legs.glsl",
    Layer.TOP: "layer_top.glsl",
    Layer.COAT: "layer_coat.glsl",
    Layer.SKIRT: "layer_skirt.glsl",
    Layer.HAIR: "layer_hair.glsl",
    Layer.LONG_HAIR: "layer_hair.glsl",
    Layer.BAG: "layer_item.glsl",
    Layer.HAT: "layer_item.glsl",
}
_FOLD_DEPTH = {Layer.LEGS: 0.02, Layer.TOP: 0.02, Layer.COAT: 0.026, Layer.SKIRT: 0.024}
FLOORS = ("ASPHALT", "SLABS", "COBBLES", "TILES", "CONCRETE", "GRASS", "CARPET", "WOOD")
SURFACES = (*FLOORS, "FACADE", "SHOPFRONT", "BRICK", "PLASTER", "POSTER", "GOODS", "LEAVES", "PANEL", "PLAIN")


@cache
def shader(name: str) -> str:
    return files("pipeline.simulate.drawn").joinpath("shaders", name).read_text(encoding="utf-8")


def person_sources(layer: Layer) -> tuple[str, str]:
    """Vertex and fragment program that paint one layer of a person."""
    defines = _layer_defines(layer)
    shape = defines + shader("noise.glsl") + shader("outfit.glsl") + shader("coverage.glsl")
    inputs = "in vec3 world;\nin vec3 world_normal;\nin vec4 at_rest;\n"
    paint = shader("light.glsl") + shader("cloth.glsl") + inputs + shader(_LAYER_FILE[layer]) + shader("person.frag")
    return VERSION + shape + shader("person.vert"), VERSION + shape + paint


def person_depth_sources(layer: Layer) -> tuple[str, str]:
    """The same layer for the depth alone: what of it there is, not what it looks like."""
    shape = _layer_defines(layer) + shader("noise.glsl") + shader("outfit.glsl") + shader("coverage.glsl")
    return VERSION + shape + shader("person.vert"), VERSION + shape + shader("person_depth.frag")


def place_sources(surface: str) -> tuple[str, str]:
    defines = "".join(f"#define {name} {number}\n" for number, name in enumerate(SURFACES))
    defines += f"#define SURFACE {surface}\n#define ON_FLOOR {int(surface in FLOORS)}\n"
    paint = defines + shader("noise.glsl") + shader("light.glsl") + shader("surfaces.glsl") + shader("place.frag")
    return VERSION + shader("place.vert"), VERSION + paint


def sky_sources() -> tuple[str, str]:
    return VERSION + shader("sky.vert"), VERSION + shader("noise.glsl") + shader("sky.frag")


def skin_source() -> str:
    return VERSION + shader("skin.vert")


def set_uniform(program: Any, name: str, value: object) -> None:
    """Set a uniform, unless the compiler found that this program does not use it."""
    member = program.get(name, None)
    if member is not None:
        member.value = value


def set_matrix(program: Any, name: str, column_major: bytes) -> None:
    member = program.get(name, None)
    if member is not None:
        member.write(column_major)


def _layer_defines(layer: Layer) -> str:
    names = "".join(f"#define {member.name} {int(member)}\n" for member in Layer)
    fold = _FOLD_DEPTH.get(layer)
    folded = f"#define FOLDED {int(fold is not None)}\n#define FOLD_DEPTH {fold or 0.0}\n"
    return names + f"#define LAYER {int(layer)}\n" + folded
