"""Live streams, served for real over HTTP on loopback."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import pytest

from pipeline.ingest import clock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.source import SourceError
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import NoCameraError, TickReader
from pipeline.ingest.video import open_stream
from tests.ingest.clips import ClipServer, make_clip

QUICK = IngestConfig(
    tick_s=0.01,
    buffer_frames=64,
    max_wait_s=0.05,
    reconnect_first_s=0.05,
    reconnect_give_up_s=0.12,
    open_timeout_s=5,
    read_timeout_s=1,
)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("streams")
    small = make_clip(folder / "small.ts", 30, codec="mpeg2video")
    large = make_clip(folder / "large.ts", 30, codec="mpeg2video", size=(96, 64))
    return small.read_bytes(), large.read_bytes()


def test_a_stream_that_dies_comes_back_with_another_resolution(
    streams: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ClipServer(streams, seconds_per_clip=0.2) as server:
        url = server.url("admin:S3cr3t@", "?token=S3cr3t&ch=1")
        specs = [CameraSpec(0, "whole", url), CameraSpec(1, "part", url, crop=(0, 0, 64, 48))]
        seen_states = set()
        with TickReader(specs, QUICK) as reader:
            zero_s = reader.clock_zero_s
            frames = []
            for tick in reader:
                frames += tick.frames
                seen_states.add(reader.status()[0].state)
            status = reader.status()
    whole = [f for f in frames if f.camid == 0]
    shapes = [f.image.shape for f in whole]
    assert shapes == sorted(shapes) and set(shapes) == {(48, 64, 3), (64, 96, 3)}
    assert {f.image.shape for f in frames if f.camid == 1} == {(48, 64, 3)}
    assert all(a.time_s < b.time_s and a.frame_idx < b.frame_idx for a, b in pairwise(whole))
    first_of_large = shapes.index((64, 96, 3))
    outage_s = whole[first_of_large].time_s - whole[first_of_large - 1].time_s
    assert outage_s >= QUICK.reconnect_first_s
    assert zero_s is not None and 0 <= whole[0].time_s < time.time() - zero_s
    assert status[0].state == "failed" and "given up" in status[0].message and "404" in status[0].message
    assert status[0].num_reconnects >= 2
    assert (status[0].width, status[0].height) == (96, 64)
    assert whole[-1].frame_idx < status[0].num_frames + status[0].num_dropped <= 60
    assert "pictures changed from 64x48 to 96x64" in caplog.text and "is back" in caplog.text
    assert "S3cr3t" not in caplog.text + repr(status) + repr(specs)


def test_a_crop_that_no_longer_fits_fails_that_camera(streams: tuple[bytes, bytes]) -> None:
    small, large = streams
    with ClipServer([large, small]) as server:
        specs = [CameraSpec(0, "whole", server.url()), CameraSpec(1, "part", server.url(), crop=(30, 0, 66, 64))]
        with TickReader(specs, QUICK) as reader:
            shapes = {(f.camid, f.image.shape) for tick in reader for f in tick.frames}
            status = reader.status()
    assert shapes == {(0, (48, 64, 3)), (0, (64, 96, 3)), (1, (64, 66, 3))}
    assert status[1].state == "failed" and "camera part: crop" in status[1].message and "64x48" in status[1].message


def test_ffmpegs_own_log_lines_and_errors_leak_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    secret = "S3cr3t"
    caplog.set_level(0)
    logging.getLogger("libav").setLevel(1)
    av.logging.set_level(av.logging.DEBUG)
    try:
        with pytest.raises(SourceError) as caught:
            open_stream(f"http://admin:{secret}@127.0.0.1:1/x?password={secret}", QUICK, threads=1)
    finally:
        av.logging.set_level(None)
        logging.getLogger("libav").setLevel(logging.WARNING)
    shown = "".join(traceback.format_exception(caught.value))
    assert "127.0.0.1" in shown
    assert secret not in shown + caplog.text


def test_a_live_camera_that_is_absent_does_not_stop_the_others(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 10, fps=50)
    config = QUICK.model_copy(update={"reconnect_give_up_s": None, "tick_s": None})
    specs = [CameraSpec(0, "absent", "http://127.0.0.1:1/x"), CameraSpec(1, "file", str(clip))]
    with TickReader(specs, config, max_seconds=0.25) as reader:
        frames = [f for tick in reader for f in tick.frames]
        status = reader.status()
    assert [(f.camid, f.frame_idx) for f in frames] == [(1, i) for i in range(10)]
    assert status[0].state == "reconnecting" and "Connection refused" in status[0].message
    assert status[0].num_reconnects >= 1


def test_a_file_beside_a_live_stream_is_played_whole_and_both_share_ticks(
    streams: tuple[bytes, bytes], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 40, fps=50)
    with ClipServer([streams[0]], seconds_per_clip=0.6) as server:
        specs = [CameraSpec(0, "file", str(clip)), CameraSpec(1, "live", server.url())]
        with TickReader(specs, QUICK) as reader:
            ticks = list(reader)
            status = reader.status()
    assert [f.frame_idx for t in ticks for f in t.frames if f.camid == 0] == list(range(40))
    assert status[1].num_frames > 0
    assert all(a.index < b.index for a, b in pairwise(ticks))
    for tick in ticks:
        assert len({f.camid for f in tick.frames}) == len(tick.frames)


def test_waiting_for_a_live_stream_loses_nothing_and_keeps_its_own_times(streams: tuple[bytes, bytes]) -> None:
    config = QUICK.model_copy(update={"policy": "wait", "buffer_frames": 2, "tick_s": None})
    with (
        ClipServer([streams[0]]) as server,
        TickReader([CameraSpec(0, "a", server.url())], config) as reader,
    ):
        times_s = []
        for tick in reader:
            time.sleep(0.002)
            times_s.append(tick.frames[0].time_s)
    assert [t - times_s[0] for t in times_s] == pytest.approx([i / 10 for i in range(len(times_s))], abs=1e-3)
    assert len(times_s) >= 29


def test_a_camera_that_is_read_anew_at_once_goes_on_behind_its_last_picture(
    streams: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_STEP_S", 0.2)  # a burst: times run ahead of the wall clock
    with ClipServer([streams[0]] * 5, seconds_per_clip=0.3) as server:
        specs = [CameraSpec(0, "a", server.url()), CameraSpec(1, "b", server.url())]
        with TickReader(specs, QUICK) as reader:
            frames, num_changes = [], 0
            for tick in reader:
                frames += [f for f in tick.frames if f.camid == 0]
                if len(frames) >= (5, 12, 20)[num_changes]:
                    reader.change([specs[0]], {0})
                    num_changes += 1
                if len(frames) >= 20:
                    break
    assert len(frames) == 20 and all(a.time_s < b.time_s and a.frame_idx < b.frame_idx for a, b in pairwise(frames))


def test_closing_while_a_stream_is_silent_does_not_hang(streams: tuple[bytes, bytes]) -> None:
    with ClipServer([streams[0]], seconds_per_clip=30) as server:
        config = QUICK.model_copy(update={"read_timeout_s": 0.5, "open_timeout_s": 0.5})
        reader = TickReader([CameraSpec(0, "a", server.url())], config)
        opening = threading.Thread(target=lambda: _open_quietly(reader))
        opening.start()
        time.sleep(0.1)
        reader.close()
        opening.join(5)
        assert not opening.is_alive()


def _open_quietly(reader: TickReader) -> None:
    with suppress(NoCameraError):
        reader.open()
