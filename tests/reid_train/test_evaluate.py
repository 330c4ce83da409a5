"""Scores of a split: protocols, both average precisions, chunks, re-ranking, the joint metric, clips of a rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.evaluation.retrieval import evaluate
from pipeline.fusion.rerank import k_reciprocal
from pipeline.types import Float32
from pipeline.yaml_file import ConfigError
from reid_train import ranking
from reid_train.config import Recipe, RerankConfig, TestConfig
from reid_train.data.clips import all_frames
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import LabelledTracklet, ReidSplit
from reid_train.embedding import embed_tracklets
from reid_train.evaluate import embed_split, evaluate_split, quick_scores, score_split
from reid_train.models import MODELS
from reid_train.ranking import EmbeddedSplit
from reid_train.scores import APPEARANCE, JOINT, RERANKED, scores_dict, scores_text
from reid_train.spatial_temporal import SpatialTemporalConfig
from reid_train.state import Checkpoint, about_network, save_checkpoint
from reid_train.testing import run_test
from tests.reid_train.tiny import HW, Tiny, tiny_recipe, write_people


class MeanColour(nn.Module):
    """The mean colour of the real frames of a clip, and what it was shown."""

    name = "mean_colour"
    dim = 3
    input_hw = HW
    clip_length = 4
    frame_multiple = 1
    uses_mask = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.num_clips = 0
        self.lengths: set[int] = set()
        self.modes: set[bool] = set()

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        self.num_clips += len(clips)
        self.lengths.add(clips.shape[1])
        self.modes.add(self.training)
        frames = clips.mean(dim=(3, 4)) * self.scale
        if mask is None:
            return frames.mean(dim=1)
        return (frames * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def tracklet(pid: int, camid: int, *, frame: int = 0, path: str = "a.png") -> LabelledTracklet:
    return LabelledTracklet((path,), pid, camid, (frame,))


def made_split(num_people: int = 6, *, junk: bool = True, seed: int = 0) -> tuple[ReidSplit, EmbeddedSplit]:
    """Queries in camera 0, gallery in cameras 1 and 2 with distractors and junk, and noisy vectors of the people."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_people + 2, 8))
    query = [tracklet(pid, 0, frame=100 * pid) for pid in range(1, num_people + 1)]
    gallery = [tracklet(pid, cam, frame=1000 * cam + 100 * pid) for pid in range(num_people) for cam in (1, 2)]
    gallery += [tracklet(-1, 1) for _ in range(3)] if junk else []
    train = [tracklet(pid, cam, frame=1000 * cam + 100 * pid) for pid in range(10) for cam in (0, 1, 2)]
    split = ReidSplit("made", tuple(train), tuple(query), tuple(gallery), 10, 3, protocol="made for a test")
    vectors = [
        np.array([centres[t.pid] + rng.normal(size=8) for t in part], np.float32) for part in (split.query, gallery)
    ]
    return split, EmbeddedSplit(*vectors)


def cosine_distances(embedded: EmbeddedSplit) -> Float32:
    query, gallery = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (embedded.query, embedded.gallery))
    return np.asarray(-query @ gallery.T, np.float32)


def labels(split: ReidSplit) -> dict[str, Any]:
    return {
        "query_pids": [t.pid for t in split.query],
        "gallery_pids": [t.pid for t in split.gallery],
        "query_camids": [t.camid for t in split.query],
        "gallery_camids": [t.camid for t in split.gallery],
    }


def folder_recipe(root: Path, **test: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"name": "tiny"},
            "data": {"name": "tracklet_folder", "root": str(root), "clip_length": 4, "workers": 0},
            "transform": {"input_hw": HW, "interpolation": "bilinear", "erasing": {}},
            "test": {"clips": "all_frames", "batch_clips": 3, **test},
        }
    )


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledTracklet]:
    """Tracklets of 6 images; the last has 5."""
    root = write_people(tmp_path_factory.mktemp("data") / "people", num_people=4, num_images=6)
    found = []
    for folder in sorted(root.iterdir()):
        for camera in (1, 2):
            paths = tuple(str(path) for path in sorted(folder.glob(f"c{camera}_*.png")))
            found.append(LabelledTracklet(paths, int(folder.name), camera - 1))
    last = found[-1]
    return [*found[:-1], LabelledTracklet(last.paths[:5], last.pid, last.camid)]


# --- scores ------------------------------------------------------------------------------------------------------


def test_the_first_block_is_the_cosine_ranking_under_both_definitions_of_ap() -> None:
    split, embedded = made_split()
    scores = score_split(embedded, split, TestConfig())
    distmat = cosine_distances(embedded)
    for ap in ("rectangular", "trapezoidal"):
        want = evaluate(distmat, **labels(split), ap=ap)  # type: ignore[arg-type]
        have = scores.blocks[0].under(ap)  # type: ignore[arg-type]
        assert have.mAP == pytest.approx(want.mAP, abs=1e-12)
        assert np.array_equal(have.cmc, want.cmc)
        assert have.denominator == ("valid" if ap == "rectangular" else "all")
    assert scores.blocks[0].name == APPEARANCE
    assert len(scores.blocks) == 1
    # Person 6 is in no gallery camera: the valid queries are five of the six.
    assert (scores.num_query, scores.blocks[0].rectangular.num_valid) == (6, 5)


def test_the_system_s_own_average_precision_is_its_result() -> None:
    split, embedded = made_split()
    own = {ap: score_split(embedded, split, TestConfig(ap=ap)).result for ap in ("rectangular", "trapezoidal")}  # type: ignore[arg-type]
    assert own["rectangular"].ap == "rectangular" and own["trapezoidal"].ap == "trapezoidal"
    assert own["rectangular"].mAP > own["trapezoidal"].mAP
    assert own["rectangular"].rank(1) == pytest.approx(own["trapezoidal"].rank(1) * 6 / 5)


def test_chunks_of_queries_give_the_scores_of_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    split, embedded = made_split()
    whole = score_split(embedded, split, TestConfig())
    monkeypatch.setattr(ranking, "_CHUNK_CELLS", 2 * len(split.gallery))
    ranker = ranking.Ranker(embedded, split, TestConfig())
    assert [(start, len(block)) for start, block in ranker.chunks()] == [(0, 2), (2, 2), (4, 2)]
    chunked = score_split(embedded, split, TestConfig())
    assert chunked.result.mAP == whole.result.mAP
    assert np.array_equal(chunked.blocks[0].queries.first_hit, whole.blocks[0].queries.first_hit)


def test_reranking_is_a_second_block_by_the_recipe_s_convention() -> None:
    split, embedded = made_split()
    settings = RerankConfig(k1=4, k2=2, lambda_value=0.9)
    scores = score_split(embedded, split, TestConfig(rerank=settings))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (embedded.query, embedded.gallery)]
    matrices = [2 - 2 * a @ b.T for a, b in ((unit[0], unit[1]), (unit[0], unit[0]), (unit[1], unit[1]))]
    distmat = k_reciprocal(*matrices, 4, 2, lambda_value=0.9, square=True)
    assert [block.name for block in scores.blocks] == [APPEARANCE, RERANKED]
    assert scores.blocks[1].rectangular.mAP == pytest.approx(evaluate(distmat, **labels(split)).mAP, abs=1e-9)
    assert scores.result is scores.blocks[0].rectangular


def test_travel_times_come_first_then_reranked_then_appearance_alone() -> None:
    split, embedded = made_split(junk=False)
    # Everyone takes 1000 frames to the next camera: the joint metric knows who comes when.
    joint = SpatialTemporalConfig(bin_frames=10, num_bins=400, sigma_bins=1.0)
    test = TestConfig(ap="trapezoidal", joint=joint, rerank=RerankConfig(k1=4, k2=2, square=False))
    scores = score_split(embedded, split, test)
    assert [block.name for block in scores.blocks] == [JOINT, RERANKED, APPEARANCE]
    alone = evaluate(cosine_distances(embedded), **labels(split), ap="trapezoidal")
    assert scores.blocks[2].trapezoidal.mAP == pytest.approx(alone.mAP)
    assert scores.result.mAP > alone.mAP + 0.05


def test_the_joint_metric_is_reranked_plain_only() -> None:
    split, embedded = made_split(junk=False)
    with pytest.raises(ValueError, match=r"test\.rerank\.square"):
        score_split(embedded, split, TestConfig(joint=SpatialTemporalConfig(), rerank=RerankConfig(k1=4, k2=2)))


def test_vectors_of_another_split_and_an_empty_gallery_are_refused() -> None:
    split, embedded = made_split()
    with pytest.raises(ValueError, match="5 query"):
        score_split(EmbeddedSplit(embedded.query[:5], embedded.gallery), split, TestConfig())
    empty = ReidSplit("empty", (), split.query, (), 0, 3)
    with pytest.raises(ValueError, match="empty has no gallery"):
        score_split(EmbeddedSplit(embedded.query, embedded.gallery[:0]), empty, TestConfig())


def test_text_and_dictionary_hold_both_blocks_and_both_maps() -> None:
    split, embedded = made_split()
    scores = score_split(embedded, split, TestConfig(rerank=RerankConfig(k1=4, k2=2)), model="psta")
    text = scores_text(scores)
    for word in ("psta on made", "made for a test", "appearance:", "re-ranked:", "over 5 queries (the system's own)",
                 "trapezoidal, over 6 queries", f"Rank-1 {100 * scores.result.rank(1):.2f}"):  # fmt: skip
        assert word in text
    document = scores_dict(scores)
    assert document["blocks"][APPEARANCE]["mAP"] == scores.blocks[0].rectangular.mAP
    assert document["blocks"][RERANKED]["mAP_trap"] == scores.blocks[1].trapezoidal.mAP


# --- vectors -----------------------------------------------------------------------------------------------------


def test_a_tracklet_s_vector_is_the_mean_of_its_clips(people: list[LabelledTracklet], tmp_path: Path) -> None:
    model = MeanColour()
    recipe = folder_recipe(tmp_path)
    seen: list[tuple[int, int]] = []
    vectors = embed_tracklets(model, people, recipe, show=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (8, 3) and vectors.dtype == np.float32
    assert seen[-1] == (16, 16) and model.num_clips == 16  # 6 and 5 frames make two clips of 4 each
    each = embed_tracklets(model, people, folder_recipe(tmp_path, clips="each", clip_length=1))
    first = embed_tracklets(
        model, [LabelledTracklet((p,), 1, 0) for p in people[-1].paths], folder_recipe(tmp_path, clips="each")
    )
    assert np.allclose(each[-1], first.mean(axis=0), atol=1e-6)
    frames = all_frames(5, 4)
    assert np.allclose(vectors[-1], first[frames.ravel()].mean(axis=0), atol=1e-6)


def test_whole_tracklets_of_different_lengths_are_padded_without_influence(
    people: list[LabelledTracklet], tmp_path: Path
) -> None:
    model = MeanColour()
    whole = embed_tracklets(model, people, folder_recipe(tmp_path, clips="whole", clip_length=8))
    each = embed_tracklets(model, people, folder_recipe(tmp_path, clips="each", clip_length=1))
    assert model.lengths == {6, 1}
    assert np.allclose(whole, each, atol=1e-6)


def test_the_network_is_scored_in_eval_mode_and_left_as_it_was(people: list[LabelledTracklet], tmp_path: Path) -> None:
    model = MeanColour().train()
    embed_tracklets(model, people[:1], folder_recipe(tmp_path))
    assert model.modes == {False} and model.training


def test_queries_that_are_gallery_rows_are_embedded_once(people: list[LabelledTracklet], tmp_path: Path) -> None:
    split = ReidSplit(
        "rows", (), (people[2], people[0]), tuple(people), 0, 2, gallery_holds_query=True, query_rows=(2, 0)
    )
    model = MeanColour()
    embedded = embed_split(model, split, folder_recipe(tmp_path))
    assert model.num_clips == 16
    assert np.array_equal(embedded.query, embedded.gallery[[2, 0]])


def test_colours_are_found_again_and_the_quick_look_is_cheaper(people: list[LabelledTracklet], tmp_path: Path) -> None:
    split = ReidSplit("colours", (), tuple(people[0::2]), tuple(people[1::2]), 0, 2)
    recipe = folder_recipe(tmp_path, rerank={"k1": 2, "k2": 1})
    model = MeanColour()
    scores = evaluate_split(model, split, recipe)
    assert scores.result.rank(1) == 1.0 and scores.clips == "all_frames" and len(scores.blocks) == 2
    model.num_clips = 0
    training = recipe.training.model_copy(update={"evaluate_clips": "evenly"})
    quick = quick_scores(model, split, recipe.model_copy(update={"training": training}))
    assert quick == {"mAP": 100.0, "rank1": 100.0}
    assert model.num_clips == 8


def test_what_the_network_can_not_take_is_said_before_images_are_read(tmp_path: Path) -> None:
    missing = [LabelledTracklet((str(tmp_path / "none.png"),), 1, 0)]
    recipe = folder_recipe(tmp_path)
    model = MeanColour()
    model.frame_multiple = 8
    with pytest.raises(ValueError, match=r"multiple of 8: set test\.clip_length"):
        embed_tracklets(model, missing, recipe)
    with pytest.raises(ValueError, match=r"test\.clips=whole"):
        embed_tracklets(model, missing, folder_recipe(tmp_path, clips="whole"))
    model.input_hw = (32, 16)
    with pytest.raises(ValueError, match=r"built for 32 x 16 .* \[16, 8\]"):
        embed_tracklets(model, missing, recipe)


def test_weights_that_give_no_numbers_are_named(people: list[LabelledTracklet], tmp_path: Path) -> None:
    model = MeanColour()
    model.scale.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"not finite \(and 1 more\)"):
        embed_tracklets(model, people[:2], folder_recipe(tmp_path))


# --- the command's function --------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A run's folder with a best checkpoint of a network that nobody trained, and the data."""
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    root = write_people(tmp_path / "people", num_people=6, num_images=3)
    recipe = tiny_recipe(root)
    model = Tiny(3)
    run = tmp_path / "run"
    run.mkdir()
    about = about_network("tiny", 3, {}) | {"recipe": recipe.model_dump(mode="json")}
    save_checkpoint(run / "best.safetensors", Checkpoint(model.state_dict(), about))
    return run, root


def test_a_run_is_tested_by_its_own_recipe_and_leaves_a_report(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = trained
    scores = run_test(run, output=tmp_path / "out", device="cpu")
    assert (scores.model, scores.num_query, scores.ap, scores.clips) == ("tiny", 3, "rectangular", "evenly")
    document = json.loads((tmp_path / "out" / "test.json").read_text())
    assert document["weights"] == str(run) and document["queries"] == 3
    assert (tmp_path / "out" / "report.html").read_text().count("<figure>") == 3


def test_root_and_settings_overrule_the_recipe(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, root = trained
    moved = root.rename(tmp_path / "elsewhere")
    with pytest.raises(DataSetError, match="people is missing"):
        run_test(run, device="cpu")
    settings = ["test.ap=trapezoidal", "data.options.num_folds=3", "test.rerank={k1: 2, k2: 1}"]
    scores = run_test(run, root=moved, settings=settings, device="cpu")
    assert scores.ap == "trapezoidal" and scores.num_query == 2 and len(scores.blocks) == 2
    with pytest.raises(ConfigError, match=r"test\.app"):
        run_test(run, root=moved, settings=["test.app=trapezoidal"], device="cpu")
