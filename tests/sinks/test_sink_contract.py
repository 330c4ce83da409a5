"""What every sink promises, checked on each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.sink import Sink
from pipeline.sinks.tables import TableSink
from pipeline.sinks.video import VideoSink
from pipeline.types import Event, FusedFrame
from tests.sinks.frames import fused_frame, picture

NAMES = ["a", "b"]
SINKS: dict[str, Callable[[Path], Sink]] = {
    "tables": lambda folder: TableSink(folder, NAMES),
    "video": lambda folder: VideoSink(folder, NAMES, fps=10, floor_bounds_m=None, config=OutputConfig()),
    "all": lambda folder: open_sinks(OutputConfig(), folder, NAMES, video=True, fps=10, floor_bounds_m=(0, 0, 3, 3)),
}


@pytest.fixture(params=SINKS)
def make_sink(request: pytest.FixtureRequest) -> Callable[[Path], Sink]:
    return SINKS[request.param]


def tick(n: int) -> list[FusedFrame]:
    events = [Event("create", n / 10, n + 1, 0, n + 1, confidence=0.5)]
    frame = fused_frame(0, n, track_ids=[n + 1], ground={n + 1: (1, 1)}, known={n + 1: n + 1}, events=events)
    return [fused_frame(1, n, preview=picture()), frame]


def unfinished(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.suffix in (".partial", ".closing")]


def test_a_run_without_ticks_and_ticks_without_frames_are_fine(
    make_sink: Callable[[Path], Sink], tmp_path: Path
) -> None:
    with make_sink(tmp_path) as sink:
        sink.write([])
    with make_sink(tmp_path):
        pass
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_files_get_their_names_when_whole(
    make_sink: Callable[[Path], Sink], tmp_path: Path, error: type[BaseException] | None
) -> None:
    try:
        with make_sink(tmp_path) as sink:
            for n in range(3):
                sink.write(tick(n))
            assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix not in (".partial", ".closing")] == []
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert unfinished(tmp_path) == []
    assert any(tmp_path.iterdir())


def test_a_failed_run_leaves_partial_files_only(make_sink: Callable[[Path], Sink], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a stage failed"), make_sink(tmp_path) as sink:
        sink.write(tick(0))
        raise RuntimeError("a stage failed")
    files = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    assert sorted(files) == sorted(unfinished(tmp_path))


def test_the_same_ticks_leave_the_same_files(make_sink: Callable[[Path], Sink], tmp_path: Path) -> None:
    """To the byte; of a video, whose encoder promises less, the times and what is seen."""
    left = []
    for run in ("one", "two"):
        with make_sink(tmp_path / run) as sink:
            for n in range(4):
                sink.write(tick(n))
        left.append({p.relative_to(tmp_path / run): p for p in (tmp_path / run).rglob("*") if p.is_file()})
    one, two = left
    assert one.keys() == two.keys()
    for name in one:
        if name.suffix != ".mp4":
            assert one[name].read_bytes() == two[name].read_bytes()
            continue
        for (time_s, image), (other_s, other) in zip(pictures(one[name]), pictures(two[name]), strict=True):
            assert time_s == other_s
            assert np.abs(image.astype(int) - other).mean() < 1


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as video:
        return [(frame.time or 0.0, frame.to_ndarray(format="bgr24")) for frame in video.decode(video=0)]


def test_ticks_are_left_as_they_were(make_sink: Callable[[Path], Sink], tmp_path: Path) -> None:
    frames = tick(0)
    before = [(frame.preview.copy(), frame.tracks.xyxy.copy()) for frame in frames]
    with make_sink(tmp_path) as sink:
        sink.write(frames)
    for frame, (preview, xyxy) in zip(frames, before, strict=True):
        assert (frame.preview == preview).all()
        assert (frame.tracks.xyxy == xyxy).all()


def test_one_sink_that_fails_to_close_does_not_keep_the_others_open(tmp_path: Path) -> None:
    sinks = open_sinks(OutputConfig(), tmp_path, NAMES, video=True, fps=10)
    with pytest.raises(Exception, match=r"mosaic\.mp4"), sinks:
        sinks.write(tick(0))
        sinks.log_camera("camera_ended", 1, 0.5)
        (tmp_path / "mosaic.mp4").mkdir()
        (tmp_path / "mosaic.mp4" / "in the way").touch()
    assert (tmp_path / "global_tracks.csv").is_file()
    assert '"camera_ended"' in (tmp_path / "events.jsonl").read_text()
