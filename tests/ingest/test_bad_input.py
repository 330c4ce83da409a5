"""What users hand in: each camera fails or ends by itself with a clear message, and the others go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus
from pipeline.ingest.ticks import NoCameraError, TickReader
from tests.ingest.clips import index_of, make_clip, make_folder


@pytest.fixture
def good(tmp_path: Path) -> CameraSpec:
    return CameraSpec(0, "good", str(make_clip(tmp_path / "good.mp4", 12)))


def read_beside(good: CameraSpec, bad: CameraSpec) -> tuple[list[int], list[int], CameraStatus]:
    """Frames of the good camera, of the bad one, and the bad one's status at the end."""
    with TickReader([good, bad]) as reader:
        frames = [f for tick in reader for f in tick.frames]
        status = {s.camid: s for s in reader.status()}
    assert status[good.camid].state == "ended"
    return (
        [f.frame_idx for f in frames if f.camid == good.camid],
        [f.frame_idx for f in frames if f.camid == bad.camid],
        status[bad.camid],
    )


def check_fails(good: CameraSpec, source: Path, *words: str, fps: float | None = None) -> None:
    good_frames, bad_frames, status = read_beside(good, CameraSpec(1, "bad", str(source), fps=fps))
    assert good_frames == list(range(12))
    assert bad_frames == []
    assert status.state == "failed"
    assert all(word in status.message for word in (*words,)), status.message


def test_a_missing_file_fails(good: CameraSpec, tmp_path: Path) -> None:
    check_fails(good, tmp_path / "missing.mp4", "no such file", "missing.mp4", "source")


def test_an_empty_file_fails(good: CameraSpec, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    check_fails(good, tmp_path / "empty.mp4", "is empty (0 bytes)", "empty.mp4")


def test_a_text_file_named_mp4_fails(good: CameraSpec, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    check_fails(good, tmp_path / "text.mp4", "no readable video", "text.mp4")


def test_a_video_cut_before_its_index_fails(good: CameraSpec, tmp_path: Path) -> None:
    data = make_clip(tmp_path / "whole.mp4", 40).read_bytes()  # the index stands at the end
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    check_fails(good, tmp_path / "cut.mp4", "no readable video", "whole")


def test_an_empty_folder_fails(good: CameraSpec, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    check_fails(good, tmp_path / "folder", "no pictures", fps=5)


def test_a_folder_without_fps_fails_and_names_camera_and_key(good: CameraSpec, tmp_path: Path) -> None:
    check_fails(good, make_folder(tmp_path / "folder", 2), "camera bad", "key fps")


def test_a_truncated_video_gives_its_whole_frames_and_ends_with_a_warning(good: CameraSpec, tmp_path: Path) -> None:
    data = make_clip(tmp_path / "whole.mp4", 60, size=(128, 96), options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    with TickReader([good, CameraSpec(1, "cut", str(tmp_path / "cut.mp4"))]) as reader:
        frames = [f for tick in reader for f in tick.frames]
        status = reader.status()[1]
    cut = [f for f in frames if f.camid == 1]
    assert 5 < len(cut) < 55
    assert [index_of(f.image) for f in cut] == [i % 26 for i in range(len(cut))]
    assert [f.frame_idx for f in cut] == list(range(len(cut)))
    assert len(frames) - len(cut) == 12
    assert (status.state, status.num_frames) == ("ended", len(cut))
    assert f"ended early after {len(cut)} of 60" in status.message


@pytest.mark.parametrize("damage", ["no picture at all", "a JPEG cut short", "an empty file"])
def test_a_broken_picture_in_the_middle_of_a_folder_is_left_out_and_counted(
    good: CameraSpec, tmp_path: Path, damage: str
) -> None:
    folder = make_folder(tmp_path / "folder", 6)
    jpeg = make_jpeg(tmp_path)
    data = {"no picture at all": b"\x89PNG nothing", "a JPEG cut short": jpeg[: len(jpeg) // 2], "an empty file": b""}
    (folder / "img4.png").write_bytes(data[damage])
    good_frames, frames, status = read_beside(good, CameraSpec(1, "bad", str(folder), fps=10))
    assert good_frames == list(range(12))
    assert frames == [0, 1, 2, 4, 5]
    assert (status.state, status.num_frames, status.num_broken) == ("ended", 5, 1)
    assert "img4.png" in status.message and "frame 3" in status.message


def make_jpeg(folder: Path) -> bytes:
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(folder / "noise.jpg"), noise)
    return (folder / "noise.jpg").read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_broken_packet_in_a_video_keeps_the_numbers_of_the_others(tmp_path: Path, threads: int) -> None:
    clip = make_clip(tmp_path / "clip.avi", 30, codec="mpeg4")
    data = bytearray(clip.read_bytes())
    movie = data.index(b"movi")
    at = [i for i in range(movie, len(data)) if data[i : i + 4] == b"00dc"][10]  # the header of frame 10's chunk
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = b"\xff" * size
    clip.write_bytes(data)
    with TickReader([CameraSpec(0, "a", str(clip))], IngestConfig(decode_threads=threads)) as reader:
        frames = [f for tick in reader for f in tick.frames]
        (status,) = reader.status()
    assert status.num_broken == 1
    assert [f.frame_idx for f in frames] == [i for i in range(30) if i != 10]
    assert all(f.time_s == pytest.approx(f.frame_idx / 10) for f in frames)


def test_a_crop_outside_fails_that_camera_only_and_names_it(good: CameraSpec) -> None:
    inside = CameraSpec(1, "inside", good.source, crop=(32, 24, 32, 24))
    outside = CameraSpec(2, "outside", good.source, crop=(32, 24, 33, 24))
    with TickReader([inside, outside]) as reader:
        camids = {f.camid for tick in reader for f in tick.frames}
        status = reader.status()
    assert camids == {1}
    assert (status[0].state, status[0].num_frames) == ("ended", 12)
    assert status[1].state == "failed"
    assert "camera outside: crop" in status[1].message and "64x48" in status[1].message


@pytest.mark.parametrize("crop", [(-1, 0, 5, 5), (0, 0, 0, 5)])
def test_a_senseless_crop_is_refused_at_once(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="camera a: crop"):
        CameraSpec(0, "a", "x.mp4", crop=crop)


def test_no_readable_camera_at_all_is_an_error_that_lists_each(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    specs = [
        CameraSpec(0, "hall", str(tmp_path / "missing.mp4")),
        CameraSpec(1, "door", str(tmp_path / "empty.mp4")),
        CameraSpec(2, "gate", "rtsp://admin:S3cr3t@127.0.0.1:1/x"),
        CameraSpec(3, "desk", "97"),
    ]
    with pytest.raises(NoCameraError) as caught, TickReader(specs, IngestConfig(open_timeout_s=2)):
        pass
    text = str(caught.value)
    assert "S3cr3t" not in text
    for words in ("hall: no such file", "door: ", "0 bytes", "gate: cannot open rtsp://***@127.0.0.1:1", "device 97"):
        assert words in text


def test_no_camera_at_all_is_an_error() -> None:
    with pytest.raises(NoCameraError):
        TickReader([]).open()
