"""What people wear, drawn at random in about the proportions of a street in Europe or China.

Colours are sRGB shares 0..1. Most people wear dark, grey or muted clothes; few wear anything bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Rgb = tuple[float, float, float]


class Pattern(IntEnum):
    """Numbers as cloth.glsl knows them."""

    PLAIN = 0
    STRIPES = 1
    PINSTRIPES = 2
    CHECK = 3
    BLOCKS = 4
    BANDS = 5
    BLOTCHES = 6
    DOTS = 7
    SIDE_STRIPE = 8
    DENIM = 9
    MELANGE = 10


class Hair(IntEnum):
    BALD = 0
    CROPPED = 1
    SHORT = 2
    CURLY = 3
    BOB = 4
    LONG = 5
    BUN = 6


class Coat(IntEnum):
    NONE = 0
    OPEN = 1
    CLOSED = 2


class Skirt(IntEnum):
    """Of which cloth the shell around the legs is: a skirt, a dress or long shirt, the tail of a coat."""

    NONE = 0
    OF_LEGS = 1
    OF_TOP = 2
    OF_COAT = 3


class Bag(IntEnum):
    NONE = 0
    BACKPACK = 1
    SHOULDER = 2
    HAND = 3


class Hat(IntEnum):
    NONE = 0
    CAP = 1
    BRIMMED = 2
    KNIT = 3


class Print(IntEnum):
    NONE = 0
    DISC = 1
    LETTERS = 2
    LETTERS_BEHIND = 3


@dataclass(frozen=True)
class Cloth:
    """A colour, a second one, and how they are laid out."""

    colour: Rgb
    second: Rgb
    pattern: Pattern = Pattern.PLAIN
    scale: float = 1.0


@dataclass(frozen=True)
class Outfit:
    """Heights are shares of the body height, sleeves end at 0 (shoulder) .. 1 (wrist)."""

    skin: Rgb
    hair_colour: Rgb
    hair: Hair
    top: Cloth
    top_hem: float
    sleeve: float
    neckline: float
    legs: Cloth
    leg_end: float
    shoes: Rgb
    shoe_height: float
    beard: bool = False
    fringe: float = 0.0
    raglan: bool = False
    printed: Print = Print.NONE
    print_xz_size: tuple[float, float, float] = (0.0, 0.7, 0.05)
    belt: bool = False
    skirt: Skirt = Skirt.NONE
    skirt_hem: float = 0.5
    skirt_bridges: bool = False
    skirt_flare_m: float = 0.02
    coat: Coat = Coat.NONE
    coat_colour: Rgb = (0.1, 0.1, 0.1)
    coat_hem: float = 0.49
    coat_band: bool = False
    coat_yoke: bool = False
    bag: Bag = Bag.NONE
    bag_colour: Rgb = (0.1, 0.1, 0.1)
    bag_size: float = 1.0
    hat: Hat = Hat.NONE
    hat_colour: Rgb = (0.1, 0.1, 0.1)
    glasses: bool = False
    light_soles: bool = False
    ease_m: tuple[float, float, float] = (0.01, 0.012, 0.025)  # trousers, top, coat
    leg_flare_m: float = 0.01
    seed: float = 0.0


_SKIN = ((236, 200, 172), (226, 184, 152), (219, 172, 134), (196, 142, 104), (150, 102, 72), (104, 68, 48),
         (72, 48, 38))  # fmt: skip
_HAIR = ((22, 18, 17), (35, 26, 21), (60, 42, 31), (96, 70, 48), (160, 126, 80), (118, 54, 32))
_GREY_HAIR = ((118, 116, 114), (170, 168, 164), (208, 204, 198))
_MUTED = (
    (20, 20, 22), (32, 33, 38), (58, 60, 65), (108, 110, 114), (168, 169, 170), (226, 225, 221),
    (28, 36, 58), (50, 66, 98), (98, 116, 146), (104, 92, 74), (158, 142, 116), (68, 72, 58),
    (72, 52, 42), (84, 44, 50), (66, 88, 84), (200, 190, 172),
)  # fmt: skip
_MUTED_SHARE = np.array([20, 12, 9, 8, 6, 10, 10, 6, 4, 4, 4, 4, 4, 3, 2, 4]) / 110.0
_BRIGHT = (
    (176, 36, 42), (206, 104, 52), (220, 188, 72), (62, 128, 76), (30, 92, 66), (58, 120, 176), (34, 58, 138),
    (96, 58, 122), (196, 96, 136), (226, 172, 182), (92, 170, 172), (118, 28, 44), (150, 182, 120), (178, 156, 204),
)  # fmt: skip
_TROUSERS = ((22, 22, 25), (36, 38, 44), (30, 40, 66), (54, 74, 110), (92, 114, 148), (66, 64, 62), (126, 112, 90),
             (172, 156, 128), (62, 66, 50), (208, 206, 200), (84, 62, 48))  # fmt: skip
_TROUSERS_SHARE = np.array([24, 14, 14, 14, 6, 7, 6, 4, 4, 3, 4]) / 100.0


def random_outfit(rng: np.random.Generator, *, female: bool, age: float) -> Outfit:
    """Clothes that one person wears all day. age: 0.57 young .. 0.95 old."""
    warm = rng.random() < 0.45  # dressed for cold weather
    coat = Coat(int(rng.choice(3, p=[0.3, 0.28, 0.42] if warm else [0.84, 0.09, 0.07])))
    skirt_fields = _random_skirt(rng, female=female, coat=coat)
    bag, hat = _random_bag(rng, female=female), _random_hat(rng, warm=warm)
    return Outfit(
        skin=_between(_SKIN, rng),
        **_random_head(rng, female=female, age=age),
        **_random_top(rng, warm=warm),
        **(_random_legs(rng, warm=warm) | skirt_fields),
        shoes=_colour(rng, 0.08),
        shoe_height=float(rng.choice([0.05, 0.053, 0.075, 0.15], p=[0.5, 0.32, 0.12, 0.06])),
        light_soles=bool(rng.random() < 0.4),
        coat=coat,
        coat_colour=_colour(rng, 0.16),
        coat_hem=float(rng.choice([0.5, 0.52, 0.48])),
        coat_band=bool(rng.random() < 0.05),
        coat_yoke=bool(rng.random() < 0.1),
        bag=bag,
        bag_colour=_colour(rng, 0.18),
        bag_size=float(rng.uniform(0.78, 1.15)),
        hat=hat,
        hat_colour=_colour(rng, 0.2),
        glasses=bool(rng.random() < 0.2),
        ease_m=(float(rng.uniform(0.005, 0.018)), float(rng.uniform(0.007, 0.019)), float(rng.uniform(0.02, 0.034))),
        leg_flare_m=float(rng.uniform(0.0, 0.022)),
        seed=float(rng.random() * 17),
    )


def _random_head(rng: np.random.Generator, *, female: bool, age: float) -> dict[str, Any]:
    grey = rng.random() < np.clip((age - 0.72) / 0.2, 0.0, 0.85)
    choices = [Hair.BALD, Hair.CROPPED, Hair.SHORT, Hair.CURLY, Hair.BOB, Hair.LONG, Hair.BUN]
    shares = [0.0, 0.02, 0.14, 0.06, 0.2, 0.36, 0.22] if female else [0.08, 0.26, 0.54, 0.06, 0.03, 0.03, 0.0]
    palette = _GREY_HAIR if grey else _HAIR
    share = None if grey else [0.32, 0.26, 0.18, 0.12, 0.08, 0.04]
    return {
        "hair_colour": _jittered(palette[int(rng.choice(len(palette), p=share))], rng, 0.015),
        "hair": choices[int(rng.choice(len(choices), p=shares))],
        "fringe": float(rng.choice([0.0, 0.006, 0.014], p=[0.5, 0.3, 0.2])),
        "beard": bool(not female and rng.random() < 0.28),
    }


def _random_top(rng: np.random.Generator, *, warm: bool) -> dict[str, Any]:
    patterns = [Pattern.PLAIN, Pattern.STRIPES, Pattern.PINSTRIPES, Pattern.CHECK, Pattern.BLOCKS, Pattern.BANDS,
                Pattern.BLOTCHES, Pattern.DOTS, Pattern.MELANGE]  # fmt: skip
    pattern = patterns[int(rng.choice(len(patterns), p=[0.46, 0.09, 0.03, 0.08, 0.05, 0.06, 0.03, 0.03, 0.17]))]
    sleeves, shares = [0.18, 0.3, 0.4, 0.62, 1.0, 1.02], ([0.0, 0.08, 0.04, 0.04, 0.5, 0.34] if warm else
                                                         [0.06, 0.4, 0.16, 0.08, 0.2, 0.1])  # fmt: skip
    printed = Print(int(rng.choice(4, p=[0.66, 0.1, 0.14, 0.1])))
    return {
        "top": Cloth(_colour(rng, 0.22), _colour(rng, 0.3), pattern, float(rng.uniform(0.7, 2.2))),
        "sleeve": float(rng.choice(sleeves, p=shares)),
        "neckline": float(rng.choice([0.004, 0.012, 0.03, 0.045], p=[0.4, 0.3, 0.2, 0.1])),
        "raglan": bool(rng.random() < 0.08),
        "printed": printed,
        "print_xz_size": (
            float(rng.uniform(-0.04, 0.04)),
            float(rng.uniform(0.68, 0.75)),
            float(rng.uniform(0.03, 0.09)),
        ),
    }


def _random_legs(rng: np.random.Generator, *, warm: bool) -> dict[str, Any]:
    trousers = _jittered(_TROUSERS[int(rng.choice(len(_TROUSERS), p=_TROUSERS_SHARE))], rng, 0.015)
    pattern = [Pattern.PLAIN, Pattern.BLOTCHES, Pattern.DOTS, Pattern.SIDE_STRIPE, Pattern.DENIM, Pattern.MELANGE][
        int(rng.choice(6, p=[0.46, 0.02, 0.01, 0.06, 0.35, 0.1]))
    ]
    ends, shares = [0.045, 0.05, 0.1, 0.27, 0.34], ([0.64, 0.28, 0.06, 0.02, 0.0] if warm else
                                                    [0.44, 0.2, 0.1, 0.16, 0.1])  # fmt: skip
    return {
        "legs": Cloth(trousers, _colour(rng, 0.08), pattern, float(rng.uniform(0.6, 1.6))),
        "leg_end": float(rng.choice(ends, p=shares)),
        "belt": bool(rng.random() < 0.4),
    }


def _random_skirt(rng: np.random.Generator, *, female: bool, coat: Coat) -> dict[str, Any]:
    """A skirt, a dress, the tail of a long coat; or else the shell that closes a loose hem between the legs."""
    draw = rng.random()
    if female and draw < 0.28:
        kind = Skirt.OF_LEGS if rng.random() < 0.55 else Skirt.OF_TOP
        hem = float(rng.uniform(0.11, 0.42))
        return {
            "skirt": kind,
            "skirt_hem": hem,
            "skirt_flare_m": float(rng.uniform(0.0, 0.05)),
            "top_hem": 0.545,
            "leg_end": 0.56 if rng.random() < 0.55 else 0.045,  # bare legs, or tights
        }
    if coat != Coat.NONE and draw < 0.5:
        return {
            "skirt": Skirt.OF_COAT,
            "skirt_hem": float(rng.uniform(0.24, 0.4)),
            "skirt_flare_m": 0.025,
            "top_hem": float(rng.uniform(0.5, 0.55)),
        }
    if coat != Coat.NONE or rng.random() < 0.6:
        return {
            "skirt": Skirt.OF_COAT if coat != Coat.NONE else Skirt.OF_TOP,
            "skirt_hem": float(rng.uniform(0.445, 0.478)),
            "skirt_bridges": True,
            "skirt_flare_m": 0.012,
            "top_hem": float(rng.uniform(0.5, 0.54)),
        }
    return {"top_hem": float(rng.uniform(0.52, 0.565))}


def _random_bag(rng: np.random.Generator, *, female: bool) -> Bag:
    return Bag(int(rng.choice(4, p=[0.5, 0.18, 0.18, 0.14] if female else [0.6, 0.24, 0.1, 0.06])))


def _random_hat(rng: np.random.Generator, *, warm: bool) -> Hat:
    return Hat(int(rng.choice(4, p=[0.78, 0.07, 0.02, 0.13] if warm else [0.86, 0.1, 0.03, 0.01])))


def _colour(rng: np.random.Generator, bright_share: float) -> Rgb:
    """A muted colour, or with that probability a bright one."""
    if rng.random() < bright_share:
        return _jittered(_BRIGHT[int(rng.integers(len(_BRIGHT)))], rng, 0.03)
    return _jittered(_MUTED[int(rng.choice(len(_MUTED), p=_MUTED_SHARE))], rng, 0.02)


def _jittered(rgb_255: npt.ArrayLike, rng: np.random.Generator, spread: float) -> Rgb:
    brightness = rng.uniform(0.78, 1.18)
    return _rgb(np.asarray(rgb_255) / 255.0 * brightness + rng.normal(0, spread, 3))


def _between(palette: tuple[tuple[int, int, int], ...], rng: np.random.Generator) -> Rgb:
    at = rng.random() * (len(palette) - 1)
    low = int(at)
    share = at - low
    return _rgb((np.array(palette[low]) * (1 - share) + np.array(palette[low + 1]) * share) / 255.0)


def _rgb(values: npt.NDArray[np.floating]) -> Rgb:
    red, green, blue = (float(v) for v in np.clip(values, 0.015, 0.95))
    return red, green, blue
