"""Counting individuals: sequences with known entries and exits, errors by hand, and real footage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from pipeline.types import Float64
from reid_train.counting import (
    CountConfig,
    PersonTrack,
    Piece,
    VideoCount,
    count_errors,
    count_people,
    count_tracks,
    cut_frames,
    cut_tracks,
    score_counts,
    true_count,
)
from reid_train.counting.memory import match
from reid_train.counting.video import CountError, count_video, crop_embedder, open_pictures, read_tracks
from tests.shared import SHARED, needs_shared

FPS = 7.0
WINDOW = 21  # frames of three seconds


def track(track_id: int, person: int, *frames: range) -> PersonTrack:
    """A track whose boxes tell the person: the left edge is 10 times their number."""
    frame_idx = np.concatenate([np.arange(r.start, r.stop, r.step) for r in frames])
    box = [10.0 * person, 20.0, 10.0 * person + 30, 100.0]
    return PersonTrack(track_id, frame_idx, np.tile(box, (len(frame_idx), 1)))


def one_hot(pieces: Sequence[Piece]) -> Float64:
    """People look as different as can be."""
    vectors = np.zeros((len(pieces), 32))
    vectors[np.arange(len(pieces)), [round(piece.xyxy[0, 0] / 10) for piece in pieces]] = 5.0
    return vectors


def count(tracks: Sequence[PersonTrack], num_windows: int, **config: object) -> VideoCount:
    settings = CountConfig(**config)  # type: ignore[arg-type]
    return count_tracks(tracks, one_hot, num_frames=num_windows * WINDOW, fps=FPS, config=settings)


def windows(first: int, last: int) -> range:
    """All frames of the windows first..last."""
    return range(first * WINDOW, (last + 1) * WINDOW)


def test_a_video_without_people_or_frames_counts_nobody() -> None:
    empty = count([], 3)
    assert (empty.video_num, empty.cnt_list, empty.present_list) == (0, (0, 0, 0), (0, 0, 0))
    nothing = count([], 0)
    assert (nothing.video_num, nothing.first_frame_num, nothing.cnt_list) == (0, 0, ())


def test_entries_and_exits_are_counted_once_each() -> None:
    tracks = [
        track(1, 0, windows(0, 3)),
        track(2, 1, windows(0, 0)),
        track(3, 2, windows(1, 2)),
        track(4, 3, windows(3, 3)),
    ]
    result = count(tracks, 4)
    assert result.cnt_list == (2, 1, 0, 1)
    assert result.present_list == (2, 2, 2, 2)
    assert (result.video_num, result.first_frame_num) == (4, 2)


def test_a_person_whose_track_broke_is_recognised() -> None:
    result = count([track(1, 5, windows(0, 0)), track(9, 5, windows(2, 2))], 3)
    assert result.cnt_list == (1, 0, 0)
    assert result.person_lists == ((0,), (), (0,))


def test_who_stays_away_longer_than_remembered_is_new() -> None:
    def returns_in(window: int, **config: object) -> int:
        return count([track(1, 5, windows(0, 0)), track(2, 5, windows(window, window))], 9, **config).video_num

    assert [returns_in(window) for window in range(1, 9)] == [1, 1, 1, 1, 1, 2, 2, 2]
    assert [returns_in(window, ttl_windows=1) for window in (1, 2)] == [1, 2]
    assert returns_in(8, ttl_windows=None) == 1


def test_a_track_that_goes_on_keeps_its_person_whatever_it_looks_like() -> None:
    rng = np.random.default_rng(0)
    tracks = [track(1, 0, windows(0, 5)), track(2, 1, windows(0, 5))]
    result = count_tracks(tracks, lambda pieces: rng.normal(size=(len(pieces), 8)), num_frames=6 * WINDOW, fps=FPS)
    assert result.cnt_list == (2, 0, 0, 0, 0, 0)
    assert result.person_lists == ((0, 1),) * 6


def test_two_who_look_alike_stay_two() -> None:
    def alike(pieces: Sequence[Piece]) -> Float64:
        return np.ones((len(pieces), 4))

    tracks = [track(1, 0, windows(0, 0)), track(2, 1, windows(0, 0)), track(3, 2, windows(1, 1))]
    result = count_tracks(tracks, alike, num_frames=2 * WINDOW, fps=FPS)
    assert result.cnt_list == (2, 0)


def test_short_pieces_are_not_counted_and_short_last_windows_are_windows() -> None:
    tracks = [
        track(1, 0, range(4)),  # 4 of 21 frames: less than a fifth
        track(2, 1, range(5)),
        track(3, 2, range(21, 23)),  # 2 boxes
        track(4, 3, range(21, 24)),
    ]
    result = count_tracks(tracks, one_hot, num_frames=25, fps=FPS)
    assert result.cnt_list == (1, 1)


def test_a_piece_holds_evenly_spaced_crops_and_where_it_was_first_seen() -> None:
    moving = PersonTrack(
        1, np.arange(30), np.stack([np.arange(30.0), np.zeros(30), np.arange(30.0) + 10, np.full(30, 20.0)], 1)
    )
    first, second = (pieces[0] for pieces in cut_tracks([moving], 42, FPS, CountConfig(num_crops=4)))
    assert first.frame_idx.tolist() == [2, 7, 13, 18]
    assert (first.first_frame, first.last_frame, first.place_xy) == (0, 20, (5.0, 10.0))
    assert second.frame_idx.tolist() == [22, 24, 26, 28]
    assert second.xyxy[0, 0] == 22
    assert second.place_xy == (26.0, 10.0)


def test_fragments_within_a_window_are_joined_only_on_request_and_never_where_both_are_seen() -> None:
    broken = [track(1, 5, range(8)), track(2, 5, range(10, 21)), track(3, 5, range(12, 21))]
    assert count(broken, 1).video_num == 3
    joined = count(broken, 1, join_fragments=True)
    assert joined.video_num == 2
    assert joined.present_list == (2,)
    assert joined.person_lists == ((0, 0, 1),)


def test_a_joined_track_goes_on_as_its_latest_fragment() -> None:
    broken = [track(1, 5, range(8)), track(2, 5, range(10, 42)), track(3, 6, range(21, 42))]
    result = count(broken, 2, join_fragments=True)
    assert result.person_lists == ((0, 0), (0, 1))


def test_assignment_takes_the_highest_total_above_the_gate() -> None:
    cosines = np.array([[0.9, 0.8], [0.85, 0.1]], np.float32)
    assert match(cosines, 0.4) == [(0, 1), (1, 0)]
    assert match(cosines, 0.83) == [(0, 0)]
    assert match(cosines, 0.95) == []
    assert match(np.zeros((2, 0), np.float32), 0.4) == []
    assert match(np.array([[0.5]], np.float32), 0.5) == [(0, 0)], "the gate itself is accepted"


def test_only_the_latest_embeddings_are_kept() -> None:
    """A person turns slowly: after six windows the first look is forgotten, but not with a longer memory."""

    def turning(pieces: Sequence[Piece]) -> Float64:
        window = pieces[0].first_frame // WINDOW
        angle = 0.0 if pieces[0].track_id == 2 else window * np.pi / 12
        return np.array([[np.cos(angle), np.sin(angle)]])

    tracks = [track(1, 0, windows(0, 6)), track(2, 0, windows(7, 7))]
    for num_stored, new in ((5, 1), (7, 0)):
        config = CountConfig(num_stored=num_stored, min_cosine=0.9)
        result = count_tracks(tracks, turning, num_frames=8 * WINDOW, fps=FPS, config=config)
        assert result.cnt_list[7] == new


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12), st.booleans())
def test_people_who_look_different_are_counted_exactly(spans: list[tuple[int, int]], join: bool) -> None:
    tracks = [track(i + 1, i, windows(min(span), max(span))) for i, span in enumerate(spans)]
    result = count(tracks, 6, join_fragments=join)
    truth = true_count(tracks, num_frames=6 * WINDOW, fps=FPS)
    assert result == truth
    assert truth.video_num == len(spans)
    assert list(truth.cnt_list) == [sum(min(span) == window for span in spans) for window in range(6)]
    assert list(truth.present_list) == [sum(min(s) <= window <= max(s) for s in spans) for window in range(6)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1, 5]))
def test_whatever_the_network_says_the_lists_fit_together(seed: int, ttl_windows: int | None) -> None:
    rng = np.random.default_rng(seed)
    tracks = [track(i + 1, i, range(*np.sort(rng.choice(130, 2, replace=False)))) for i in range(10)]
    result = count_tracks(
        tracks,
        lambda pieces: rng.normal(size=(len(pieces), 3)),
        num_frames=130,
        fps=FPS,
        config=CountConfig(ttl_windows=ttl_windows, join_fragments=bool(seed % 2)),
    )
    assert len(result.cnt_list) == 7
    seen: set[int] = set()
    for inflow, people, places in zip(result.inflow_lists, result.person_lists, result.pos_lists, strict=True):
        assert len(inflow) == len(people) == len(places)
        assert {person for person, new in zip(people, inflow, strict=True) if new} == set(people) - seen
        seen.update(people)
    assert result.video_num == len(seen)
    assert seen == set(range(len(seen)))


def test_points_are_counted_on_the_first_frame_of_each_window() -> None:
    boxes = {
        0: np.array([[0, 20, 30, 100], [10, 20, 40, 100]], float),
        5: np.array([[50, 20, 80, 100]], float),
        21: np.array([[10, 20, 40, 100], [70, 20, 100, 100]], float),
        42: np.zeros((0, 4)),
    }
    config = CountConfig()
    cut = cut_frames(boxes, 50, FPS, config, places_of_frame={f: b[:, :2] for f, b in boxes.items()})
    result = count_people(cut, one_hot, num_frames=50, fps=FPS, config=config)
    assert result.cnt_list == (2, 1, 0)
    assert result.inflow_lists == ((1, 1), (0, 1), ())
    assert result.pos_lists[1] == ((10.0, 20.0), (70.0, 20.0))
    assert cut_frames(boxes, 50, FPS, config)[0][0].place_xy == (15.0, 60.0)
    with pytest.raises(ValueError, match="frame 63 starts a window and is missing"):
        cut_frames(boxes, 64, FPS, config)


def test_the_document_of_a_video_has_the_keys_of_video_individual_counting() -> None:
    document = json.loads(json.dumps(count([track(1, 0, windows(0, 1)), track(2, 1, windows(1, 1))], 2).as_dict()))
    assert document == {
        "video_num": 2,
        "first_frame_num": 1,
        "cnt_list": [1, 1],
        "pos_lists": [[[15.0, 60.0]], [[15.0, 60.0], [25.0, 60.0]]],
        "inflow_lists": [[1], [0, 1]],
        "frame_num": 42,
        "present_list": [1, 2],
        "fps": 7.0,
    }


def test_errors_of_counts_by_hand() -> None:
    mae, rmse, wrae = count_errors([10, 20], [12, 16], [100, 300])
    assert mae == 3
    assert rmse == pytest.approx(np.sqrt((4 + 16) / 2))
    assert wrae == pytest.approx(0.25 * 0.2 + 0.75 * 0.2)
    assert count_errors([5], [5], [1]) == (0, 0, 0)
    assert np.isnan(count_errors([0], [1], [1])[2])
    with pytest.raises(ValueError, match="aligned"):
        count_errors([1, 2], [1], [1])
    with pytest.raises(ValueError, match="aligned"):
        count_errors([], [], [])


def test_inflow_is_scored_window_by_window() -> None:
    truth = count([track(1, 0, windows(0, 0)), track(2, 1, windows(1, 1))], 2)
    wrong = count([track(1, 0, windows(0, 0)), track(2, 1, windows(0, 0))], 2)
    score = score_counts([truth, truth], [wrong, truth])
    assert (score.mae, score.rmse, score.wrae, score.inflow_mae) == (0, 0, 0, 0.5)
    with pytest.raises(ValueError, match="3 windows beside 2"):
        score_counts([truth], [count([], 3)])


@pytest.mark.parametrize(
    ("track_id", "frames", "complaint"), [(0, [1], "start at 1"), (1, [2, 2], "ascend"), (1, [3, 2], "ascend")]
)
def test_tracks_that_make_no_sense_are_refused(track_id: int, frames: list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PersonTrack(track_id, np.array(frames), np.zeros((len(frames), 4)))


@pytest.mark.parametrize("vectors", [np.zeros((1, 4)), np.full((2, 4), np.nan), np.zeros(2)])
def test_vectors_that_do_not_fit_are_refused(vectors: Float64) -> None:
    tracks = [track(1, 0, windows(0, 0)), track(2, 1, windows(0, 0))]
    with pytest.raises(ValueError, match="2 finite rows"):
        count_tracks(tracks, lambda pieces: vectors, num_frames=21, fps=FPS)


class MeanColour(nn.Module):
    """A network in name only: the mean colour of the real frames of a clip."""

    name, dim, input_hw, frame_multiple = "mean_colour", 3, (16, 8), 1

    def __init__(self, *, uses_mask: bool, clip_length: int) -> None:
        super().__init__()
        self.uses_mask = uses_mask
        self.clip_length = clip_length
        self.seen: list[tuple[int, ...]] = []

    def embed(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        self.seen.append(tuple(clips.shape[:2]))
        colour = clips.mean(dim=(3, 4))
        weight = torch.ones(clips.shape[:2]) if mask is None else mask.float()
        return (colour * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)


def piece(frames: Sequence[int], left: float = 0.0) -> Piece:
    box = np.tile([left, 0.0, left + 8, 16.0], (len(frames), 1))
    return Piece(1, np.array(frames), box, (0.0, 0.0), frames[0], frames[-1])


@pytest.mark.parametrize("uses_mask", [True, False])
def test_crops_reach_the_network_and_padding_does_not_count(uses_mask: bool) -> None:
    """Frame t is grey t; a piece's vector is the mean over its frames, whatever the others' lengths."""
    asked: list[int] = []

    def read_frame(index: int) -> np.ndarray:
        asked.append(index)
        return np.full((16, 32, 3), 10 * index, np.uint8)

    model = MeanColour(uses_mask=uses_mask, clip_length=2)
    vectors = crop_embedder(model, read_frame)([piece([1, 3]), piece([2, 3, 4, 9]), piece([5, 5 + 1])])
    grey = (vectors * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]) * 255
    np.testing.assert_allclose(grey, np.repeat([[20.0], [45.0], [55.0]], 3, axis=1), atol=1e-3)
    assert asked == sorted(set(asked)) == [1, 2, 3, 4, 5, 6, 9]
    assert model.seen == ([(3, 4)] if uses_mask else [(4, 2)])


def test_boxes_that_leave_the_picture_are_cut_to_it() -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 28:] = 200
    embed = crop_embedder(MeanColour(uses_mask=True, clip_length=1), lambda _: image)
    half, outside, inverse = embed([piece([0], 28), piece([0], 500), piece([0], -500)])
    np.testing.assert_allclose(half, outside, atol=1e-6)
    assert half[0] > inverse[0]


def draw_video(folder: Path, num_frames: int) -> None:
    """A red and a blue person side by side; the red one is gone in the middle third."""
    folder.mkdir()
    for index in range(num_frames):
        image = np.zeros((48, 64, 3), np.uint8)
        image[10:40, 40:55] = (0, 0, 250)
        if not num_frames // 3 <= index < 2 * num_frames // 3:
            image[10:40, 5:20] = (250, 0, 0)
        Image.fromarray(image).save(folder / f"{index + 1}.png")


def write_tracks(path: Path, rows: Sequence[tuple[int, int, int]]) -> Path:
    """MOTChallenge text; rows are (frame from 1, id, left)."""
    path.write_text("".join(f"{frame},{track_id},{left},10,15,30,1,-1,-1,-1\n" for frame, track_id, left in rows))
    return path


def test_a_folder_of_pictures_and_a_file_of_tracks_are_enough(tmp_path: Path) -> None:
    draw_video(tmp_path / "img1", 18)
    rows = [(f, 7, 40) for f in range(1, 19)] + [(f, 2, 5) for f in range(1, 7)] + [(f, 3, 5) for f in range(13, 19)]
    tracks = write_tracks(tmp_path / "tracks.txt", rows)
    model = MeanColour(uses_mask=True, clip_length=8)
    result = count_video(model, tmp_path / "img1", tracks, fps=2)
    assert result.cnt_list == (2, 0, 0)
    assert result.present_list == (2, 1, 2)
    assert count_video(model, tmp_path / "img1", tracks, fps=2, config=CountConfig(ttl_windows=1)).cnt_list == (2, 0, 1)


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    draw_video(tmp_path / "img1", 3)
    model = MeanColour(uses_mask=True, clip_length=8)
    tracks = write_tracks(tmp_path / "tracks.txt", [(4, 1, 5)])
    with pytest.raises(CountError, match="give fps"):
        count_video(model, tmp_path / "img1", tracks)
    with pytest.raises(CountError, match=r"goes on to frame 3, .* has 3 frames"):
        count_video(model, tmp_path / "img1", tracks, fps=2)
    with pytest.raises(CountError, match="no such video"):
        count_video(model, tmp_path / "nowhere.mp4", tracks)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(CountError, match="no video that can be decoded"):
        count_video(model, tmp_path / "broken.mp4", tracks)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CountError, match="no images"):
        count_video(model, tmp_path / "empty", tracks, fps=2)


def test_tracks_numbered_from_0_are_shifted_and_those_of_two_cameras_refused(tmp_path: Path) -> None:
    tracks = read_tracks(write_tracks(tmp_path / "t.txt", [(2, 5, 5), (1, 0, 5), (1, 5, 9), (3, 0, 5)]))
    assert [(t.track_id, t.frame_idx.tolist()) for t in tracks] == [(1, [0, 2]), (6, [0, 1])]
    two = tmp_path / "global_tracks.csv"
    two.write_text("camera,frame,global_id,track_id,left,top,width,height\na,0,1,1,0,0,5,5\nb,0,1,1,0,0,5,5\n")
    with pytest.raises(CountError, match="2 cameras"):
        read_tracks(two)


PETS = "data/pets_s2l1"
# The truth of this sequence gives a person who comes back a new number. By eye, 19 numbers are 10 people.
SAME_PEOPLE = ((9, 5), (15, 14, 18, 8), (19, 1), (11, 3), (12, 4), (13, 2), (16,), (17,), (10, 6), (7,))


def one_track_each(tracks: Sequence[PersonTrack]) -> list[PersonTrack]:
    by_id = {track.track_id: track for track in tracks}
    groups = [[by_id[track_id] for track_id in sorted(ids, key=lambda i: by_id[i].frame_idx[0])] for ids in SAME_PEOPLE]
    return [
        PersonTrack(i, np.concatenate([t.frame_idx for t in group]), np.concatenate([t.xyxy for t in group]))
        for i, group in enumerate(groups, start=1)
    ]


@needs_shared(f"{PETS}/gt.txt", f"{PETS}/vtest.avi")
def test_on_pets_people_who_come_back_are_recognised_by_their_clothes() -> None:
    from pipeline.reid.colour import describe
    from reid_train.counting.video import _crops

    num_frames = 795
    tracks = read_tracks(SHARED / PETS / "gt.txt", truth=True)
    entries = true_count(tracks, num_frames=num_frames, fps=FPS)
    assert (entries.video_num, len(entries.cnt_list), entries.first_frame_num) == (19, 38, 4)
    truth = true_count(one_track_each(tracks), num_frames=num_frames, fps=FPS)
    assert truth.video_num == 10
    config = CountConfig(num_crops=3, min_cosine=0.5, ttl_windows=None)
    with open_pictures(SHARED / PETS / "vtest.avi") as pictures:
        assert pictures.num_frames == num_frames

        def colours(pieces: Sequence[Piece]) -> Float64:
            crops = _crops(pieces, pictures.read, (64, 32), Image.Resampling.BILINEAR)
            return np.stack([describe(np.ascontiguousarray(c[..., ::-1])).mean(axis=0) for c in crops])

        result = count_tracks(tracks, colours, num_frames=num_frames, fps=FPS, config=config)
    assert result.first_frame_num == 4
    score = score_counts([truth], [result])
    assert score.mae <= 1
    assert score.wrae <= 0.1
    assert score.inflow_mae <= 0.15, "windows where somebody is seen too shortly shift an entry by one"
    assert np.abs(np.subtract(result.present_list, truth.present_list)).max() <= 2
