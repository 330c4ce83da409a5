from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evaluation.retrieval import QueryScores, evaluate, join, score_queries, summarise


def by_hand(
    distmat: Any, qid: Any, gid: Any, qcam: Any, gcam: Any, ap: str, denominator: str
) -> tuple[float, list[float]]:
    """mAP and CMC@1..5 by walking every ranking, item by item, as MARS' own scorer does."""
    total, cmc, counted = 0.0, [0.0] * 5, 0
    for q in range(len(qid)):
        good = [g for g in range(len(gid)) if gid[g] == qid[q] and gcam[g] != qcam[q] and gid[g] != -1]
        if not good:
            counted += denominator == "all"
            continue
        counted += 1
        place, hits, value = 0, 0, 0.0
        recall, precision, first = 0.0, 1.0, None
        for g in sorted(range(len(gid)), key=lambda g, row=distmat[q]: (row[g], g)):  # type: ignore[misc]
            if gid[g] == -1 or (gid[g] == qid[q] and gcam[g] == qcam[q]):
                continue
            place += 1
            if g in good:
                hits += 1
                first = place if first is None else first
                if ap == "rectangular":
                    value += hits / place / len(good)
            new_recall, new_precision = hits / len(good), hits / place
            if ap == "trapezoidal":
                value += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
        total += value
        cmc = [share + (first is not None and first <= k) for k, share in enumerate(cmc, 1)]
    return (total / counted, [c / counted for c in cmc]) if counted else (float("nan"), [float("nan")] * 5)


def golden() -> tuple[Any, ...]:
    rs = np.random.RandomState(42)
    gid, gcam = rs.randint(-1, 6, 200), rs.randint(0, 3, 200)
    qid, qcam = rs.randint(1, 6, 8), rs.randint(0, 3, 8)
    distances = rs.rand(8, 200)
    assert distances[0, 0] == pytest.approx(0.81011339)
    return distances - 0.08 * (qid[:, None] == gid[None, :]), qid, gid, qcam, gcam


@pytest.mark.parametrize(("ap", "mean"), [("rectangular", 0.27064146177656734), ("trapezoidal", 0.26304546560211906)])
def test_the_published_scorers_figures_are_reproduced(ap: Any, mean: float) -> None:
    score = evaluate(*golden(), ap=ap)
    assert score.mAP == pytest.approx(mean, abs=1e-14)
    assert [score.rank(k) for k in (1, 5, 10)] == [0.625, 0.625, 0.75]
    assert (score.num_queries, score.num_valid, score.cmc.shape) == (8, 8, (50,))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_ranking_with_junk_and_ties_scores_as_by_hand(data: st.DataObject) -> None:
    num_queries, num_gallery = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 14))
    draw = lambda size, low, high: data.draw(arrays(np.int64, size, elements=st.integers(low, high)))  # noqa: E731
    qid, gid = draw(num_queries, -1, 3), draw(num_gallery, -1, 3)
    qcam, gcam = draw(num_queries, 0, 2), draw(num_gallery, 0, 2)
    distmat = draw((num_queries, num_gallery), 0, 9).astype(np.float32)
    for ap in ("rectangular", "trapezoidal"):
        for denominator in ("valid", "all"):
            score = evaluate(distmat, qid, gid, qcam, gcam, ap, denominator=denominator, max_rank=5)  # type: ignore[arg-type]
            mean, cmc = by_hand(distmat, qid, gid, qcam, gcam, ap, denominator)
            np.testing.assert_allclose([score.mAP, *score.cmc], [mean, *cmc], atol=1e-12)


def test_a_perfect_ranking_scores_one_and_the_worst_one_by_the_formula() -> None:
    best = evaluate([[0.1, 0.2, 0.9]], [1], [1, 1, 2], [0], [1, 2, 1])
    assert (best.mAP, best.rank(1)) == (1.0, 1.0)
    worst = evaluate([[0.9, 0.8, 0.1]], [1], [1, 1, 2], [0], [1, 2, 1])
    assert worst.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert list(worst.cmc[:3]) == [0, 1, 1]
    trapezoidal = evaluate([[0.9, 0.8, 0.1]], [1], [1, 1, 2], [0], [1, 2, 1], "trapezoidal")
    assert trapezoidal.mAP == pytest.approx(((1 / 2 + 0) / 2 + (2 / 3 + 1 / 2) / 2) / 2)


def test_junk_takes_no_place_and_distractors_do() -> None:
    camids = ([0], [1, 1])
    assert evaluate([[0.1, 0.2]], [1], [-1, 1], *camids).rank(1) == 1.0
    assert evaluate([[0.1, 0.2]], [1], [0, 1], *camids).rank(1) == 0.0
    assert evaluate([[0.1, 0.2]], [1], [0, 1], *camids, junk_pids=(-1, 0)).rank(1) == 1.0
    assert evaluate([[0.1, 0.2]], [1], [-1, 1], *camids, junk_pids=()).rank(1) == 0.0


def test_the_query_itself_in_the_gallery_is_hidden_by_its_camera() -> None:
    score = evaluate([[0.0, 0.5, 0.4]], [1], [1, 1, 2], [0], [0, 1, 1])
    assert (score.rank(1), score.mAP) == (0.0, 0.5)


def test_a_query_without_a_match_is_left_out_or_adds_nothing() -> None:
    arguments: tuple[Any, ...] = ([[0.1], [0.1]], [1, 7], [1], [0, 0], [1])
    rectangular, trapezoidal = evaluate(*arguments), evaluate(*arguments, ap="trapezoidal")
    assert (rectangular.mAP, rectangular.denominator, rectangular.num_valid) == (1.0, "valid", 1)
    assert (trapezoidal.mAP, trapezoidal.denominator, trapezoidal.num_queries) == (0.5, "all", 2)
    assert evaluate(*arguments, denominator="all").rank(1) == 0.5


def test_chunks_of_queries_joined_score_as_the_whole() -> None:
    distmat, qid, gid, qcam, gcam = golden()
    parts = [score_queries(distmat[a : a + 3], qid[a : a + 3], gid, qcam[a : a + 3], gcam) for a in (0, 3, 6)]
    whole = evaluate(distmat, qid, gid, qcam, gcam, "trapezoidal")
    joined = summarise(join(parts), "trapezoidal")
    assert joined.mAP == whole.mAP
    assert (joined.cmc == whole.cmc).all()


def test_no_queries_and_no_gallery_have_no_score_rather_than_a_wrong_one() -> None:
    empty = evaluate(np.zeros((0, 3)), [], [1, 2, 3], [], [0, 0, 0])
    assert np.isnan(empty.mAP)
    assert (empty.num_queries, len(empty.cmc)) == (0, 50)
    nothing = evaluate(np.zeros((2, 0)), [1, 2], [], [0, 0], [], "trapezoidal")
    assert (nothing.mAP, nothing.rank(1)) == (0.0, 0.0)
    assert isinstance(join([]), QueryScores)


def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    assert evaluate([[0.5, 0.5, 0.5]], [1], [2, 1, 1], [0], [1, 1, 2]).mAP == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"distmat \(1, 2\) does not fit 1 query_pids"):
        evaluate([[0.1, 0.2]], [1], [1], [0], [1])
    with pytest.raises(ValueError, match="query 0 hold NaN"):
        evaluate([[0.1, np.nan]], [1], [1, 2], [0], [1, 1])
    with pytest.raises(ValueError, match="ap is 'rect', want one of rectangular, trapezoidal"):
        evaluate([[0.1]], [1], [1], [0], [1], "rect")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_rank=60"):
        evaluate([[0.1]], [1], [1], [0], [1]).rank(60)
