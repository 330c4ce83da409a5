"""Decisions made again from a run's files: the same ones, unless somebody has changed the files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.fusion import reranking
from pipeline.fusion.association_file import KNOWN_FILE, AssociationFileError, load_known, load_tracklets
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.run_json import write_json_atomically
from pipeline.types import EmbeddedFrame
from pipeline.why import RunRecord, load_run, why_identity, why_pair
from pipeline.why_again import decided_again
from pipeline.why_text import event_text, identity_text, pair_text
from tests.fusion import scenes

NAMES = ("door", "hall")
PRIOR = math.log(2) / 2  # what waiting `return_s` costs


def walkers(num_people: int = 6, noise: float = 0.4) -> list[EmbeddedFrame]:
    """People who cross the door's picture one after the other, and that of the hall 8 s later."""
    rng = np.random.default_rng(5)
    people = scenes.look(rng, num_people)
    frames = []
    for index in range(10 * num_people + 40):
        for camid in (0, 1):
            time_s = 0.5 * index
            boxes, clips, ended = {}, [], []
            for person in range(num_people):
                since_s = time_s - 5.0 * person - 8.0 * camid
                if 0 <= since_s <= 4:
                    boxes[person + 1] = scenes.box(20 + 100 * since_s, 200)
                    if since_s % 1 == 0:
                        clips.append((person + 1, scenes.clip(rng, people[person], noise)))
                elif since_s == 4.5:
                    ended.append(person + 1)
            frames.append(scenes.frame(camid, index, time_s, boxes=boxes, clips=clips, ended=ended))
    return frames


def record(folder: Path, frames: list[EmbeddedFrame], **settings: object) -> Path:
    """The files of a run over these frames."""
    config = FusionConfig(**settings)  # type: ignore[arg-type]
    memory = TravelMemory(config, NAMES)
    fuser = build_fuser(config, [None, None], frozenset(), scenes.DIM, memory)
    with open_sinks(OutputConfig(mot=False, report=False), folder, NAMES, video=False, fps=2) as sinks:
        for one, other in zip(frames[::2], frames[1::2], strict=True):
            sinks.write(fuser.step([one, other]))
        sinks.write(fuser.flush())
    memory.save(folder)
    fuser.save(folder, NAMES)
    cameras = [{"id": name, "overlaps": []} for name in NAMES]
    write_json_atomically(
        folder / "run.json", {"config": {"fusion": config.model_dump(mode="json")}, "cameras": cameras}
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return load_run(record(tmp_path_factory.mktemp("run"), walkers()))


def test_every_decision_of_a_run_follows_from_its_files(run: RunRecord) -> None:
    decisions = [place for place, line in enumerate(run.lines) if line["kind"] in ("link", "merge")]
    assert len(decisions) >= 4
    assert all(run.again[place]["same"] for place in decisions)
    assert all(again["same"] for again in run.again.values())
    link = next(line for line in run.lines if line["kind"] == "link")
    again = run.again[run.lines.index(link)]
    parts = sum(link[name] for name in ("appearance", "travel", "motion", "floor"))
    assert again["total"] == pytest.approx(again["prior"] + parts)
    assert again["prior"] == pytest.approx(-0.5 - 0.5 * math.log1p(link["gap_s"] / 10))


@pytest.mark.parametrize(
    ("name", "value"), [("appearance", -3.0), ("confidence", 0.999), ("confidence", 0.2), ("margin", -1.0)]
)
def test_a_changed_event_does_not_follow_any_more(name: str, value: float) -> None:
    line = {
        "kind": "link",
        "time_s": 4.0,
        "global_id": 1,
        "camera": "hall",
        "track_id": 1,
        "other_id": 2,
        "gap_s": 10.0,
        "appearance": 3.0,
        "travel": 0.5,
        "motion": 0.0,
        "floor": 0.0,
        "margin": 4.0,
    }
    total = -0.5 - PRIOR + 3.5
    p_same = 1 / (1 + math.exp(-total) + math.exp(-4.0))
    line["confidence"] = p_same - 0.01  # others beside the runner-up
    again = decided_again([line], FusionConfig())[0]
    assert again["same"]
    assert again["total"] == pytest.approx(total) and again["p_same"] == pytest.approx(p_same)
    assert not decided_again([{**line, name: value}], FusionConfig())[0]["same"]


def test_who_was_founded_in_spite_of_a_sure_candidate_does_not_follow() -> None:
    line = {"kind": "create", "time_s": 4.0, "global_id": 2, "confidence": 0.1, "margin": -2.0}
    again = decided_again([line], FusionConfig())[0]
    assert again["p_same"] == pytest.approx(0.1 * math.exp(2.0))
    assert not again["same"]
    assert decided_again([{**line, "confidence": 0.05}], FusionConfig())[0]["same"]


def test_events_without_evidence_are_not_decided_again() -> None:
    lines = [
        {"kind": "link", "time_s": 4.0, "global_id": 1, "margin": 2.0, "confidence": 0.9},  # made by offline resolution
        {"kind": "split", "time_s": 4.0, "global_id": 2, "other_id": 1},
        {"kind": "close", "time_s": 9.0, "global_id": 1},
    ]
    assert decided_again(lines, FusionConfig()) == {}


def test_two_tracklets_of_one_person_are_joined_again_with_looks_travel_and_runner_up(run: RunRecord) -> None:
    story = why_pair(run, "door:5", "hall:5")
    now = story["compared_now"]
    assert story["same"] and now["earlier"] == "door:5" and now["later"] == "hall:5"
    assert now["possible"] and now["gap_s"] == pytest.approx(4.0)
    assert now["total"] == pytest.approx(now["prior"] + now["appearance"] + now["travel"] + now["motion"])
    assert now["p_same"] > now["needed"] and now["reranked_place"] == 1 and now["similarity"] > 0.7
    assert now["runner_up"] != "door:5" and now["margin"] > 0
    text = "\n".join(pair_text(story))
    assert "re-ranked" in text and "It is the same decision." in text and "made again: prior" in text


def test_decisions_by_reranked_looks_are_made_again_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranking, "_LEAST", 6)
    run = load_run(record(tmp_path, walkers(), reranking=0.5))
    decisions = [line for line in run.lines if line["kind"] in ("link", "merge")]
    assert len(decisions) >= 4 and all(again["same"] for again in run.again.values())
    story = why_pair(run, "door:5", "hall:5")
    now = story["compared_now"]
    assert story["same"] and now["reranked_place"] == 1
    assert run.memory is not None
    looks = np.array([0.5 * now["similarity"] + 0.5 * now["reranked"]])
    assert now["appearance"] == pytest.approx(float(run.memory.mixed.log_odds(looks, across=True)[0]))
    assert now["appearance"] != pytest.approx(
        float(run.memory.calibration.log_odds(np.array([now["similarity"]]), True)[0])
    )


def test_two_people_are_told_apart_again(run: RunRecord) -> None:
    story = why_pair(run, "door:4", "hall:5")
    assert not story["same"] and story["compared_now"]["p_same"] < 0.2
    assert "likelier: door:5" in "\n".join(pair_text(story))
    assert "It is the same decision." in "\n".join(pair_text(story))


def test_an_identity_is_followed_from_tracklet_to_tracklet(run: RunRecord) -> None:
    gid = why_pair(run, "door:3", "hall:3")["global_ids"][0][0]
    story = why_identity(run, gid)
    assert [(step["earlier"], step["later"]) for step in story["compared_now"]] == [("door:3", "hall:3")]
    assert "door:3 -> hall:3, unseen for 4.00 s" in "\n".join(identity_text(story))


def test_the_newest_tracklets_are_kept_and_no_more(tmp_path: Path) -> None:
    record(tmp_path, walkers(), record_capacity=3)
    parts = load_tracklets(tmp_path)
    assert sorted(zip(parts.camid.tolist(), parts.track_id.tolist(), strict=True)) == [(0, 6), (1, 5), (1, 6)]
    assert why_pair(load_run(tmp_path), "door:1", "hall:1")["compared_now"] is None


def test_a_run_that_keeps_nothing_is_told_without_it(tmp_path: Path) -> None:
    record(tmp_path, walkers(2), record_capacity=0)
    run = load_run(tmp_path)
    assert run.memory is None and why_identity(run, 1)["compared_now"] == []
    assert all(again["same"] for again in run.again.values())


def test_damaged_files_are_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path, walkers(2))
    (tmp_path / KNOWN_FILE).write_text(json.dumps({"version": 99}), encoding="utf-8")
    with pytest.raises(AssociationFileError, match=r"association\.json: version 99"):
        load_known(tmp_path)
    assert load_run(tmp_path).memory is None and "association.json" in caplog.text
    (tmp_path / "association.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(AssociationFileError, match=r"association\.npz"):
        load_tracklets(tmp_path)


def test_a_likelier_identity_that_was_not_enough_is_called_so() -> None:
    event = {"kind": "create", "time_s": 1.0, "global_id": 9, "tracklet": "a:1", "other_id": 4}
    text = "\n".join(event_text({**event, "evidence": {"margin": -0.7}}))
    assert "likelier by 0.70, but not by enough: identity 4" in text
