"""The network that comes with the project: it loads by its name, and tells real people apart that it never saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.models import BUNDLED, bundled_path
from pipeline.reid.build import BUNDLED_FILE, build_embedder, model_path
from pipeline.reid.config import ReidConfig
from pipeline.types import Clips
from tests.shared import SHARED, needs_shared

CONFIG = ReidConfig(model=BUNDLED, threads=1, clip_crops=8, device="cpu")


def test_the_bundled_network_is_small_and_found_wherever_the_configuration_lies(tmp_path: Path) -> None:
    path = bundled_path(BUNDLED_FILE)
    assert model_path(CONFIG, tmp_path) == path
    assert path.stat().st_size <= 10_000_000 and path.with_suffix(".json").is_file()


def test_it_gives_unit_vectors_and_repeated_crops_do_not_count(tmp_path: Path) -> None:
    embedder = build_embedder(CONFIG, tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (2, 8, *embedder.input_hw, 3), dtype=np.uint8)
    crops[1, 3:] = crops[1, [0, 1, 2, 0, 1]]
    one = Clips(np.arange(2), crops, np.array([8, 3]), np.ones(2, np.float32))
    found = embedder.embed(one)
    assert found.vector.shape == (2, embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(found.vector, axis=1), 1, atol=1e-5)
    crops = crops.copy()
    crops[1, 3:] = 0
    again = embedder.embed(Clips(np.arange(2), crops, np.array([8, 3]), np.ones(2, np.float32)))
    np.testing.assert_allclose(again.vector, found.vector, atol=1e-5)


def test_a_manifest_beside_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"reid\.manifest"):
        build_embedder(ReidConfig(model=BUNDLED, manifest="other.json"), tmp_path)


@needs_shared("data/pku_reid")
def test_real_people_are_nearer_to_themselves_than_to_others_across_cameras(tmp_path: Path) -> None:
    embedder = build_embedder(CONFIG, tmp_path)
    people = sorted(p for p in (SHARED / "data/pku_reid").iterdir() if p.is_dir())[:25]
    sides = []
    for camera in (1, 2):
        crops = [[cv2.imread(str(p / f"c{camera}_{k}.png")) for k in range(1, 9)] for p in people]
        height, width = embedder.input_hw
        images = np.stack([np.stack([cv2.resize(c, (width, height)) for c in row]) for row in crops])
        clips = Clips(np.arange(len(people)), images, np.full(len(people), 8), np.ones(len(people), np.float32))
        sides.append(embedder.embed(clips).vector)
    cosine = sides[0] @ sides[1].T
    same = np.eye(len(people), dtype=bool)
    assert (cosine[same][:, None] > cosine[~same][None]).mean() >= 0.93
    assert (cosine.argmax(axis=1) == np.arange(len(people))).mean() >= 0.6
