from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.simulate.drawn.clothes import Layer, cloth_layers, pack_outfit, worn_items
from pipeline.simulate.drawn.people import random_person
from pipeline.simulate.drawn.programs import SURFACES, person_sources, place_sources, shader
from pipeline.simulate.drawn.wardrobe import Bag, Coat, Hair, Hat, Outfit, Skirt, random_outfit


@pytest.fixture(scope="module")
def outfits() -> list[Outfit]:
    rng = np.random.default_rng(0)
    return [random_outfit(rng, female=bool(k % 2), age=0.57 + 0.38 * k / 600) for k in range(600)]


def test_outfits_fill_the_block_that_the_shaders_declare(outfits: list[Outfit]) -> None:
    members = re.findall(r"^\s+vec4 \w+;", shader("outfit.glsl"), re.MULTILINE)
    packed = pack_outfit(outfits[0])
    assert packed.shape == (len(members), 4) and packed.dtype == np.float32


def test_most_clothes_are_muted_and_no_two_outfits_alike(outfits: list[Outfit]) -> None:
    colours = np.array([[outfit.top.colour, outfit.legs.colour] for outfit in outfits])
    chroma = np.ptp(colours, axis=2)
    assert np.median(chroma[:, 0]) < 0.12 and np.median(chroma[:, 1]) < 0.16
    assert (chroma[:, 0] > 0.4).mean() > 0.03, "but some are bright"
    assert len({(o.top.colour, o.legs.colour, o.skin) for o in outfits}) == len(outfits)


def test_all_kinds_of_clothes_hair_bags_and_hats_occur(outfits: list[Outfit]) -> None:
    for kind, name in ((Hair, "hair"), (Coat, "coat"), (Skirt, "skirt"), (Bag, "bag"), (Hat, "hat")):
        assert {getattr(outfit, name) for outfit in outfits} == set(kind)


def test_the_old_are_greyer_than_the_young(outfits: list[Outfit]) -> None:
    def grey_share(part: list[Outfit]) -> float:
        return float(np.mean([np.ptp(o.hair_colour) < 0.08 and np.mean(o.hair_colour) > 0.3 for o in part]))

    assert grey_share(outfits[:150]) < 0.1 < 0.4 < grey_share(outfits[-150:])


def test_layers_are_those_that_are_worn(outfits: list[Outfit]) -> None:
    for outfit in outfits:
        layers = [layer for layer, _ in cloth_layers(outfit)]
        assert layers[0] == Layer.SKIN and {Layer.LEGS, Layer.TOP} <= set(layers)
        assert (Layer.COAT in layers) == (outfit.coat != Coat.NONE)
        assert (Layer.SKIRT in layers) == (outfit.skirt != Skirt.NONE)
        assert ("backpack" in worn_items(outfit)) == (outfit.bag == Bag.BACKPACK)


def test_nobody_wears_the_tail_of_a_coat_without_the_coat(outfits: list[Outfit]) -> None:
    assert all(outfit.coat != Coat.NONE for outfit in outfits if outfit.skirt == Skirt.OF_COAT)


def test_the_same_seed_is_the_same_person() -> None:
    one, two = (random_person(np.random.default_rng(8)) for _ in range(2))
    assert one.outfit == two.outfit and one.manner == two.manner
    assert one.points.tobytes() == two.points.tobytes()


def test_programs_are_put_together_from_their_own_layer_alone() -> None:
    _, fragment = person_sources(Layer.TOP)
    assert fragment.startswith("#version 330") and fragment.count("vec3 surface(Rest r)") == 1
    assert all(f"#define SURFACE {name}" in place_sources(name)[1] for name in SURFACES)
