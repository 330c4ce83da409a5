"""The run as a fuser is given it, and the faults that act on the way."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from pipeline.simulate.clips import ClipTimes
from pipeline.simulate.faults import (
    Alike,
    ClockDrift,
    ClockSkew,
    DisorderedFrames,
    DoubledFrames,
    Dropout,
    LateFrames,
    NewSize,
)
from pipeline.simulate.graph import Site
from pipeline.simulate.noise import AppearanceNoise, Noise
from pipeline.simulate.ready_sites import corridor, square
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.simulate.stream import embedded_frames
from pipeline.types import EmbeddedFrame

SITE = corridor(3, rate_per_s=0.3).with_noise(appearance=AppearanceNoise(dim=16))
SECONDS = 240.0


@pytest.fixture(scope="module")
def run() -> SiteRun:
    return simulate_site(SITE, SECONDS, seed=4)


def with_faults(*faults: object) -> SiteRun:
    return simulate_site(SITE.model_copy(update={"faults": faults}), SECONDS, seed=4)


def of_camera(run: SiteRun, camid: int, **options: object) -> list[EmbeddedFrame]:
    return [item for tick in embedded_frames(run, **options) for item in tick if item.camid == camid]  # type: ignore[arg-type]


@pytest.mark.parametrize("fps", [None, 1.0])
@pytest.mark.parametrize("empty_frames", [False, True])
def test_every_tracklet_is_shown_has_a_vector_and_ends_once_after_its_last_box(
    run: SiteRun, fps: float | None, empty_frames: bool
) -> None:
    seen_s: dict[tuple[int, int], list[float]] = defaultdict(list)
    vectors: dict[tuple[int, int], int] = defaultdict(int)
    ended_s: dict[tuple[int, int], float] = {}
    last_s: dict[int, float] = {}
    for items in embedded_frames(run, fps=fps, empty_frames=empty_frames):
        assert items
        assert [item.camid for item in items] == sorted({item.camid for item in items})
        for item in items:
            assert item.time_s > last_s.get(item.camid, -1.0)
            last_s[item.camid] = item.time_s
            assert np.unique(item.tracks.track_id).tolist() == item.tracks.track_id.tolist()
            for track_id in item.tracks.track_id.tolist():
                assert (item.camid, track_id) not in ended_s
                seen_s[item.camid, track_id].append(item.time_s)
            for track_id in item.embeddings.track_id.tolist():
                assert seen_s[item.camid, track_id] and (item.camid, track_id) not in ended_s
                vectors[item.camid, track_id] += 1
            np.testing.assert_allclose(np.linalg.norm(item.embeddings.vector, axis=1), 1.0, atol=1e-5)
            for track_id in item.ended.tolist():
                assert (item.camid, track_id) not in ended_s
                ended_s[item.camid, track_id] = item.time_s
    rows = run.tracklets
    for key, first_s, final_s in zip(run.person_of(), rows.first_s.tolist(), rows.last_s.tolist(), strict=True):
        assert seen_s[key][0] == first_s and seen_s[key][-1] == final_s
        assert vectors[key] >= 1
        assert final_s + 2.0 < ended_s[key] <= final_s + 2.41 or ended_s[key] == SECONDS - 0.2
    assert seen_s.keys() == vectors.keys() == ended_s.keys()


def test_boxes_of_the_stream_are_those_of_the_run(run: SiteRun) -> None:
    shown = [
        (item.camid, item.frame_idx, track_id, *box)
        for items in embedded_frames(run)
        for item in items
        for track_id, box in zip(item.tracks.track_id.tolist(), item.tracks.xyxy.tolist(), strict=True)
    ]
    boxes = run.boxes
    wanted = zip(boxes.camid.tolist(), boxes.frame_idx.tolist(), boxes.track_id.tolist(), strict=True)
    assert sorted(shown) == sorted((*head, *box) for head, box in zip(wanted, boxes.xyxy.tolist(), strict=True))


def test_a_stream_of_few_frames_shows_whole_frames(run: SiteRun) -> None:
    whole = {(i.camid, i.frame_idx): i.tracks.track_id.tolist() for tick in embedded_frames(run) for i in tick}
    few = {(i.camid, i.frame_idx): i.tracks.track_id.tolist() for tick in embedded_frames(run, fps=0.5) for i in tick}
    assert 0.1 < len(few) / len(whole) < 0.6
    assert all(whole.get(key, []) == ids for key, ids in few.items())


def test_empty_frames_are_shown_on_request(run: SiteRun) -> None:
    assert sum(len(tick) for tick in embedded_frames(run, empty_frames=True)) == 3 * 5 * SECONDS
    nobody = simulate_site(SITE.model_copy(update={"arrivals": (), "noise": Noise.perfect()}), 10)
    assert list(embedded_frames(nobody)) == []
    ticks = list(embedded_frames(nobody, empty_frames=True))
    assert len(ticks) == 50 and all(len(tick) == 3 for tick in ticks)


def test_clips_come_first_after_a_second_then_every_two_and_at_the_end() -> None:
    quiet = Noise.perfect(AppearanceNoise(dim=8))
    run = simulate_site(SITE.model_copy(update={"noise": quiet}), 120, seed=4)
    times: dict[tuple[int, int], list[float]] = defaultdict(list)
    for items in embedded_frames(run, clips=ClipTimes(first_s=1.0, every_s=2.0)):
        for item in items:
            for track_id in item.embeddings.track_id.tolist():
                times[item.camid, track_id].append(item.time_s)
    rows = run.tracklets
    for key, first_s, last_s in zip(run.person_of(), rows.first_s.tolist(), rows.last_s.tolist(), strict=True):
        after = [t - first_s for t in times[key]]
        on_time = [1.0 + 2.0 * k for k in range(100) if 1.0 + 2.0 * k <= last_s - first_s + 1e-6]
        assert after[: len(on_time)] == pytest.approx(on_time, abs=1e-6)
        assert len(after) <= len(on_time) + 1
    assert ClipTimes(growth=2.0, max_every_s=8.0).offsets(20.0).tolist() == [1, 3, 7, 15, 23]


def test_the_stream_is_the_same_every_time(run: SiteRun) -> None:
    def everything() -> bytes:
        return b"".join(
            item.embeddings.vector.tobytes() + item.tracks.xyxy.tobytes() + np.float64(item.time_s).tobytes()
            for items in embedded_frames(run, fps=2.0)
            for item in items
        )

    assert everything() == everything()


def test_a_vector_does_not_depend_on_how_many_frames_are_shown(run: SiteRun) -> None:
    def first(fps: float | None) -> dict[tuple[int, int], bytes]:
        found: dict[tuple[int, int], bytes] = {}
        for items in embedded_frames(run, fps=fps):
            for item in items:
                for track_id, vector in zip(item.embeddings.track_id.tolist(), item.embeddings.vector, strict=True):
                    found.setdefault((item.camid, track_id), vector.tobytes())
        return found

    assert first(None) == first(1.0)


def test_one_frame_per_tick_where_cameras_have_different_rates() -> None:
    cameras = tuple(c.model_copy(update={"fps": fps}) for c, fps in zip(SITE.cameras, (5.0, 7.0, 12.5), strict=True))
    run = simulate_site(SITE.model_copy(update={"cameras": cameras}), 60, seed=4)
    ticks = list(embedded_frames(run, empty_frames=True))
    assert len(ticks) <= 751
    for camid, count in enumerate((300, 420, 750)):
        frames = [item.frame_idx for tick in ticks for item in tick if item.camid == camid]
        assert frames == list(range(count))


def test_a_camera_that_drops_out_sends_nothing_and_its_tracks_end() -> None:
    run = with_faults(Dropout(camera="c02", from_s=60, to_s=90))
    for table in (run.truth, run.boxes):
        times = table.time_s[table.camid == 1]
        assert not ((times >= 60) & (times < 90)).any()
        assert ((times >= 90) & (times < 95)).any()
    assert not any(60 <= item.time_s < 90 for item in of_camera(run, 1, empty_frames=True))
    over = run.tracklets.camid == 1
    assert not ((run.tracklets.first_s < 60) & (run.tracklets.last_s >= 90) & over).any()
    other = of_camera(run, 0, empty_frames=True)
    assert len(other) == 5 * SECONDS


def test_clocks_that_are_off_or_run_fast_stamp_wrong_times_in_the_right_order(run: SiteRun) -> None:
    wrong = with_faults(ClockSkew(camera="c01", offset_s=-0.7), ClockDrift(camera="c03", s_per_hour=36.0))
    for camid, change in ((0, lambda t: t - 0.7), (1, lambda t: t), (2, lambda t: 1.01 * t)):
        for item in of_camera(wrong, camid):
            assert item.time_s == pytest.approx(change(item.frame_idx / 5.0))
    assert wrong.truth.time_s.tobytes() == run.truth.time_s.tobytes()


def test_late_frames_come_late_with_the_right_time() -> None:
    run = with_faults(LateFrames(camera="c02", delay_s=3.0))
    behind_s = []
    for items in embedded_frames(run, empty_frames=True):
        now_s = max(item.time_s for item in items)
        behind_s += [now_s - item.time_s for item in items if item.camid == 1 and len(items) > 1]
    assert 2.0 < np.mean(behind_s) < 5.0
    frames = [item.frame_idx for item in of_camera(run, 1, empty_frames=True)]
    assert sorted(frames) == list(range(int(5 * SECONDS)))


def test_doubled_frames_come_twice_and_vectors_and_ends_once(run: SiteRun) -> None:
    doubled = with_faults(DoubledFrames(camera="c02", probability=0.2))
    items = of_camera(doubled, 1, empty_frames=True)
    frames, count = np.unique([item.frame_idx for item in items], return_counts=True)
    assert len(frames) == 5 * SECONDS and count.max() == 2
    assert (count == 2).mean() == pytest.approx(0.2, abs=0.04)
    plain = of_camera(run, 1)
    for name in ("embeddings", "ended"):
        assert sum(len(getattr(i, name)) for i in items) == sum(len(getattr(i, name)) for i in plain)


def test_disordered_frames_come_after_their_successors_and_none_is_missing() -> None:
    run = with_faults(DisorderedFrames(camera="c02", probability=0.1, frames=3))
    frames = [item.frame_idx for item in of_camera(run, 1, empty_frames=True)]
    assert frames != sorted(frames)
    assert sorted(frames) == list(range(int(5 * SECONDS)))
    assert max(np.arange(len(frames)) - np.array(frames)) <= 4


def test_a_stream_that_returns_with_another_size_has_boxes_of_that_size(run: SiteRun) -> None:
    changed = with_faults(NewSize(camera="c02", at_s=120, gone_s=5, width_px=640, height_px=360))
    before, after = run.truth[run.truth.camid == 1], changed.truth[changed.truth.camid == 1]
    late = after.time_s >= 120
    np.testing.assert_allclose(after.xyxy[late], before.xyxy[before.time_s >= 120] / 2, rtol=1e-6)
    np.testing.assert_array_equal(after.xyxy[~late], before.xyxy[before.time_s < 115])
    boxes = changed.boxes[(changed.boxes.camid == 1) & (changed.boxes.time_s >= 120)]
    assert boxes.xyxy[:, 2].max() <= 640 and boxes.xyxy[:, 3].max() <= 360


def test_two_people_dressed_alike_are_as_alike_as_one() -> None:
    fault = Alike(people=(2, 5), likeness=0.97)

    def cosine(faults: tuple[object, ...], a: int, b: int) -> float:
        noise = AppearanceNoise(factor=0.0)
        site = SITE.with_noise(appearance=noise).model_copy(update={"faults": faults})
        run = simulate_site(site, 120, seed=4)
        who = run.person_of()
        vectors: dict[int, np.ndarray] = {}
        for items in embedded_frames(run, fps=1.0):
            for item in items:
                for k, track_id in enumerate(item.embeddings.track_id.tolist()):
                    vectors.setdefault(who[item.camid, track_id], item.embeddings.vector[k])
        return float(vectors[a] @ vectors[b])

    assert cosine((fault,), 2, 5) > 0.97
    assert cosine((), 2, 5) < 0.9
    assert cosine((fault,), 2, 4) == cosine((), 2, 4)


def test_faults_name_a_camera_that_there_is() -> None:
    with pytest.raises(ValueError, match="faults: dropout: there is no camera 'c9'"):
        Site(cameras=SITE.cameras, faults=(Dropout(camera="c9", from_s=1, to_s=2),))
    with pytest.raises(ValueError, match="fps: want more than 0"):
        next(embedded_frames(simulate_site(square(3), 5), fps=0))
