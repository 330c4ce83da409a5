"""What every embedder promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.reid.build import build_embedder
from pipeline.reid.config import ReidConfig
from pipeline.reid.embedder import Embedder
from pipeline.types import Clips
from tests.reid import tiny_embedders as tiny

CLIP_LENGTH = 4
NUM_CROPS = [4, 1, 3, 2, 4, 4, 2]


@pytest.fixture(params=["colour", "image network", "image network, batch of one", "video network"])
def embedder(request: pytest.FixtureRequest, tmp_path: Path) -> Embedder:
    options: dict[str, object] = {"model": "net.onnx", "inline": tiny.MANIFEST, "clip_crops": CLIP_LENGTH, "threads": 2}
    match request.param:
        case "colour":
            options = {"model": "colour", "clip_crops": CLIP_LENGTH}
        case "image network":
            tiny.save_image_network(tmp_path / "net.onnx")
        case "image network, batch of one":
            tiny.save_image_network(tmp_path / "net.onnx", batch=1)
        case _:
            tiny.save_video_network(tmp_path / "net.onnx", clip_length=CLIP_LENGTH)
            options["inline"] = {**tiny.MANIFEST, "clip_length": CLIP_LENGTH}
    return build_embedder(ReidConfig.model_validate(options), tmp_path)


def clips_for(embedder: Embedder) -> Clips:
    return tiny.make_clips(NUM_CROPS, embedder.clip_length, embedder.input_hw)


def pick(clips: Clips, rows: list[int]) -> Clips:
    return Clips(clips.track_id[rows], clips.image[rows], clips.num_crops[rows], clips.quality[rows])


def test_no_clips_give_no_vectors_of_the_stated_length(embedder: Embedder) -> None:
    found = embedder.embed(Clips.empty(embedder.clip_length, *embedder.input_hw))
    assert len(found) == 0 and found.vector.shape == (0, embedder.dim)


def test_there_is_one_unit_vector_per_clip_and_its_row_is_kept(embedder: Embedder) -> None:
    clips = clips_for(embedder)
    found = embedder.embed(clips)
    assert found.vector.shape == (len(NUM_CROPS), embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(found.vector, axis=1), 1, atol=1e-5)
    assert found.track_id.tolist() == clips.track_id.tolist()
    assert found.quality.tolist() == clips.quality.tolist()


def test_a_clip_has_the_same_vector_alone_and_in_any_company(embedder: Embedder) -> None:
    clips = clips_for(embedder)
    together = embedder.embed(clips).vector
    alone = np.concatenate([embedder.embed(pick(clips, [row])).vector for row in range(len(clips))])
    backwards = embedder.embed(pick(clips, list(range(len(clips)))[::-1])).vector[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_different_clips_have_different_vectors(embedder: Embedder) -> None:
    vector = embedder.embed(clips_for(embedder)).vector
    assert np.abs(vector[:, None] - vector[None]).max(axis=2)[~np.eye(len(vector), dtype=bool)].min() > 1e-4


def test_crops_of_another_size_are_refused(embedder: Embedder) -> None:
    height, width = embedder.input_hw
    with pytest.raises(ValueError, match="height, width"):
        embedder.embed(tiny.make_clips([1], embedder.clip_length, (height + 2, width)))
