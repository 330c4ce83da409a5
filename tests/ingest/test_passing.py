"""A recording of which the first pictures have been seen gives the others as if all had been decoded."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.ingest.passing import passed_over
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.types import Frame

NUM_FRAMES = 60
FILMS = {
    "closed.mp4": ("libx264", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2", "preset": "veryfast"}),
    "closed.mkv": ("libx264", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=0", "preset": "veryfast"}),
    "open.mp4": ("libx264", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2:open-gop=1"}),
    "refresh.mkv": ("libx264", {"x264-params": "keyint=10:intra-refresh=1:bframes=0", "preset": "veryfast"}),
    "stream.ts": ("libx264", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=0", "preset": "veryfast"}),
    "old.avi": ("mpeg4", {"g": "10"}),
    "pictures.mkv": ("mjpeg", {}),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 255, (96, 400, 3), dtype=np.uint8)
    for name, (codec, options) in FILMS.items():
        with av.open(str(folder / name), "w") as film:
            stream = film.add_stream(codec, rate=10, options={**options, "threads": "1"})
            stream.width, stream.height = 128, 96
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number in range(NUM_FRAMES):
                image = np.ascontiguousarray(wall[:, 3 * number : 3 * number + 128])
                film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            film.mux(stream.encode(None))
    return folder


def frames(path: Path, num_passed: int = 0, fps: float | None = None) -> tuple[list[int], list[Frame]]:
    spec = CameraSpec(0, "a", str(path), fps=fps, num_passed=num_passed)
    with TickReader([spec]) as reader:
        ticks = list(reader)
    return [tick.index for tick in ticks], [frame for tick in ticks for frame in tick.frames]


@pytest.mark.parametrize("name", sorted(FILMS))
@pytest.mark.parametrize("num_passed", [1, 10, 37, 60])
def test_what_comes_behind_is_the_same_to_the_pixel(name: str, num_passed: int, films: Path) -> None:
    expected_ticks, expected = frames(films / name)
    found_ticks, found = frames(films / name, num_passed)
    assert len(expected) == NUM_FRAMES and found_ticks == expected_ticks
    assert [(f.frame_idx, f.time_s) for f in found] == [(f.frame_idx, f.time_s) for f in expected]
    for one, other in zip(found[num_passed:], expected[num_passed:], strict=True):
        assert np.array_equal(one.image, other.image), one.frame_idx
    assert np.array_equal(found[0].image, expected[0].image)


@pytest.mark.parametrize("name", ["closed.mp4", "closed.mkv", "pictures.mkv"])
def test_most_of_what_was_seen_is_not_decoded(name: str, films: Path) -> None:
    passed = passed_over(str(films / name), 37)
    assert passed is not None and len(passed.stamps) >= 20


@pytest.mark.parametrize("name", ["open.mp4", "refresh.mkv"])
def test_where_a_key_picture_is_no_clean_beginning_all_is_decoded(name: str, films: Path) -> None:
    assert passed_over(str(films / name), 37) is None


def test_a_file_that_is_cut_short_is_read_to_the_same_end(films: Path, tmp_path: Path) -> None:
    data = (films / "closed.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: int(0.8 * len(data))])
    expected, found = frames(tmp_path / "cut.mkv")[1], frames(tmp_path / "cut.mkv", 25)[1]
    assert 30 < len(expected) < NUM_FRAMES
    assert [f.frame_idx for f in found] == [f.frame_idx for f in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(found[25:], expected[25:], strict=True))
