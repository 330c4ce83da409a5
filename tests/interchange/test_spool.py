"""Tracks brought into order of time on the disk, and vectors that come with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.interchange.spool as module
from pipeline.evaluation.text import TableError
from pipeline.interchange.rows import TrackRows
from pipeline.interchange.spool import CameraSpool, spool
from pipeline.interchange.vectors import VectorFile
from tests.interchange.test_formats import rows


def spooled(table: TrackRows, folder: Path, cameras: tuple[str, ...] | None = None) -> list[CameraSpool]:
    return spool(
        [table[i : i + 3] for i in range(0, len(table), 3)], folder, cameras=cameras, fps=lambda _: 10, zero_s={}
    )


def content(one: CameraSpool) -> list[tuple[int, float, list[int]]]:
    return [(frame.frame, frame.time_s, frame.track_id.tolist()) for frame in one.frames()]


def test_nothing_in_gives_no_camera(tmp_path: Path) -> None:
    assert spooled(TrackRows.empty(("a",)), tmp_path) == []


def test_rows_of_any_order_come_out_by_frame_and_track(tmp_path: Path) -> None:
    table = rows(("a", 5, 1, 2), ("a", 2, 1, 9), ("b", 7, 1, 1), ("a", 5, 1, 1))
    one, two = spooled(table, tmp_path)
    assert (one.camera, content(one)) == ("a", [(2, 0.2, [9]), (5, 0.5, [1, 2])])
    assert (two.camera, content(two)) == ("b", [(7, 0.7, [1])])
    assert (
        one.track_id.tolist() == [1, 2, 9] and one.last_frame.tolist() == [5, 5, 2] and one.step_s == pytest.approx(0.1)
    )


def test_cameras_keep_the_order_that_is_given_and_numbers_count_as_numbers(tmp_path: Path) -> None:
    table = rows(("10", 0, 1, 1), ("9", 0, 1, 1))
    (tmp_path / "named").mkdir()
    assert [one.camera for one in spooled(table, tmp_path)] == ["9", "10"]
    assert [one.camera for one in spooled(table, tmp_path / "named", ("x", "10", "9"))] == ["10", "9"]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    sightings=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, max_size=60, unique=True),
)
def test_order_of_the_rows_makes_no_difference(
    seed: int, sightings: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = rows(*[("a", frame, 1, track) for frame, track in sightings])
    shuffled = table[np.random.default_rng(seed).permutation(len(table))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_ROWS", 7)  # so that frames lie across pieces
        results = [content(spooled(t, tmp_path_factory.mktemp("s"))[0]) for t in (table, shuffled)]
    frames = sorted({frame for frame, _ in sightings})
    assert results[0] == results[1]
    assert [(f, ids) for f, _, ids in results[0]] == [(f, sorted(t for g, t in sightings if g == f)) for f in frames]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (rows(("a", 0, 1, 1), ("a", 0, 2, 1)), "track 1 stands twice in frame 0, in lines 0 and 1"),
        (rows(("a", 0, 1, 1), ("a", 1, 1, 1)).with_columns(time_s=np.array([1.0, 1.0])), "frame 1 is not later"),
        (rows(("z", 0, 1, 1)), "tracks of camera 'z', but the cameras are a"),
        (rows(("a", 0, 1, 1)).with_columns(xyxy=np.full((1, 4), np.nan)), "no boxes"),
    ],
)
def test_tracks_that_can_not_be_are_refused(table: TrackRows, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=complaint):
        spooled(table, tmp_path, ("a",))


def test_a_camera_without_times_and_rate_is_refused(tmp_path: Path) -> None:
    timeless = rows(("a", 0, 1, 1)).with_columns(time_s=np.full(1, np.nan))
    with pytest.raises(TableError, match="--fps"):
        spool([timeless], tmp_path, cameras=None, fps=lambda _: None, zero_s={})


def one_camera(folder: Path) -> CameraSpool:
    return spooled(rows(*[("a", frame, 1, 1) for frame in range(4)], ("a", 2, 1, 2)), folder)[0]


def vectors(folder: Path, **arrays: object) -> VectorFile:
    given = {"camera": ["a", "a"], "track_id": [2, 1], "vector": [[3.0, 4.0], [0.0, 2.0]]} | arrays
    np.savez(folder / "v.npz", **{name: np.array(value) for name, value in given.items()})
    return VectorFile(folder / "v.npz", folder)


def test_vectors_without_time_are_known_when_their_tracklet_ends(tmp_path: Path) -> None:
    file = vectors(tmp_path)
    known = file.of(one_camera(tmp_path), 1)
    assert known.frame.tolist() == [2, 3] and known.track_id.tolist() == [2, 1] and file.dim == 2
    embeddings = file.embeddings(known.track_id, known.row)
    np.testing.assert_allclose(embeddings.vector, [[0.6, 0.8], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize(("column", "values"), [("frame", [0, 1]), ("time_s", [0.0, 0.1])])
def test_vectors_with_a_frame_or_time_come_then_and_never_before_their_tracklet(
    tmp_path: Path, column: str, values: list[float]
) -> None:
    known = vectors(tmp_path, **{column: values}).of(one_camera(tmp_path), 1)
    assert list(zip(known.frame.tolist(), known.track_id.tolist(), strict=True)) == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"vector": [[1.0, 0.0]]}, "rows must agree"),
        ({"vector": [1.0, 0.0]}, r"want \(N, D\)"),
        ({"track_id": [2.5, 1.0]}, "want integers"),
        ({"quality": [0.0, 1.0]}, "quality must lie above 0"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, object], complaint: str) -> None:
    with pytest.raises(TableError, match=complaint):
        vectors(tmp_path, **arrays)


def test_vectors_of_a_track_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="row 0 is of track 7"):
        vectors(tmp_path, track_id=[7, 1]).of(one_camera(tmp_path), 1)
    zero = vectors(tmp_path, vector=[[0.0, 0.0], [1.0, 0.0]])
    with pytest.raises(TableError, match="vector 0 is zero"):
        zero.embeddings(np.array([2]), np.array([0]))
    (tmp_path / "no.npz").write_text("not an archive")
    with pytest.raises(TableError, match=r"no \.npz file"):
        VectorFile(tmp_path / "no.npz", tmp_path)
