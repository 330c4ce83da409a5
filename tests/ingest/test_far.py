"""Sources that a host elsewhere reads: what the driver gets is what it would have read itself, but the pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.far_feed import FarFeeds
from pipeline.ingest.far_host import FeedHost
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import NoCameraError, TickReader
from pipeline.types import Frame, HeldFrame
from tests.ingest.clips import ClipServer, index_of, make_clip
from tests.ingest.test_live import QUICK


class Near:
    """A way to a host of this process, which is lost when it is asked for news for the `lost_at`th time."""

    def __init__(self, config: IngestConfig, lost_at: int = -1, lives: int = 2) -> None:
        self._config, self._lost_at, self._lives = config, lost_at, lives
        self._host = FeedHost(config)
        self._num_asked = 0

    def call(self, method: str, *args: Any) -> None:
        getattr(self._host, method)(*args)

    def fetch(self, method: str, *args: Any) -> tuple[Any, list[Sequence[Any]]]:
        self._num_asked += 1
        if self._num_asked == self._lost_at:
            raise ConnectionError("pulled the plug")
        value, pictures = getattr(self._host, method)(*args)
        return value, pictures

    def renew(self, reason: str) -> None:
        self._host.close()
        self._lives -= 1
        if not self._lives:
            raise ConnectionError("no machine is left")
        self._host = FeedHost(self._config)


def far_frames(specs: Sequence[CameraSpec], config: IngestConfig, ways: Sequence[Near]) -> tuple[list[Frame], Any]:
    frames: list[Frame] = []
    with (
        FarFeeds(ways, lambda camid: min(camid // 2, len(ways) - 1)) as feeds,
        TickReader(specs, config, open_feed=feeds) as reader,
    ):
        for frame in (frame for tick in reader for frame in tick.frames):
            assert isinstance(frame, HeldFrame)
            frames.append(frame.whole(frame.where))
        return frames, reader.status()


def near_frames(specs: Sequence[CameraSpec], config: IngestConfig) -> tuple[list[Any], Any]:
    with TickReader(specs, config) as reader:
        return [frame for tick in reader for frame in tick.frames], reader.status()


@pytest.fixture
def cameras(tmp_path: Path) -> list[CameraSpec]:
    """Two parts of one recording, and a longer one."""
    one, other = make_clip(tmp_path / "one.mp4", 20), make_clip(tmp_path / "other.mp4", 31, fps=15)
    return [
        CameraSpec(0, "left", str(one), crop=(0, 0, 32, 48)),
        CameraSpec(1, "right", str(one), crop=(32, 0, 32, 48)),
        CameraSpec(2, "other", str(other), offset_s=0.3),
    ]


@pytest.mark.parametrize("num_hosts", [1, 2])
def test_recordings_read_elsewhere_give_the_same_ticks_pictures_and_status(cameras, num_hosts: int) -> None:
    config = IngestConfig(buffer_frames=3)
    expected, status = near_frames(cameras, config)
    frames, far_status = far_frames(cameras, config, [Near(config) for _ in range(num_hosts)])
    assert [(f.camid, f.frame_idx, f.time_s) for f in frames] == [(f.camid, f.frame_idx, f.time_s) for f in expected]
    assert all((a.image == b.image).all() for a, b in zip(frames, expected, strict=True))
    assert far_status == status and {s.state for s in status} == {"ended"}


@pytest.mark.parametrize("lost_at", [1, 2, 4])
def test_a_lost_host_costs_no_frame_of_a_recording_that_was_not_taken(cameras, lost_at: int) -> None:
    config = IngestConfig(buffer_frames=3)
    expected, _ = near_frames(cameras, config)
    frames, status = far_frames(cameras, config, [Near(config, lost_at)])
    assert [(f.camid, f.frame_idx, f.time_s) for f in frames] == [(f.camid, f.frame_idx, f.time_s) for f in expected]
    assert {s.num_reconnects for s in status} <= {0, 1} and {s.state for s in status} == {"ended"}


def test_when_no_host_is_left_its_cameras_have_failed_and_say_why(cameras) -> None:
    config = IngestConfig(buffer_frames=3)
    with pytest.raises(NoCameraError, match=r"left: no machine is left"):
        far_frames(cameras, config, [Near(config, 1, lives=1)])
    frames, status = far_frames(cameras, config, [Near(config), Near(config, 3, lives=1)])
    assert [s.state for s in status] == ["ended", "ended", "failed"] and status[2].message == "no machine is left"
    assert sum(frame.camid == 1 for frame in frames) == 20 and sum(frame.camid == 2 for frame in frames) < 31


def test_no_password_gets_out_where_a_host_fails_in_an_unexpected_way(cameras, caplog) -> None:
    class Broken(Near):
        def fetch(self, method: str, *args: Any) -> tuple[Any, list[Sequence[Any]]]:
            self._host.close()
            raise RuntimeError("rtsp://admin:S3cr3t@10.0.0.9/door can not be had")

    config = IngestConfig()
    with pytest.raises(NoCameraError, match="unexpected RuntimeError") as caught:
        far_frames(cameras, config, [Broken(config)])
    assert "S3cr3t" not in caplog.text + str(caught.value) and "10.0.0.9" in caplog.text


def test_a_source_that_is_opened_after_its_host_was_lost_for_good_has_failed_at_once(cameras) -> None:
    class LateFeeds(FarFeeds):
        """Starts its second feed when nothing is read any more."""

        def __call__(self, plan, config, common):
            feed = super().__call__(plan, config, common)
            start = feed.start

            def later() -> None:
                deadline_s = time.monotonic() + 5
                while feed.number and not self._desks[0]._failure and time.monotonic() < deadline_s:
                    time.sleep(0.001)
                start()

            feed.start = later
            return feed

    config = IngestConfig(buffer_frames=3)
    with (
        LateFeeds([Near(config, 1, lives=1)], lambda camid: 0) as feeds,
        pytest.raises(NoCameraError, match=r"other: no machine is left"),
        TickReader(cameras, config, open_feed=feeds),
    ):
        pass


def test_a_stream_read_elsewhere_breaks_off_and_comes_back_as_one_read_here(tmp_path: Path, caplog) -> None:
    small = make_clip(tmp_path / "small.ts", 30, codec="mpeg2video").read_bytes()
    with ClipServer([small, small], seconds_per_clip=0.2) as server:
        spec = CameraSpec(0, "door", server.url("admin:S3cr3t@", "?token=S3cr3t"))
        frames, (status,) = far_frames([spec], QUICK, [Near(QUICK)])
    assert [f.frame_idx for f in frames] == sorted({f.frame_idx for f in frames}) and frames[-1].frame_idx >= 40
    assert all(a.time_s < b.time_s for a, b in pairwise(frames))
    assert status.state == "failed" and "given up" in status.message and status.num_reconnects >= 2
    assert "camera door" in caplog.text and "S3cr3t" not in caplog.text + status.message


def test_a_broken_recording_is_reported_with_its_reason(tmp_path: Path) -> None:
    config = IngestConfig()
    good = make_clip(tmp_path / "good.mp4", 5)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    specs = [CameraSpec(0, "good", str(good)), CameraSpec(1, "bad", str(tmp_path / "bad.mp4"))]
    frames, status = far_frames(specs, config, [Near(config)])
    assert status == near_frames(specs, config)[1] and status[1].state == "failed"
    assert [index_of(f.image) for f in frames] == [0, 1, 2, 3, 4]


def test_cameras_come_and_go_while_others_are_read_elsewhere(tmp_path: Path) -> None:
    config = IngestConfig(buffer_frames=3)
    long, late = make_clip(tmp_path / "long.mp4", 60), make_clip(tmp_path / "late.mp4", 10)
    specs = [CameraSpec(0, "stays", str(long)), CameraSpec(1, "goes", str(long), offset_s=0.01)]
    seen: list[tuple[int, int]] = []
    with (
        FarFeeds([Near(config)], lambda camid: 0) as feeds,
        TickReader(specs, config, open_feed=feeds) as reader,
    ):
        for tick in reader:
            seen += [(tick.index, frame.camid) for frame in tick.frames]
            if len(seen) == 20:
                reader.change([CameraSpec(2, "comes", str(late))], {1}, "changed")
        states = [status.state for status in reader.status()]
    assert states == ["ended", "removed", "ended"]
    assert sum(camid == 2 for _, camid in seen) == 10 and sum(camid == 0 for _, camid in seen) == 60
    assert 0 < sum(camid == 1 for _, camid in seen) < 60
