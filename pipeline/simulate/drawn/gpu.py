"""Buffers and programs of people and places on the drawing device. Nothing here knows cameras or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.simulate.drawn.bodies import vertex_normals
from pipeline.simulate.drawn.clothes import Layer, cloth_layers, cut_meshes, pack_outfit, worn_items
from pipeline.simulate.drawn.light import Light
from pipeline.simulate.drawn.people import Person, fitting_room
from pipeline.simulate.drawn.places import Place
from pipeline.simulate.drawn.programs import (
    VERSION,
    person_depth_sources,
    person_sources,
    place_sources,
    set_matrix,
    set_uniform,
    skin_source,
    sky_sources,
)
from pipeline.simulate.drawn.targets import CONTACT_UNIT, NOISE_UNIT, SHADOW_UNIT
from pipeline.types import Float64

_POSED_BYTES = 24  # position and normal, float32


def matrix_bytes(matrix: Float64) -> bytes:
    """Column by column, as OpenGL wants it."""
    return np.ascontiguousarray(matrix.T, np.float32).tobytes()


@dataclass(frozen=True, eq=False)
class LoadedPerson:
    """One person's buffers, and what to draw them with: (layer, painting, depth alone)."""

    skinning: Any
    posed: Any
    outfit: Any
    draws: tuple[tuple[Layer, Any, Any], ...]
    buffers: tuple[Any, ...]

    def release(self) -> None:
        for _, paint, depth in self.draws:
            paint.release()
            depth.release()
        for item in (self.skinning, *self.buffers):
            item.release()


class PersonPrograms:
    """The programs that move and paint people, and the parts of the mesh that all people share."""

    def __init__(self, context: Any) -> None:
        self._context = context
        room = fitting_room()
        basis, wardrobe = room.basis, room.wardrobe
        self.paint = {layer: context.program(*person_sources(layer)) for layer in Layer}
        self._depth = {layer: context.program(*person_depth_sources(layer)) for layer in Layer}
        self._skin = context.program(skin_source(), varyings=["position", "normal"])
        for program in (*self.paint.values(), *self._depth.values()):
            program["Outfit"].binding = 0
            set_uniform(program, "noise_volume", NOISE_UNIT)
            set_uniform(program, "shadow_map", SHADOW_UNIT)
            set_uniform(program, "eye_at", tuple(basis.eye_at))
        rest = np.zeros((wardrobe.num_vertices, 4), np.float32)
        rest[: basis.num_vertices, :2] = basis.rest[:, :2]
        rest[: basis.num_vertices, 2] = basis.rest[:, 2] / basis.rest_height_m
        rest[: basis.num_vertices, 3] = basis.along_arm
        rest[basis.num_vertices :] = (0.0, 0.2, 0.97, -0.15)
        self._rest = context.buffer(rest.tobytes())
        self._weights = context.buffer(room.weights.tobytes())
        self._bones = context.buffer(room.bones.tobytes())
        items = {name: faces + wardrobe.first_vertex[name] for name, faces in wardrobe.faces.items()}
        meshes = cut_meshes(basis) | items
        self._indices = {name: context.buffer(faces.astype(np.int32).tobytes()) for name, faces in meshes.items()}
        self._all_faces = np.concatenate([*basis.faces.values(), *items.values()])
        self._num_vertices = wardrobe.num_vertices

    def load(self, person: Person) -> LoadedPerson:
        context = self._context
        points = np.concatenate([person.points, vertex_normals(person.points, self._all_faces)], axis=1)
        resting = context.buffer(points.astype(np.float32).tobytes())
        posed = context.buffer(reserve=self._num_vertices * _POSED_BYTES)
        outfit = context.buffer(pack_outfit(person.outfit).tobytes())
        skinning = context.vertex_array(
            self._skin,
            [
                (resting, "3f 3f", "rest_position", "rest_normal"),
                (self._weights, "4f", "bone_weight"),
                (self._bones, "4u1", "bone_index"),
            ],
        )
        layers = cloth_layers(person.outfit) + [(layer, name) for name, layer in worn_items(person.outfit).items()]
        draws = []
        for layer, mesh in layers:
            inputs = [(posed, "3f 3f", "position", "normal"), (self._rest, "4f", "rest")]
            pair = [
                context.vertex_array(programs[layer], inputs, self._indices[mesh], skip_errors=True)
                for programs in (self.paint, self._depth)
            ]
            draws.append((layer, pair[0], pair[1]))
        return LoadedPerson(skinning, posed, outfit, tuple(draws), (resting, posed, outfit))

    def skin(self, loaded: LoadedPerson, bones: Float64) -> None:
        """Pose the person's mesh on the device."""
        import moderngl

        self._skin["bones"].write(np.ascontiguousarray(bones.transpose(0, 2, 1), np.float32).tobytes())
        loaded.skinning.transform(loaded.posed, moderngl.POINTS, vertices=self._num_vertices)

    def draw(self, people: Sequence[LoadedPerson], matrix: bytes) -> None:
        """Paint colours and ids (row + 1)."""
        for program in self.paint.values():
            set_matrix(program, "view_projection", matrix)
        for row, loaded in enumerate(people):
            loaded.outfit.bind_to_uniform_block(0)
            for layer, painting, _ in loaded.draws:
                set_uniform(self.paint[layer], "person_id", float(row + 1))
                self._cull(layer == Layer.SKIN)
                painting.render()
        self._cull(False)

    def draw_depth(self, people: Sequence[LoadedPerson], matrix: bytes, *, cull: bool = True) -> None:
        for program in self._depth.values():
            set_matrix(program, "view_projection", matrix)
        for loaded in people:
            loaded.outfit.bind_to_uniform_block(0)
            for layer, _, depth in loaded.draws:
                self._cull(cull and layer == Layer.SKIN)
                depth.render()
        self._cull(False)

    def _cull(self, wanted: bool) -> None:
        import moderngl

        (self._context.enable if wanted else self._context.disable)(moderngl.CULL_FACE)


@dataclass(frozen=True, eq=False)
class LoadedPlace:
    place: Place
    draws: tuple[tuple[str, Any, Any], ...]  # surface, painting, depth alone
    buffers: tuple[Any, ...]

    def release(self) -> None:
        for _, paint, depth in self.draws:
            paint.release()
            depth.release()
        for buffer in self.buffers:
            buffer.release()


class PlacePrograms:
    """One program per kind of surface, compiled when a place first needs it."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.paint: dict[str, Any] = {}
        depth_vertex = VERSION + "in vec3 position; uniform mat4 view_projection;\n"
        depth_vertex += "void main() { gl_Position = view_projection * vec4(position, 1.0); }"
        self._depth = context.program(depth_vertex, VERSION + "void main() {}")
        self._sky = context.program(*sky_sources())
        set_uniform(self._sky, "noise_volume", NOISE_UNIT)
        corners = np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32)
        self._sky_draw = context.vertex_array(self._sky, [(context.buffer(corners.tobytes()), "2f", "corner")])

    def load(self, place: Place) -> LoadedPlace:
        draws, buffers = [], []
        for surface, rows in sorted(place.surfaces.items()):
            if surface not in self.paint:
                program = self.paint[surface] = self._context.program(*place_sources(surface))
                set_uniform(program, "noise_volume", NOISE_UNIT)
                set_uniform(program, "shadow_map", SHADOW_UNIT)
                set_uniform(program, "contact_map", CONTACT_UNIT)
            buffer = self._context.buffer(np.ascontiguousarray(rows, np.float32).tobytes())
            painting = self._context.vertex_array(
                self.paint[surface], [(buffer, "3f 3f 3f", "position", "normal", "tint")], skip_errors=True
            )
            depth = self._context.vertex_array(self._depth, [(buffer, "3f 24x", "position")])
            draws.append((surface, painting, depth))
            buffers.append(buffer)
        return LoadedPlace(place, tuple(draws), tuple(buffers))

    def draw(self, loaded: LoadedPlace, matrix: bytes) -> None:
        for surface, painting, _ in loaded.draws:
            set_matrix(self.paint[surface], "view_projection", matrix)
            painting.render()

    def draw_depth(self, loaded: LoadedPlace, matrix: bytes) -> None:
        """What throws shadows: a room's ceiling and walls throw none."""
        set_matrix(self._depth, "view_projection", matrix)
        for surface, _, depth in loaded.draws:
            if surface in loaded.place.shading:
                depth.render()

    def draw_sky(self, projection: Float64) -> None:
        import moderngl

        inverse = np.asarray(np.linalg.inv(projection), np.float64)
        set_matrix(self._sky, "inverse_view_projection", matrix_bytes(inverse))
        self._sky_draw.render(moderngl.TRIANGLE_STRIP)

    def set_sky(self, light: Light) -> None:
        set_uniform(self._sky, "zenith", light.zenith)
        set_uniform(self._sky, "horizon", light.horizon)

    def set_contact_area(self, area: tuple[float, float, float, float]) -> None:
        left, bottom, right, top = area
        for program in self.paint.values():
            set_uniform(program, "contact_area", (left, bottom, 1 / (right - left), 1 / (top - bottom)))
