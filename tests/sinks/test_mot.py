"""MOTChallenge text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.config import OutputConfig
from pipeline.sinks.mot import file_name, mot_path
from pipeline.sinks.tables import TableSink
from pipeline.types import Event
from tests.sinks.frames import fused_frame

names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=120)


@given(names, names)
def test_different_cameras_have_different_files(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


@given(names)
def test_a_file_name_is_one_part_of_a_path_that_every_file_system_takes(name: str) -> None:
    path = mot_path(Path("out"), name)
    assert path.parent == Path("out/mot")
    assert path.name.isascii()
    assert not path.name.startswith(".")
    assert len(path.name) < 240


def test_plain_names_stay_as_they_are() -> None:
    assert [file_name(name) for name in ("cam0", "lobby-east_2", "a.b")] == ["cam0", "lobby-east_2", "a.b"]


def test_frames_count_from_one_and_ids_are_final(tmp_path: Path) -> None:
    created = Event("create", 0.0, 12, 0, 1)
    with TableSink(tmp_path, ["cam"]) as sink:
        sink.write([fused_frame(0, 0, track_ids=[1])])
        sink.write([fused_frame(0, 3, track_ids=[1], known={1: 4}, events=[created])])
    assert (tmp_path / "mot" / "cam.txt").read_text() == (
        "1,12,40.00,20.00,30.00,80.50,0.9000,-1,-1,-1\n4,12,40.00,20.00,30.00,80.50,0.9000,-1,-1,-1\n"
    )


def test_mot_text_can_be_left_out(tmp_path: Path) -> None:
    assert OutputConfig().mot
    with TableSink(tmp_path, ["cam"], mot=False) as sink:
        sink.write([fused_frame(track_ids=[1])])
    assert not (tmp_path / "mot").exists()
