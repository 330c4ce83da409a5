from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.ingest import feed
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus
from pipeline.ingest.ticks import Tick, TickReader
from tests.ingest.clips import index_of, make_clip, make_folder
from tests.shared import SHARED, needs_shared

VTEST = "data/pets_s2l1/vtest.avi"


def read_all(
    specs: Sequence[CameraSpec], config: IngestConfig | None = None, *, max_seconds: float | None = None
) -> tuple[list[Tick], tuple[CameraStatus, ...]]:
    with TickReader(specs, config, max_seconds=max_seconds) as reader:
        return list(reader), reader.status()


def rows(ticks: Sequence[Tick]) -> list[tuple[int, int, int, float, bytes]]:
    return [(t.index, f.camid, f.frame_idx, f.time_s, f.image.tobytes()) for t in ticks for f in t.frames]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "ten.mp4", 20, 10)
    make_clip(folder / "five.mp4", 8, 5, size=(96, 64))
    make_clip(folder / "varied.mp4", fps=10, pts=[0, 1, 2, 5, 6, 9, 20, 21])
    make_clip(folder / "hundred.mp4", 40, 100)
    return folder


def test_every_frame_of_a_file_comes_once_in_order_with_its_time(clips: Path) -> None:
    ticks, (status,) = read_all([CameraSpec(3, "a", str(clips / "ten.mp4"))])
    assert [t.index for t in ticks] == list(range(20))
    assert [t.frames[0].frame_idx for t in ticks] == list(range(20))
    assert [t.frames[0].time_s for t in ticks] == pytest.approx([i / 10 for i in range(20)])
    assert [index_of(t.frames[0].image) for t in ticks] == list(range(20))
    assert {t.frames[0].camid for t in ticks} == {3}
    assert (status.state, status.num_frames, status.expected_frames, status.fps) == ("ended", 20, 20, 10.0)
    assert (status.width, status.height, status.num_dropped, status.lag_s, status.message) == (64, 48, 0, 0.0, "")


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "mpeg4"), ("a.ts", "mpeg2video"), ("a.avi", "libx264")])
def test_all_containers_give_the_same_times(tmp_path: Path, name: str, codec: str) -> None:
    clip = make_clip(tmp_path / name, 12, 10, codec=codec)  # x264 in AVI: reordered frames, times of decoding only
    ticks, (status,) = read_all([CameraSpec(0, "a", str(clip))])
    assert [index_of(t.frames[0].image) for t in ticks] == list(range(12))
    assert [t.frames[0].time_s for t in ticks] == pytest.approx([i / 10 for i in range(12)], abs=1e-6)
    assert status.message == ""


def test_a_variable_frame_rate_keeps_its_true_times(clips: Path) -> None:
    ticks, _ = read_all([CameraSpec(0, "a", str(clips / "varied.mp4"))])
    assert [t.frames[0].time_s for t in ticks] == pytest.approx([0, 0.1, 0.2, 0.5, 0.6, 0.9, 2.0, 2.1])
    assert [t.index for t in ticks] == [0, 1, 2, 5, 6, 9, 20, 21]


def test_fps_of_the_camera_overrides_the_containers_times(clips: Path) -> None:
    ticks, (status,) = read_all([CameraSpec(0, "a", str(clips / "varied.mp4"), fps=4)])
    assert [t.frames[0].time_s for t in ticks] == [i / 4 for i in range(8)]
    assert status.fps == 4


def test_a_raw_stream_without_times_is_spaced_by_its_rate_and_warns(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "raw.h264", 6, 10, codec="libx264")
    ticks, (status,) = read_all([CameraSpec(0, "a", str(clip))])
    assert [t.frames[0].time_s for t in ticks] == pytest.approx([i * 0.1 for i in range(6)])
    assert "carries no times" in status.message


def test_cameras_of_different_rate_start_and_length_share_one_clock(clips: Path) -> None:
    start_s = 1_700_000_000.0
    specs = [
        CameraSpec(0, "ten", str(clips / "ten.mp4"), start_time_s=start_s + 1),
        CameraSpec(1, "five", str(clips / "five.mp4"), start_time_s=start_s, offset_s=0.2),
    ]
    with TickReader(specs) as reader:
        assert reader.clock_zero_s == start_s
        assert reader.tick_s == pytest.approx(0.1)
        ticks = list(reader)
    times = {c: [f.time_s for t in ticks for f in t.frames if f.camid == c] for c in (0, 1)}
    assert times[0] == pytest.approx([1 + i / 10 for i in range(20)])
    assert times[1] == pytest.approx([0.2 + i / 5 for i in range(8)])
    for tick in ticks:
        assert all(abs(f.time_s - tick.index * 0.1) < 0.05 for f in tick.frames)
    assert [len(t.frames) for t in ticks if 10 <= t.index <= 16] == [2, 1, 2, 1, 2, 1, 2]
    assert [f.camid for t in ticks for f in t.frames if t.index == 12] == [0, 1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cameras=st.lists(
        st.tuples(st.sampled_from(["ten", "five", "varied"]), st.floats(-3, 3), st.sampled_from([None, 3.0, 25.0])),
        min_size=1,
        max_size=3,
    ),
    tick_s=st.sampled_from([None, 0.03, 0.1]),
)
def test_waiting_loses_nothing_and_ticks_rise_with_one_frame_per_camera(
    clips: Path, cameras: list[tuple[str, float, float | None]], tick_s: float | None
) -> None:
    specs = [CameraSpec(i, str(i), str(clips / f"{n}.mp4"), offset_s=o, fps=f) for i, (n, o, f) in enumerate(cameras)]
    ticks, statuses = read_all(specs, IngestConfig(tick_s=tick_s, buffer_frames=2))
    assert all(a.index < b.index for a, b in pairwise(ticks))
    for tick in ticks:
        camids = [f.camid for f in tick.frames]
        assert camids == sorted(set(camids)) and camids
    for spec, (name, _, _) in zip(specs, cameras, strict=True):
        frames = [f for t in ticks for f in t.frames if f.camid == spec.camid]
        assert [f.frame_idx for f in frames] == list(range({"ten": 20, "five": 8, "varied": 8}[name]))
    assert all(s.num_dropped == 0 and s.state == "ended" for s in statuses)


def test_two_passes_give_the_same_ticks(clips: Path) -> None:
    specs = [
        CameraSpec(i, n, str(clips / f"{n}.mp4"), offset_s=i * 0.3) for i, n in enumerate(["ten", "five", "varied"])
    ]
    passes = [rows(read_all(specs, IngestConfig(buffer_frames=b))[0]) for b in (1, 8)]
    assert passes[0] == passes[1]


def test_a_slow_consumer_loses_nothing_when_the_reader_waits(clips: Path) -> None:
    with TickReader([CameraSpec(0, "a", str(clips / "ten.mp4"))], IngestConfig(buffer_frames=1)) as reader:
        seen = []
        for tick in reader:
            time.sleep(0.002)
            seen.append(tick.frames[0].frame_idx)
    assert seen == list(range(20))


def test_a_slow_consumer_makes_drop_oldest_drop_and_count(clips: Path) -> None:
    config = IngestConfig(policy="drop_oldest", buffer_frames=2)
    with TickReader([CameraSpec(0, "a", str(clips / "hundred.mp4"))], config) as reader:
        seen = []
        for tick in reader:
            time.sleep(0.03)
            seen.append((tick.frames[0].frame_idx, index_of(tick.frames[0].image)))
        (status,) = reader.status()
    assert all(idx % 26 == shown for idx, shown in seen)  # frame_idx counts the dropped frames too
    assert [i for i, _ in seen] == sorted({i for i, _ in seen})
    assert status.num_dropped > 0
    assert status.num_dropped + status.num_frames == 40


def test_cameras_that_must_drop_drop_together_so_that_ticks_stay_whole(clips: Path) -> None:
    copy = clips / "hundred_too.mp4"
    copy.write_bytes((clips / "hundred.mp4").read_bytes())
    specs = [CameraSpec(0, "a", str(clips / "hundred.mp4")), CameraSpec(1, "b", str(copy))]
    num_frames = []
    with TickReader(specs, IngestConfig(policy="drop_oldest", buffer_frames=4)) as reader:
        for tick in reader:
            time.sleep(0.03)
            num_frames.append(len(tick.frames))
        assert all(s.num_dropped > 0 and s.num_dropped + s.num_frames == 40 for s in reader.status())
    assert num_frames.count(2) > num_frames.count(1)


def test_two_cameras_of_one_file_share_its_decoder(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = feed.open_source
    monkeypatch.setattr(feed, "open_source", lambda *a, **k: opened.append(a) or real(*a, **k))
    path = clips / "ten.mp4"
    specs = [
        CameraSpec(0, "left", str(path), crop=(0, 0, 16, 12)),
        CameraSpec(1, "right", f"{path.parent}/../{path.parent.name}/ten.mp4", crop=(32, 0, 20, 48)),
        CameraSpec(2, "whole", f"file://{path}"),
    ]
    ticks, _ = read_all(specs)
    assert len(opened) == 1
    for tick in ticks:
        left, right, whole = tick.frames
        np.testing.assert_array_equal(left.image, whole.image[:12, :16])
        np.testing.assert_array_equal(right.image, whole.image[:, 32:52])
        assert left.image.mean() > 200  # the bright corner
        assert left.image.base is None or left.image.base.size == left.image.size  # keeps no larger picture alive


def test_one_file_as_two_cameras_with_different_offsets_is_read_twice_and_does_not_lock_up(clips: Path) -> None:
    specs = [CameraSpec(i, str(i), str(clips / "ten.mp4"), offset_s=i * 100.0) for i in range(2)]
    ticks, _ = read_all(specs, IngestConfig(buffer_frames=1))
    assert [t.frames[0].camid for t in ticks] == [0] * 20 + [1] * 20


def test_max_fps_takes_frames_evenly_and_keeps_their_numbers(clips: Path) -> None:
    ticks, (status,) = read_all([CameraSpec(0, "a", str(clips / "ten.mp4"))], IngestConfig(max_fps=5))
    assert [t.frames[0].frame_idx for t in ticks] == list(range(0, 20, 2))
    assert [t.index for t in ticks] == list(range(10))
    assert (status.num_frames, status.expected_frames, status.num_dropped) == (10, 10, 0)


def test_max_seconds_ends_after_that_much_of_the_shared_clock(clips: Path) -> None:
    specs = [CameraSpec(0, "a", str(clips / "ten.mp4"), offset_s=5.0)]
    ticks, _ = read_all(specs, max_seconds=0.5)
    assert [t.frames[0].frame_idx for t in ticks] == [0, 1, 2, 3, 4]


def test_readers_of_parts_of_the_cameras_agree_on_the_ticks(clips: Path) -> None:
    specs = [CameraSpec(i, n, str(clips / f"{n}.mp4"), start_time_s=50.0 + i) for i, n in enumerate(["ten", "five"])]
    config = IngestConfig(tick_s=0.1)
    whole = rows(read_all(specs, config)[0])
    parts = []
    for spec in specs:
        with TickReader([spec], config, clock_zero_s=50.0) as reader:
            parts += rows(list(reader))
    assert sorted(parts) == sorted(whole)


def test_ticks_longer_than_a_frame_warn_and_name_the_remedy(clips: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_all([CameraSpec(0, "a", str(clips / "ten.mp4"))], IngestConfig(tick_s=0.5))
    assert "set max_fps to 2" in caplog.text


def test_stopping_early_leaves_no_thread(clips: Path) -> None:
    specs = [CameraSpec(i, n, str(clips / f"{n}.mp4")) for i, n in enumerate(["ten", "hundred"])]
    with pytest.raises(KeyboardInterrupt), TickReader(specs, IngestConfig(buffer_frames=1)) as reader:
        next(iter(reader))
        raise KeyboardInterrupt
    assert not [t for t in threading.enumerate() if t.name.startswith("ingest-")]
    assert list(reader) == []


def test_closing_from_another_thread_ends_a_waiting_reader(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "slow", 3)
    config = IngestConfig(policy="drop_oldest")
    with TickReader([CameraSpec(0, "a", str(folder), fps=0.01)], config) as reader:  # a picture each 100 s
        ticks = iter(reader)
        next(ticks)
        threading.Timer(0.1, reader.close).start()
        assert list(ticks) == []


def test_a_folder_of_pictures_comes_in_natural_order(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pictures", 12)
    ticks, (status,) = read_all([CameraSpec(0, "a", str(folder), fps=2)])
    assert [index_of(t.frames[0].image) for t in ticks] == list(range(12))
    assert [t.frames[0].time_s for t in ticks] == [i / 2 for i in range(12)]
    assert status.expected_frames == 12


def test_two_cameras_may_not_have_one_camid() -> None:
    with pytest.raises(ValueError, match="camids must differ"):
        TickReader([CameraSpec(0, "a", "x"), CameraSpec(0, "b", "y")])


@needs_shared(VTEST)
def test_both_halves_of_the_pets_video_come_whole() -> None:
    path = str(SHARED / VTEST)
    specs = [
        CameraSpec(0, "left", path, fps=7, crop=(0, 0, 352, 576)),
        CameraSpec(1, "right", path, fps=7, crop=(416, 0, 352, 576)),
    ]
    with TickReader(specs) as reader:
        num_ticks, last = 0, None
        for last in reader:
            num_ticks += 1
            assert [f.image.shape for f in last.frames] == [(576, 352, 3)] * 2
        statuses = reader.status()
    assert num_ticks == 795 and last is not None
    assert last.frames[0].time_s == pytest.approx(794 / 7)
    assert all((s.state, s.num_frames, s.message) == ("ended", 795, "") for s in statuses)
