"""`why`: the story of an identity and of two tracklets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.evaluation.text import TableError
from pipeline.why import RunRecord, load_run, why_identity, why_pair
from pipeline.why_text import event_text, identity_text, pair_text
from tests.run_folders import small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return load_run(small_run(tmp_path_factory.mktemp("run")))


def test_an_identity_is_told_with_all_that_made_it(run: RunRecord) -> None:
    story = why_identity(run, 1)
    assert [part["tracklet"] for part in story["tracklets"]] == ["door:1", "hall:1", "door:3"]
    assert [event["kind"] for event in story["events"]] == ["create", "link", "create", "merge"]
    assert story["was"] == [3]
    link = story["events"][1]
    assert link["evidence"] == {"confidence": 0.8, "similarity": 0.81, "gap_s": 1.5, "margin": 6.25}
    text = "\n".join(identity_text(story))
    assert "Identity 1: 3 tracklets in 2 cameras, 0.00 to 7.00 s" in text
    assert "hall:1 joins identity 1" in text
    assert "appearance similarity 0.810, unseen for 1.50 s, confidence 0.800" in text
    assert "runner-up: identity 2, behind by 6.25" in text
    assert "identity 3 is found to be identity 1" in text


def test_who_asks_for_a_merged_identity_gets_the_story_of_the_other(run: RunRecord) -> None:
    story = why_identity(run, 3)
    assert story == why_identity(run, 1) | {"asked_for": 3}
    assert next(identity_text(story)) == "Identity 3 was merged into identity 1; this is the story of 1."


def test_a_split_is_told_on_both_sides(run: RunRecord) -> None:
    assert [event["kind"] for event in why_identity(run, 2)["events"]] == ["create", "split", "close"]
    assert [event["kind"] for event in why_identity(run, 4)["events"]] == ["split"]
    assert "door:2 leaves identity 2: from here on it is identity 4" in "\n".join(identity_text(why_identity(run, 4)))


def test_two_tracklets_of_one_person_are_told_with_what_joined_them(run: RunRecord) -> None:
    story = why_pair(run, "hall:1", "door:3")
    assert story["same"] and story["global_ids"] == [[1], [1]]
    assert [event["kind"] for event in story["events"]] == ["link", "create", "merge"]
    assert "hall:1 and door:3 are the same person." in list(pair_text(story))


def test_two_people_are_told_with_what_spoke_against_it(run: RunRecord) -> None:
    story = why_pair(run, "door:1", "door:2")
    assert not story["same"] and story["global_ids"] == [[1], [2, 4]]
    assert story["reasons"] == [
        "Both are in camera door at once, for 2.00 s: nobody is there twice.",
        "When door:2 was decided, the identity of door:1 was the runner-up, behind by 4.50.",
    ]
    at_once = why_pair(run, "door:2", "hall:1")["reasons"]
    assert at_once[0] == "They are seen at once, for 0.40 s: one person only if the cameras overlap there."
    assert why_pair(run, "hall:7", "door:3")["reasons"][0].startswith("No decision weighed")


def test_further_evidence_is_shown_whatever_its_name() -> None:
    evidence = {"similarity": 0.5, "gap_s": 0.0, "appearance": 3.25, "time": -1.0, "magic": 2.0}
    link = {"kind": "link", "time_s": 1.0, "tracklet": "a:1", "global_id": 2, "evidence": evidence}
    lines = list(event_text(link))
    assert lines[1].strip() == "appearance similarity 0.500, seen at the same time"
    assert lines[2].strip() == "evidence: appearance +3.25, time -1.00, magic +2.00"
    assert lines[3].strip() == "no other identity came into question"


def test_what_is_not_there_is_said(run: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no identity 77; there are 1 to 4"):
        why_identity(run, 77)
    with pytest.raises(TableError, match="no track 5 in camera door"):
        why_pair(run, "door:5", "hall:1")
    with pytest.raises(TableError, match="no camera 'roof'"):
        why_pair(run, "roof:5", "hall:1")
    with pytest.raises(TableError, match="want CAMERA:TRACK"):
        why_pair(run, "door", "hall:1")
    with pytest.raises(TableError, match=r"no events\.jsonl"):
        load_run(tmp_path)


def test_the_command_tells_and_writes_json(run: RunRecord) -> None:
    runner = CliRunner()
    assert "founds identity 1" in runner.invoke(app, ["why", str(run.folder), "1"]).output
    told = json.loads(runner.invoke(app, ["why", str(run.folder), "door:1", "hall:1", "--json", "-"]).output)
    assert told["same"] is True
    assert runner.invoke(app, ["why", str(run.folder), "door:1"]).exit_code == 2
    assert runner.invoke(app, ["why", str(run.folder), "99"]).exit_code == 2
