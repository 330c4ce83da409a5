"""`verify`: what is checked on a run's folder and on other systems' tracks, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.interchange.readers import read_tracks
from pipeline.interchange.writers import WRITERS
from pipeline.verify import Limits, SiteFacts, Verdict, site_facts, tolerances, verify
from pipeline.yaml_file import ConfigError
from tests.run_folders import small_run

APART = {"cameras": [{"id": "door", "overlaps": []}, {"id": "hall", "overlaps": []}]}


def states(verdict: Verdict) -> dict[str, str]:
    return {c.name: "skipped" if c.skipped else "holds" if c.holds else "broken" for c in verdict.checks}


def test_a_run_holds_and_all_its_files_are_looked_at(tmp_path: Path) -> None:
    folder = small_run(tmp_path, ground=True, run=APART)
    verdict = verify(folder, site_facts(None, folder), Limits())
    assert verdict.holds and (verdict.num_identities, verdict.num_cameras) == (3, 2)
    assert states(verdict) == {
        "once per frame": "holds",
        "one place at once": "holds",
        "possible travel": "skipped",
        "possible speed": "holds",
        "ids never reused": "holds",
        "explained by events": "holds",
    }


def test_what_a_run_was_told_to_allow_is_read_from_its_folder(tmp_path: Path) -> None:
    assert tolerances(None) == tolerances(tmp_path) == (0.0, 0.0)
    file = tmp_path / "run.json"
    for text in ("{", "[]", '{"config": {"fusion": {"simultaneous_s": null}}}', '{"config": null}'):
        file.write_text(text)
        assert tolerances(tmp_path) == (0.0, 0.0)
    file.write_text('{"config": {"fusion": {"simultaneous_s": 0.3, "handover_s": 1.5}}}')
    assert tolerances(tmp_path) == (0.3, 1.5)


def test_a_table_that_somebody_changed_is_no_longer_explained(tmp_path: Path) -> None:
    folder = small_run(tmp_path, run=APART)
    table = folder / "global_tracks.csv"
    lines = table.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if ",hall," in line and ",1,1," in line)
    lines[place] = lines[place].replace(",1,1,", ",2,1,")
    table.write_text("\n".join(lines) + "\n")
    verdict = verify(folder, site_facts(None, folder), Limits())
    assert states(verdict)["explained by events"] == "broken"
    assert f"line {place + 1}: camera hall" in verdict.checks[-1].examples[0]
    assert states(verdict)["one place at once"] == "holds"  # identity 2 had left the door's picture as 4 by then


def test_any_systems_tracks_are_checked_as_far_as_they_go(tmp_path: Path) -> None:
    WRITERS["mot"](read_tracks(small_run(tmp_path / "run")), tmp_path / "mot")
    bare = states(verify(tmp_path / "mot", SiteFacts(), Limits()))
    assert bare["once per frame"] == "holds" and set(bare.values()) == {"holds", "skipped"}
    timed = states(verify(tmp_path / "mot", SiteFacts(overlaps=frozenset()), Limits(), fps=10.0))
    assert timed["one place at once"] == "holds"
    slow = SiteFacts(overlaps=frozenset(), min_travel_s={("door", "hall"): 2.0})
    assert states(verify(tmp_path / "mot", slow, Limits(), fps=10.0))["possible travel"] == "broken"


def test_cams_yaml_says_which_cameras_overlap_and_what_travel_takes(tmp_path: Path) -> None:
    cams = tmp_path / "cams.yaml"
    cams.write_text(
        "cameras:\n"
        "  - {id: door, source: a.mp4, fps: 10, overlaps: [hall]}\n"
        "  - {id: hall, source: b.mp4, offset_s: 2}\n"
    )
    facts = site_facts(cams, None)
    assert facts.overlaps == {frozenset(("door", "hall"))}
    assert facts.fps == {"door": 10.0} and facts.zero_s == {"door": 0.0, "hall": 2.0}


def test_an_old_run_json_makes_calibrated_cameras_overlap(tmp_path: Path) -> None:
    cameras = [{"id": "a", "calibrated": True}, {"id": "b", "calibrated": True}, {"id": "c", "calibrated": False}]
    (tmp_path / "run.json").write_text(json.dumps({"cameras": cameras}))
    assert site_facts(None, tmp_path).overlaps == {frozenset(("a", "b"))}
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ConfigError, match="give --cams"):
        site_facts(None, tmp_path)


def test_the_command_ends_with_1_where_something_is_broken_and_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1,5,0,0,9,9,1\n2,5,0,0,9,9,1\n2,5,3,0,9,9,1\n")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "t.txt")])
    assert result.exit_code == 1
    assert "BROKEN  once per frame      1 times in 3 rows" in result.output
    assert "line 3: camera t, frame 1: id 5 stands there already in line 2" in result.output


def test_the_command_ends_with_0_where_all_holds_and_writes_json(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run", run=APART)
    result = CliRunner().invoke(app, ["verify", str(folder), "--json", str(tmp_path / "v.json")])
    assert result.exit_code == 0 and "BROKEN" not in result.output
    told = json.loads((tmp_path / "v.json").read_text())
    assert told["holds"] is True and len(told["checks"]) == 6 and told["rows"] > 0
    printed = CliRunner().invoke(app, ["verify", str(folder), "--json", "-"])
    assert json.loads(printed.output) == told


def test_the_command_ends_with_2_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "none")]).exit_code == 2
    assert CliRunner().invoke(app, ["verify", str(tmp_path)]).exit_code == 2
