"""What people look like: six wardrobes, a skeleton with a gait, and the painted shapes it becomes in a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.types import Float64
from tests.tiny_site.site import Camera, Colour

Polygon = tuple[Float64, Colour]
"""(K, 2) pixels and the colour that fills it. Later polygons lie over earlier ones."""


@dataclass(frozen=True)
class Look:
    """One person's body and clothes; colours are BGR."""

    height_m: float
    skin: Colour
    hair: Colour
    upper: Colour
    lower: Colour
    shoes: Colour
    build: float = 1.0  # width of the body, 1 = average
    long_hair: bool = False
    sleeve: Colour | None = None  # None: as `upper`
    stripes: Colour | None = None  # horizontal stripes on the upper body
    bag: Literal["none", "backpack", "shoulder"] = "none"
    bag_colour: Colour = (60, 60, 60)
    hem: float = 0.47  # how far down the upper garment goes, in body heights
    skirt: bool = False


LOOKS: tuple[Look, ...] = (
    Look(1.82, (150, 178, 222), (38, 52, 72), (52, 48, 190), (128, 84, 52), (40, 42, 48), bag="backpack"),
    Look(1.68, (170, 196, 234), (96, 168, 214), (62, 196, 236), (64, 56, 60), (70, 84, 120), 0.93, True, hem=0.36),
    Look(1.77, (96, 130, 176), (26, 26, 30), (222, 222, 218), (112, 152, 182), (52, 70, 104), stripes=(110, 62, 34)),
    Look(1.86, (140, 172, 220), (30, 34, 42), (74, 132, 52), (54, 50, 48), (210, 210, 214), 1.1),
    Look(
        1.65,
        (158, 186, 228),
        (34, 52, 128),
        (150, 62, 156),
        (176, 172, 168),
        (74, 58, 92),
        0.9,
        True,
        bag="shoulder",
        bag_colour=(70, 190, 210),
        skirt=True,
    ),
    Look(
        1.74,
        (72, 100, 146),
        (196, 200, 202),
        (214, 168, 108),
        (66, 60, 58),
        (34, 38, 56),
        1.05,
        bag="shoulder",
        bag_colour=(36, 98, 214),
        sleeve=(206, 156, 92),
    ),
)

# Levels of the trunk: height in body heights, half width and half depth in metres for an average build.
_TRUNK = ((0.835, 0.10, 0.07), (0.805, 0.185, 0.10), (0.72, 0.175, 0.12), (0.62, 0.15, 0.11), (0.53, 0.165, 0.12))
_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_HALF = np.linspace(-np.pi / 2, np.pi / 2, 9)


@dataclass(frozen=True, eq=False)
class Pose:
    """Joints in world metres and the axes of the body. Pairs are (right, left)."""

    ground: Float64  # (3,) on the floor under the hips
    forward: Float64  # (3,)
    leftward: Float64  # (3,)
    hip: Float64  # (2, 3)
    knee: Float64
    ankle: Float64
    toe: Float64
    shoulder: Float64
    elbow: Float64
    hand: Float64
    head: Float64  # (3,)
    rise: float  # by how much bent legs lower the trunk, metres (<= 0)


def pose(look: Look, xy: Float64, heading: float, phase: float, pace: float) -> Pose:
    """The body at `xy` (2,), facing `heading`, at `phase` of a gait of `pace` m/s. The lower foot is on the floor."""
    tall = look.height_m
    forward = np.array([np.cos(heading), np.sin(heading), 0.0])
    leftward, up = np.array([-forward[1], forward[0], 0.0]), np.array([0.0, 0.0, 1.0])
    ground = np.array([xy[0], xy[1], 0.0])
    swing = 0.46 * min(pace / 1.3, 1.15)
    side, phases = np.array([-1.0, 1.0]), np.array([phase, phase + np.pi])

    thigh = swing * np.sin(phases)
    knee_bend = 0.08 * swing + 1.7 * swing * np.maximum(np.cos(phases), 0.0) ** 2
    shank = thigh - knee_bend
    hip = ground + 0.085 * look.build * side[:, None] * leftward + 0.52 * tall * up
    knee = hip + 0.245 * tall * (np.sin(thigh)[:, None] * forward - np.cos(thigh)[:, None] * up)
    ankle = knee + 0.235 * tall * (np.sin(shank)[:, None] * forward - np.cos(shank)[:, None] * up)
    foot_tilt = np.clip(shank, -0.7, 0.25)
    toe = ankle + 0.085 * tall * (np.cos(foot_tilt)[:, None] * forward + np.sin(foot_tilt)[:, None] * up)
    toe -= 0.015 * tall * up
    rise = float(0.03 * tall - np.minimum(ankle[:, 2], toe[:, 2]).min())
    drop = np.array([0.0, 0.0, rise])

    arm = -0.75 * swing * np.sin(phases)
    fore = arm + 0.18 + 0.5 * swing
    shoulder = ground + 0.168 * look.build * side[:, None] * leftward + 0.785 * tall * up + 0.02 * forward
    spread = 0.16 * side[:, None] * leftward
    elbow = shoulder + 0.175 * tall * (np.sin(arm)[:, None] * forward - np.cos(arm)[:, None] * up + spread)
    hand = elbow + 0.165 * tall * (np.sin(fore)[:, None] * forward - np.cos(fore)[:, None] * up)
    head = ground + 0.928 * tall * up + 0.035 * forward
    return Pose(
        ground,
        forward,
        leftward,
        hip + drop,
        knee + drop,
        ankle + drop,
        toe + drop,
        shoulder + drop,
        elbow + drop,
        hand + drop,
        head + drop,
        rise,
    )


def paint(look: Look, body: Pose, camera: Camera) -> list[Polygon]:
    """The body as the camera sees it: polygons in pixels, in the order in which to draw them."""
    return _Painter(look, body, camera).paint()


def _shade(colour: Colour, factor: float) -> Colour:
    b, g, r = (min(255.0, c * factor) for c in colour)
    return (b, g, r)


class _Painter:
    """Gathers the polygons of one body in one camera."""

    def __init__(self, look: Look, body: Pose, camera: Camera) -> None:
        self.look, self.body, self.camera = look, body, camera
        to_camera = camera.position - body.ground
        to_camera = np.array([to_camera[0], to_camera[1], 0.0])
        self.to_camera = to_camera / max(float(np.linalg.norm(to_camera)), 1e-9)
        self.across = np.array([-self.to_camera[1], self.to_camera[0], 0.0])  # to the right in the picture
        self.facing = float(body.forward @ self.to_camera)
        self.focal_px = float(camera.intrinsic[0, 0])
        self.polygons: list[Polygon] = []

    def paint(self) -> list[Polygon]:
        look, body = self.look, self.body
        near_first = np.argsort(-(body.shoulder @ self.to_camera), kind="stable")
        behind = (body.shoulder - body.ground) @ self.to_camera < -0.06
        if look.bag == "backpack" and self.facing > 0:
            self._backpack()
        for i in near_first[::-1]:
            if behind[i]:
                self._arm(i)
        legs = np.argsort((body.knee + body.ankle) @ self.to_camera, kind="stable")
        for i in legs:
            self._leg(i, 0.9 if i == legs[0] else 1.0)
        if self.facing > -0.25:
            self._long_hair()
        self._trunk()
        if look.bag == "backpack" and self.facing <= 0:
            self._backpack()
        if look.bag == "shoulder":
            self._shoulder_bag()
        self._head()
        for i in near_first[::-1]:
            if not behind[i]:
                self._arm(i)
        return self.polygons

    def _limb(self, start: Float64, end: Float64, start_m: float, end_m: float, colour: Colour) -> None:
        """A rounded limb from `start` to `end` with its radii, darker on one side."""
        pixels, depth = self.camera.project(np.stack([start, end]))
        radius = np.array([start_m, end_m]) * self.focal_px / depth
        gap = pixels[1] - pixels[0]
        angle = np.arctan2(gap[1], gap[0])
        for factor, scale, shift in ((0.86, 1.0, 0.0), (1.03, 0.68, -0.22)):
            turned = angle + _HALF
            far = pixels[1] + scale * radius[1] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
            near = pixels[0] - scale * radius[0] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
            outline = np.concatenate([far, near])
            outline[:, 0] += shift * radius.mean()
            self.polygons.append((outline, _shade(colour, factor)))

    def _oval(self, centre: Float64, width_m: float, height_m: float, colour: Colour) -> None:
        pixels, depth = self.camera.project(centre[None])
        size = np.array([width_m, height_m]) * self.focal_px / depth[0]
        self.polygons.append((pixels[0] + size * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), colour))

    def _leg(self, i: int, factor: float) -> None:
        look, body, wide = self.look, self.body, self.look.build
        self._limb(body.ankle[i] - 0.03 * body.forward, body.toe[i], 0.048, 0.04, _shade(look.shoes, factor))
        bare = look.skirt
        colour = _shade(look.skin if bare else look.lower, factor)
        self._limb(body.knee[i], body.ankle[i], 0.062 * wide, 0.05 * wide, colour)
        self._limb(body.hip[i], body.knee[i], 0.092 * wide, 0.068 * wide, _shade(look.lower, factor))

    def _arm(self, i: int) -> None:
        look, body = self.look, self.body
        colour = _shade(look.sleeve or look.upper, 0.94)
        self._oval(body.hand[i], 0.042, 0.05, look.skin)
        self._limb(body.elbow[i], body.hand[i], 0.046, 0.038, colour)
        self._limb(body.shoulder[i], body.elbow[i], 0.058, 0.05, colour)

    def _edges(self, levels: Float64) -> tuple[Float64, Float64]:
        """(K, 3) levels (height, half width, half depth) -> their left and right ends in pixels, each (K, 2)."""
        body = self.body
        along = float(body.leftward @ self.across)
        half = np.hypot(levels[:, 1] * along, levels[:, 2] * (1 - along**2) ** 0.5) * self.look.build
        centre = body.ground + levels[:, :1] * self.look.height_m * np.array([0.0, 0.0, 1.0])
        centre = centre + np.array([0.0, 0.0, body.rise])
        ends = np.concatenate([centre - half[:, None] * self.across, centre + half[:, None] * self.across])
        pixels, _ = self.camera.project(ends)
        return pixels[: len(levels)], pixels[len(levels) :]

    def _tube(self, levels: Float64, colour: Colour) -> None:
        left, right = self._edges(levels)
        self.polygons.append((np.concatenate([left, right[::-1]]), _shade(colour, 0.88)))
        lit_left, lit_right = left + 0.1 * (right - left), left + 0.72 * (right - left)
        self.polygons.append((np.concatenate([lit_left, lit_right[::-1]]), _shade(colour, 1.02)))

    def _trunk(self) -> None:
        look = self.look
        hem = (look.hem, 0.165 + 0.12 * (0.53 - look.hem), 0.13)
        if look.skirt:
            self._tube(np.array([(0.56, 0.16, 0.12), (0.45, 0.19, 0.15), (0.27, 0.24, 0.2)]), look.lower)
        levels = np.array([*_TRUNK, hem])
        self._tube(levels, look.upper)
        if look.stripes is not None:
            marks = np.arange(0.79, look.hem + 0.01, -0.062)
            for top in marks:
                rows = np.array([top, top - 0.026])
                widths = [np.interp(rows, levels[::-1, 0], levels[::-1, k]) for k in (1, 2)]
                left, right = self._edges(np.column_stack([rows, *widths]))
                self.polygons.append((np.concatenate([left, right[::-1]]), look.stripes))

    def _head(self) -> None:
        look, body, up = self.look, self.body, np.array([0.0, 0.0, 1.0])
        tall = look.height_m
        neck = body.head - 0.115 * tall / 1.75 * up * 1.4
        self._limb(neck, body.head, 0.05, 0.05, _shade(look.skin, 0.85))
        size = np.array([0.088, 0.122]) * tall / 1.75
        face = body.head + 0.035 * body.forward - 0.02 * up
        back = body.head - 0.02 * body.forward + 0.012 * up

        def hair() -> None:
            if self.facing <= -0.25:
                self._long_hair()
            self._oval(back, size[0] * 1.08, size[1] * 1.02, look.hair)

        def skin() -> None:
            self._oval(face, size[0] * 0.9, size[1] * 0.9, look.skin)

        for part in (hair, skin) if self.facing > -0.25 else (skin, hair):
            part()
        if self.facing > -0.25:  # the fringe
            self._oval(body.head + 0.02 * body.forward + 0.085 * up, size[0] * 0.86, size[1] * 0.36, look.hair)

    def _long_hair(self) -> None:
        if self.look.long_hair:
            top = self.body.head - 0.08 * self.body.forward
            self._limb(top, top - np.array([0.0, 0.0, 0.25]), 0.088, 0.075, _shade(self.look.hair, 0.92))

    def _backpack(self) -> None:
        body, up = self.body, np.array([0.0, 0.0, 1.0])
        centre = body.ground - 0.2 * body.forward + np.array([0.0, 0.0, body.rise])
        top, bottom = centre + 0.775 * self.look.height_m * up, centre + 0.57 * self.look.height_m * up
        wide = 0.10 + 0.06 * abs(self.facing)
        self._limb(top - 0.08 * up, bottom + 0.06 * up, wide * 0.9, wide, self.look.bag_colour)
        if self.facing <= 0:
            pocket = centre - 0.05 * body.forward + 0.63 * self.look.height_m * up
            self._oval(pocket, wide * 0.62, 0.07, _shade(self.look.bag_colour, 1.35))

    def _shoulder_bag(self) -> None:
        body, look, up = self.body, self.look, np.array([0.0, 0.0, 1.0])
        side = body.ground + 0.23 * body.leftward * look.build + np.array([0.0, 0.0, body.rise])
        bag = side + 0.5 * look.height_m * up
        if float((bag - body.ground) @ self.to_camera) > -0.12:
            pixels, _ = self.camera.project(np.stack([body.shoulder[0] - 0.03 * up + 0.05 * body.leftward, bag]))
            gap = pixels[1] - pixels[0]
            normal = np.array([-gap[1], gap[0]]) / max(float(np.hypot(*gap)), 1e-9) * 0.9
            strap = np.stack([pixels[0] - normal, pixels[1] - normal, pixels[1] + normal, pixels[0] + normal])
            self.polygons.append((strap, _shade(look.bag_colour, 0.7)))
            self._limb(bag, bag - 0.12 * up, 0.1, 0.11, look.bag_colour)
