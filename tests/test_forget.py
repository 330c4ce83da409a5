"""A person is removed from every file of a run; everybody else stays as they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.forget import forget
from pipeline.journal.journal import Journal
from pipeline.saved_state import save_state
from pipeline.sinks.files import OutputError
from pipeline.sinks.report.page import write_report
from pipeline.verify import Limits, SiteFacts, verify
from tests.run_folders import small_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = {"config": {"output": {"count_window_s": 2.0, "visit_gap_s": 3.0}}, "cameras": []}
    small_run(tmp_path / "out", run=run)
    write_report(tmp_path / "out")
    return tmp_path / "out"


def rows(folder: Path, name: str = "global_tracks.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def holds(folder: Path) -> bool:
    return verify(folder, SiteFacts(overlaps=frozenset()), Limits()).holds


@pytest.mark.parametrize("global_id", [1, 2, 4])
def test_a_person_goes_with_all_numbers_and_nobody_else_changes(folder: Path, global_id: int) -> None:
    before = rows(folder)
    done = forget(folder, global_id)
    assert done.is_gone and done.global_ids == ((1, 3) if global_id == 1 else (global_id,))
    assert rows(folder) == [row for row in before if row["global_id"] != str(global_id)]
    for name in ("tracklets.csv", "identities.csv", "transitions.csv"):
        assert all(row["global_id"] != str(global_id) for row in rows(folder, name))
    for text in (folder / "events.jsonl").read_text().splitlines():
        assert not {json.loads(text).get("global_id"), json.loads(text).get("other_id")} & set(done.global_ids)
    for path in (folder / "mot").iterdir():
        assert all(line.split(",")[1] != str(global_id) for line in path.read_text().splitlines())
    assert holds(folder)
    assert sum(trace.num_before for trace in done.traces) > 0
    assert float(rows(folder, "counts.csv")[0]["end_s"]) == 2.0  # counted as the run did


def test_pictures_and_saved_states_go_and_what_can_not_be_edited_is_named(folder: Path) -> None:
    (folder / "sheet-1.png").write_bytes(b"a picture")
    (folder / "mosaic.mp4").write_bytes(b"a film")
    (folder / "notes.doc").write_bytes(b"?")
    with Journal(folder / "journal") as journal:
        journal.append(b"VECTORS of somebody", 1.0)
        journal.snapshot(b"CROPS of somebody", 2.0)
        journal.append(save_state({"finished": True}), 3.0)
    done = forget(folder, 2)
    assert not (folder / "sheet-1.png").exists()
    left = b"".join(path.read_bytes() for path in (folder / "journal").iterdir())
    assert b"VECTORS" not in left and b"CROPS" not in left
    assert {path.name for path, _ in done.left} == {"mosaic.mp4", "notes.doc"}
    assert done.is_gone


def test_vectors_of_the_person_go_and_those_of_others_stay(folder: Path) -> None:
    name = np.array([[0, 1, -1, -1], [0, 2, 0, 0], [1, 1, 2, 3], [1, 7, 0, 0], [0, 3, 0, 0]])
    arrays = {"name": name, "number": np.arange(50.0).reshape(5, 10), "vector": np.eye(5, dtype=np.float16)}
    np.savez_compressed(folder / "association.npz", **arrays)
    done = forget(folder, 1)  # door:1, hall:1 and door:3
    with np.load(folder / "association.npz") as left:
        assert left["name"].tolist() == [[0, 2, 0, 0], [1, 7, 0, 0]]
        assert left["vector"].tolist() == arrays["vector"][[1, 3]].tolist()
    assert [(t.num_before, t.num_after) for t in done.traces if t.path.suffix == ".npz"] == [(3, 0)]
    (folder / "association.npz").write_bytes(b"no zip")
    with pytest.raises(OutputError, match=r"association\.npz"):
        forget(folder, 2)


def test_a_run_that_has_not_finished_is_left_alone(folder: Path) -> None:
    before = (folder / "global_tracks.csv").read_bytes()
    with Journal(folder / "journal") as journal:
        journal.snapshot(save_state({"tick": 3}), 2.0)
    with pytest.raises(OutputError, match="not finished"):
        forget(folder, 1)
    (folder / "journal").rename(folder / "away")
    (folder / "events.jsonl.partial").touch()
    with pytest.raises(OutputError, match="not finished"):
        forget(folder, 1)
    assert (folder / "global_tracks.csv").read_bytes() == before


def test_who_is_nobody_and_what_is_no_run_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nobody has the number 99"):
        forget(folder, 99)
    with pytest.raises(OutputError, match="finished run"):
        forget(tmp_path, 1)


def test_the_command_prints_its_proof_and_a_second_time_finds_nobody(folder: Path) -> None:
    first = CliRunner().invoke(app, ["forget", "1", "--output", str(folder)])
    assert first.exit_code == 0 and "is gone" in first.output and "global_tracks.csv" in first.output
    assert "-> 0  mot/door.txt" in first.output
    second = CliRunner().invoke(app, ["forget", "1", "--output", str(folder)])
    assert second.exit_code != 0


def test_the_last_person_can_be_forgotten_too(folder: Path) -> None:
    for global_id in (1, 2, 4):
        forget(folder, global_id)
    assert {row["global_id"] for row in rows(folder)} == {""} and rows(folder, "identities.csv") == []
