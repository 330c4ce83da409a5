"""Rows of a long run in parts: the same tables at the end, whole ones of each hour, and an end to what is too old."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.config import load_pipeline
from pipeline.forget import forget
from pipeline.sinks.files import prepare_output
from pipeline.sinks.recovery import recover
from pipeline.sinks.rotation import Rotation
from pipeline.sinks.tables import TableSink
from pipeline.types import Event, FusedFrame
from pipeline.verify import Limits, SiteFacts, verify
from pipeline.yaml_file import ConfigError
from tests.sinks.frames import fused_frame, rows_of

ZERO_S = 1_763_715_600.0  # 2025-11-21T09:00:00Z
HOURS = ["2025-11-21T09", "2025-11-21T10", "2025-11-21T11", "2025-11-21T12"]
TABLES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")


def ticks(num: int = 48) -> list[list[FusedFrame]]:
    """A tick every five minutes; from a quarter past each hour to that of the next there is one track. The first two
    are found to be one person in the end."""
    made = []
    for tick in range(num):
        events = []
        if tick % 12 == 3:
            events.append(Event("create", 300.0 * tick, tick // 12 + 1, 0, tick // 12 + 1, confidence=0.9))
        if tick == 40:
            events.append(Event("merge", 12_000.0, 1, other_id=2, confidence=0.8))
        there = [tick // 12 + 1] if tick % 12 >= 3 else [tick // 12] if tick >= 12 else []
        made.append([fused_frame(0, tick, time_s=300.0 * tick, track_ids=there, events=events), fused_frame(1, tick)])
    return made


def sink(folder: Path, kept: Mapping[str, int] | None = None, **limits: float) -> TableSink:
    rotation = Rotation(3600, ZERO_S, **limits)
    return TableSink(folder, ("a", "b"), rotation=rotation, kept=kept, resumable=False)


def write(sink: TableSink, made: list[list[FusedFrame]]) -> None:
    for tick in made:
        sink.write(tick)


def holds(folder: Path) -> bool:
    return verify(folder, SiteFacts(overlaps=frozenset()), Limits()).holds


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """What a run without rotation leaves."""
    with TableSink(tmp_path / "whole", ("a", "b")) as one:
        write(one, ticks())
    return tmp_path / "whole"


def test_the_tables_at_the_end_are_those_of_a_run_without_rotation(whole: Path, tmp_path: Path) -> None:
    with sink(tmp_path / "out") as rotated:
        write(rotated, ticks())
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert set(HOURS) <= names and "parts" not in names and not list((tmp_path / "out").rglob("*.partial"))


def test_each_hour_has_whole_tables_with_the_identities_as_known_when_it_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with sink(out) as rotated:
        write(rotated, ticks(26))  # two hours, and ten minutes
        assert not (out / "global_tracks.csv").exists()
        rotated._table._maker.submit(lambda: None).result()  # what was begun is done
        assert {path.name for path in out.iterdir() if path.is_dir()} == {"parts", *HOURS[:2]}
    for hour, first in zip(HOURS[:3], (0, 12, 24), strict=True):
        rows = rows_of(out / hour / "global_tracks.csv")
        assert {int(row["frame"]) // 12 * 12 for row in rows} == {first} and holds(out / hour)
    assert {row["global_id"] for row in rows_of(out / HOURS[1] / "global_tracks.csv")} == {"1", "2"}  # not yet one


def test_hours_that_are_too_old_are_removed_with_their_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with sink(out, retention_s=3600.0) as rotated:
        write(rotated, ticks())
    assert sorted(path.name for path in out.iterdir() if path.is_dir() and path.name[0] == "2") == HOURS[1:]
    assert {int(row["frame"]) // 12 for row in rows_of(out / "global_tracks.csv")} == {1, 2, 3}
    assert holds(out)
    small = tmp_path / "small"
    with sink(small, retention_bytes=1) as rotated:
        write(rotated, ticks())
    assert {int(row["frame"]) // 12 for row in rows_of(small / "global_tracks.csv")} == {3} and holds(small)


@pytest.mark.parametrize("saved_at", [1, 11, 12, 30])
def test_a_run_that_was_killed_goes_on_from_any_part(whole: Path, tmp_path: Path, saved_at: int) -> None:
    out = tmp_path / "out"
    killed = sink(prepare_output(out))
    write(killed, ticks()[:saved_at])
    kept = killed.settle()
    write(killed, ticks()[saved_at:40])
    killed._table.abandon()
    killed.events.abandon()
    with sink(prepare_output(out, go_on=True), kept) as again:
        write(again, ticks()[saved_at:])
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"mot", *HOURS}


def test_what_a_killed_run_has_left_can_be_recovered_also_after_it_was_set_aside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = sink(prepare_output(out))
    write(killed, ticks()[:30])
    killed._table.abandon()
    killed.events.abandon()
    prepare_output(out)
    recover(out / "unfinished-1")
    assert {int(row["frame"]) for row in rows_of(out / "unfinished-1" / "global_tracks.csv")} == set(range(3, 30))
    assert not (out / "unfinished-1" / "parts").exists()


def test_who_is_forgotten_is_forgotten_in_every_hour(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with sink(out) as rotated:
        write(rotated, ticks())
    done = forget(out, 1)  # whom the run took for two people until shortly before its end
    assert done.is_gone and done.global_ids == (1, 2) and not done.left
    for folder in (out, *(out / hour for hour in HOURS)):
        assert not {row["global_id"] for row in rows_of(folder / "global_tracks.csv")} & {"1", "2"} and holds(folder)
    assert {trace.path.parent for trace in done.traces if trace.num_before} >= {
        out,
        *(out / hour for hour in HOURS[:3]),
    }


def test_periods_are_named_by_their_beginning() -> None:
    day = Rotation(86_400, ZERO_S)
    assert day.name_of(0) == "2025-11-21" and day.name_of(15 * 3600.0) == "2025-11-22"
    assert day.ends_s("2025-11-21") == 15 * 3600.0
    assert Rotation(3600, ZERO_S).ends_s(HOURS[0]) == 3600.0
    assert Rotation(3600, 0.0).name_of(-5.0) == "1970-01-01T00"


def test_retention_without_rotation_is_no_setting() -> None:
    with pytest.raises(ConfigError, match="set rotate"):
        load_pipeline(None, ["output.retention_s=3600"])
    assert load_pipeline(None, ["output.rotate=day", "output.retention_s=3600"]).output.rotate == "day"
