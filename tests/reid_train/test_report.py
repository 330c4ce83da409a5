"""The pictures of rankings and the HTML report: what is framed how, what is chosen, and that nothing is fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reid_train.config import RerankConfig, TestConfig
from reid_train.data.images import ImageError
from reid_train.data.tracklet import LabelledTracklet, ReidSplit
from reid_train.evaluate import score_split
from reid_train.ranking import EmbeddedSplit
from reid_train.report import (
    CROP_HW,
    FRAME_PX,
    QUERY_RGB,
    RIGHT_RGB,
    WRONG_RGB,
    Ranking,
    chosen_queries,
    ranking_picture,
    save_pictures,
    top_rankings,
    write_report,
)
from reid_train.scores import SplitScores
from tests.reid_train.tiny import write_people


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> ReidSplit:
    """Four people in two cameras; the gallery also holds the query's own camera and junk."""
    root = write_people(tmp_path_factory.mktemp("data") / "people", num_people=4, num_images=2)
    seen = {
        camera: [
            LabelledTracklet(tuple(str(p) for p in sorted(folder.glob(f"c{camera}_*"))), int(folder.name), camera - 1)
            for folder in sorted(root.iterdir())
        ]
        for camera in (1, 2)
    }
    junk = LabelledTracklet(seen[2][0].paths, -1, 1)
    return ReidSplit("people", (), tuple(seen[1]), (*seen[2], seen[1][0], junk), 0, 2, protocol="camera 1 asks")


@pytest.fixture(scope="module")
def embedded(split: ReidSplit) -> EmbeddedSplit:
    """Person k points along axis k; in the gallery person 2 looks more like person 1, and person 3 also like 2."""
    axes = np.eye(5, dtype=np.float32)
    query = axes[[t.pid for t in split.query]]
    gallery = axes[[t.pid for t in split.gallery[:5]] + [1]]
    gallery[1] = axes[1] + 0.1 * axes[2]
    gallery[2] = axes[3] + 0.5 * axes[2]
    return EmbeddedSplit(query, gallery)


@pytest.fixture(scope="module")
def scores(split: ReidSplit, embedded: EmbeddedSplit) -> SplitScores:
    return score_split(embedded, split, TestConfig(rerank=RerankConfig(k1=2, k2=1)), model="light")


def ranked(split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores, *queries: int) -> list[Ranking]:
    return top_rankings(embedded, split, TestConfig(), queries, scores.blocks[0], top=3)


def test_a_ranking_leaves_out_junk_and_the_query_s_own_camera(
    split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores
) -> None:
    (first,) = ranked(split, embedded, scores, 0)
    assert [match.row for match in first.matches] == [0, 1, 2]
    assert [match.is_right for match in first.matches] == [True, False, False]
    assert first.average_precision == 1.0 and first.has_match
    assert first.matches[0].distance == pytest.approx(-1.0)


def test_right_and_wrong_are_framed_and_the_query_comes_first(
    split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores
) -> None:
    picture = ranking_picture(split, ranked(split, embedded, scores, 0)[0])
    height, width = CROP_HW[0] + 2 * FRAME_PX, CROP_HW[1] + 2 * FRAME_PX
    assert picture.shape == (height, width + 4 * FRAME_PX + 3 * (width + FRAME_PX), 3)
    starts = [0, *(width + 4 * FRAME_PX + place * (width + FRAME_PX) for place in range(3))]
    assert [tuple(picture[0, start]) for start in starts] == [QUERY_RGB, RIGHT_RGB, WRONG_RGB, WRONG_RGB]
    inside = picture[height // 2, width // 2]
    assert np.abs(inside.astype(int) - picture[height // 2, starts[1] + width // 2]).max() < 60  # the same person


def test_the_worst_queries_come_first_and_the_others_from_the_best_down(scores: SplitScores) -> None:
    ap = scores.blocks[0].queries.ap_rectangular
    worst, others = chosen_queries(scores.blocks[0], 4)
    assert worst[0] == int(np.argmin(ap)) == 1
    assert sorted(worst + others) == [0, 1, 2, 3]
    assert all(ap[a] >= ap[b] for a, b in pairwise(others))
    assert chosen_queries(scores.blocks[0], 2)[0] == [1]


def test_pictures_are_written_one_per_query(
    split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores, tmp_path: Path
) -> None:
    paths = save_pictures(tmp_path / "pictures", split, ranked(split, embedded, scores, 0, 1))
    assert [path.name for path in paths] == ["query_00000_person_1.jpg", "query_00001_person_2.jpg"]
    assert all(path.read_bytes()[:2] == b"\xff\xd8" for path in paths)


class Elements(HTMLParser):
    """Open elements must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_scores_and_pictures(
    split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores, tmp_path: Path
) -> None:
    path = write_report(
        tmp_path / "new" / "report.html", scores, split, embedded, TestConfig(), notes=["made <now> & here"]
    )
    text = path.read_text()
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    assert elements.counts["img"] == elements.counts["figure"] == 4
    assert elements.counts["polyline"] == 2 and "script" not in elements.counts
    assert not re.search(r'(src|href)="(?!data:)', text) and "http" not in text
    assert "made &lt;now&gt; &amp; here" in text and "camera 1 asks" in text
    assert f"<td>{100 * scores.blocks[1].trapezoidal.mAP:.2f}</td>" in text
    assert "average precision 100.0 %" in text


def test_a_missing_image_is_named(split: ReidSplit, embedded: EmbeddedSplit, scores: SplitScores) -> None:
    gone = LabelledTracklet(("/nowhere/a.png",), 1, 1)
    without = ReidSplit("gone", (), split.query, (gone, *split.gallery[1:]), 0, 2)
    with pytest.raises(ImageError, match=r"/nowhere/a\.png is missing"):
        ranking_picture(without, ranked(split, embedded, scores, 0)[0])
