"""The embedder without weights: what it must see and what it must not."""

from __future__ import annotations

import numpy as np

from pipeline.reid.colour import CHUNK, DIM, INPUT_HW, ColourEmbedder, describe
from pipeline.types import Clips, UInt8
from tests.reid.tiny_embedders import make_clips


def person(top: tuple[int, int, int], trousers: tuple[int, int, int]) -> UInt8:
    """A crop (64, 32, 3) BGR: grey surroundings, two colours of clothes."""
    crop = np.full((*INPUT_HW, 3), 120, np.uint8)
    crop[8:34, 8:24] = top
    crop[34:62, 8:24] = trousers
    return crop


def vector_of(*crops: UInt8) -> np.ndarray:
    clips = Clips(np.array([1]), np.array([crops]), np.array([len(crops)]), np.array([1.0]))
    return ColourEmbedder(len(crops)).embed(clips).vector[0]


def test_the_same_clothes_in_dimmer_light_are_nearer_than_other_clothes() -> None:
    red = person((40, 40, 200), (60, 60, 60))
    dim = (red * 0.6).astype(np.uint8)
    blue = person((200, 40, 40), (60, 60, 60))
    assert vector_of(red) @ vector_of(dim) > 0.9
    assert vector_of(red) @ vector_of(blue) < vector_of(red) @ vector_of(dim) - 0.2


def test_clothes_the_other_way_round_are_another_person() -> None:
    one, other = person((40, 40, 200), (200, 40, 40)), person((200, 40, 40), (40, 40, 200))
    dim = (one * 0.6).astype(np.uint8)
    assert vector_of(one) @ vector_of(other) < vector_of(one) @ vector_of(dim) - 0.3


def test_a_black_crop_has_a_vector_too() -> None:
    vector = vector_of(np.zeros((*INPUT_HW, 3), np.uint8))
    assert np.isfinite(vector).all() and abs(np.linalg.norm(vector) - 1) < 1e-5


def test_more_crops_than_are_described_at_once_give_the_same_vectors() -> None:
    clips = make_clips([8] * (CHUNK // 8 + 2), 8, INPUT_HW)
    together = ColourEmbedder(8).embed(clips).vector
    assert together.shape == (len(clips), DIM)
    last = Clips(clips.track_id[-1:], clips.image[-1:], clips.num_crops[-1:], clips.quality[-1:])
    np.testing.assert_allclose(together[-1:], ColourEmbedder(8).embed(last).vector, atol=1e-6)
    assert describe(clips.image[0]).shape == (8, DIM)
