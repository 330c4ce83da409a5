"""mosaic.mp4, read back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.sinks.config import OutputConfig
from pipeline.sinks.video import VideoSink
from pipeline.types import UInt8
from tests.sinks.frames import fused_frame, picture


def record(folder: Path, times_s: Sequence[float], num_cameras: int = 2) -> Path:
    with sink(folder, num_cameras) as video:
        for n, time_s in enumerate(times_s):
            video.write(
                [fused_frame(c, n, time_s=time_s, preview=picture(grey=30 + 2 * n)) for c in range(num_cameras)]
            )
    return folder / "mosaic.mp4"


def sink(folder: Path, num_cameras: int = 2) -> VideoSink:
    names = [f"cam{n}" for n in range(num_cameras)]
    return VideoSink(folder, names, fps=10, floor_bounds_m=(0, 0, 5, 5), config=OutputConfig())


def frames_of(path: Path) -> list[tuple[float, UInt8]]:
    with av.open(str(path)) as container:
        return [(float(f.time or 0), f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def test_there_is_one_picture_per_tick_at_the_ticks_own_time(tmp_path: Path) -> None:
    times_s = [100.0, 100.1, 100.2, 100.7, 101.033, 101.1]
    path = record(tmp_path, times_s)
    frames = frames_of(path)
    assert np.allclose([time_s for time_s, _ in frames], np.array(times_s) - 100.0, atol=1e-3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width % 2, stream.height % 2) == (0, 0)
        assert stream.width <= 1920
        assert abs(container.duration / av.time_base - 1.2) < 0.05
    assert [p.name for p in tmp_path.iterdir()] == ["mosaic.mp4"]


def test_the_pictures_are_those_of_the_ticks_in_their_colours(tmp_path: Path) -> None:
    for n, (_, image) in enumerate(frames_of(record(tmp_path, [0.0, 0.1, 0.2, 0.3], 1))):
        assert abs(float(np.median(image[100:200, 100:300])) - (30 + 2 * n)) <= 3


def test_the_index_stands_before_the_pictures(tmp_path: Path) -> None:
    data = record(tmp_path, [0.0, 0.1]).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


def test_times_that_stand_still_or_jump_do_not_break_the_file(tmp_path: Path) -> None:
    times_s = [time_s for time_s, _ in frames_of(record(tmp_path, [5.0, 5.0, 4.0, 5.1, 1.7e9, 1.7e9 + 0.1]))]
    assert len(times_s) == 6
    assert all(later > earlier for earlier, later in itertools.pairwise(times_s))
    assert times_s[4] == pytest.approx(3600.1, abs=0.02)
    assert times_s[5] - times_s[4] == pytest.approx(0.1, abs=2e-3)


def test_ctrl_c_leaves_a_whole_video(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), sink(tmp_path) as video:
        for n in range(5):
            video.write([fused_frame(0, n, preview=picture())])
        raise KeyboardInterrupt
    assert len(frames_of(tmp_path / "mosaic.mp4")) == 5


def test_a_failed_run_leaves_a_partial_video_that_plays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sink(tmp_path) as video:
        for n in range(5):
            video.write([fused_frame(0, n, preview=picture())])
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["mosaic.mp4.partial"]
    assert len(frames_of(tmp_path / "mosaic.mp4.partial")) == 5


def test_the_end_of_a_run_without_pictures_adds_none(tmp_path: Path) -> None:
    with sink(tmp_path) as video:
        video.write([fused_frame(0, 0, preview=picture()), fused_frame(1, 0)])
        video.write([fused_frame(0, 1), fused_frame(1, 1)])
        video.write([])
    assert len(frames_of(tmp_path / "mosaic.mp4")) == 1


def test_a_camera_may_change_its_size_midway(tmp_path: Path) -> None:
    with sink(tmp_path, 1) as video:
        for n, size in enumerate([(160, 90), (160, 90), (90, 160), (321, 181), (1, 1)]):
            video.write([fused_frame(0, n, preview=picture(*size))])
    assert len({image.shape for _, image in frames_of(tmp_path / "mosaic.mp4")}) == 1


@pytest.mark.parametrize("fps", [0.0, float("nan"), -1.0])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="ticks per second"):
        VideoSink(tmp_path, ["a"], fps=fps, floor_bounds_m=None, config=OutputConfig())


def test_without_any_picture_there_is_no_file_but_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sink(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert "no camera gave a picture" in caplog.text
