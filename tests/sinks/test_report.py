"""report.html: whole, alone, and true to the tables."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.sinks.files import OutputError
from pipeline.sinks.report import figures, learned, svg
from pipeline.sinks.report.page import page, write_report
from pipeline.sinks.report.record import load_record, smoothed
from pipeline.sinks.visits import Stay
from tests.run_folders import small_run
from tests.sinks.test_tables import run as write_run
from tests.sinks.test_visits import STAYS

RUN = {
    "crosscam": "9.9",
    "started_at": "2026-01-01T10:00:00+00:00",
    "wall_s": 4.0,
    "clock_zero_s": 1.7e9,
    "cameras": [
        {"id": "door", "state": "ended", "frames": 80, "dropped": 3, "width": 640, "height": 480, "fps": 10.0},
        {"id": "hall", "state": "failed", "frames": 80, "message": "no answer <b>within</b> 10 s"},
    ],
    "nodes": [{"name": "detect", "wall_s": 2.0, "cpu_s": 1.0, "items": 160}],
}


def drawings(html: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.S)]


def test_a_report_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    path = write_report(small_run(tmp_path, run=RUN))
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    assert "<script" not in html and "http" not in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert not list(tmp_path.glob("*.partial"))


def test_every_drawing_is_well_formed_and_shows_what_the_tables_say(tmp_path: Path) -> None:
    html = page(load_record(small_run(tmp_path, run=RUN)))
    labels = [drawing.get("aria-label") for drawing in drawings(html)]
    assert labels == [
        "people over time",
        "people in each camera over time",
        "where each identity was when",
        "walks between cameras",
        "working time of each stage",
    ]
    titles = [t.text for t in drawings(html)[2].iter("title")]
    assert "identity 1: hall:1, 3.50 to 5.50 s, confidence 0.80" in titles and len(titles) == 5
    assert "door to hall: 1 times, median 1.5 s" in [t.text for t in drawings(html)[3].iter("title")]


def test_words_from_outside_can_not_become_markup(tmp_path: Path) -> None:
    html = page(load_record(small_run(tmp_path, run=RUN)))
    assert "<b>within" not in html and "no answer &lt;b&gt;within" in html


def test_troubles_of_cameras_are_told(tmp_path: Path) -> None:
    html = page(load_record(small_run(tmp_path, run=RUN)))
    assert '<td class="words bad">failed</td>' in html and '<td class="bad">3</td>' in html
    assert "no answer within 10 s" in html  # the event
    assert "2023-11-14 22:13:20 UTC" in html


def test_a_run_without_anything_has_a_report(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    html = page(load_record(tmp_path))
    assert "<b>0</b><span>identities</span>" in html and drawings(html) == []


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no tracklets\.csv"):
        write_report(tmp_path)


def test_learned_times_stand_beside_the_measured_ones(tmp_path: Path) -> None:
    folder = small_run(tmp_path)
    pair = {"from": "door", "to": "hall", "bins": [3, 4], "counts": [1.0, 3.0]}
    (folder / "transitions.json").write_text(
        json.dumps({"version": 1, "bin_width": 0.5, "num_bins": 100, "sigma_bins": 1.0, "pairs": [pair]})
    )
    record = load_record(folder)
    learned = record.learned["door", "hall"]
    assert learned.bin_width_s == 0.5 and np.argmax(learned.share) == 4
    assert learned.share.sum() == pytest.approx(1.0, abs=0.01)
    assert "learned by the association" in figures.travel_curves(record)
    (folder / "transitions.json").write_text("{}")
    assert load_record(folder).learned == {}


def test_smoothing_keeps_the_whole() -> None:
    share = np.zeros(21)
    share[10] = 1.0
    assert smoothed(share, 2.0).sum() == pytest.approx(1.0)
    assert smoothed(share, 2.0)[10] == pytest.approx(0.2, abs=0.01)
    assert (smoothed(share, 0.0) == share).all()


def test_a_large_site_is_cut_to_what_can_be_seen_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cameras = [f"cam{i:03}" for i in range(120)]
    stays = []
    for gid in range(1, 401):
        at_s, camera = rng.uniform(0, 900), int(rng.integers(120))
        for _ in range(3):
            stays.append(Stay(gid, cameras[camera], at_s, at_s + 5))
            camera, at_s = (camera + 1) % 120, at_s + 12
    write_tables(tmp_path, stays)
    html = page(load_record(tmp_path))
    assert "Of 120 cameras the 80 with most people." in html
    assert "60 of 400 identities" in html
    assert "The 30 busiest of 120 cameras." in html
    assert len(html) < 600_000 and len(drawings(html)) == 5


@settings(max_examples=25, deadline=None)
@given(stays=STAYS)
def test_any_run_has_a_well_formed_report(stays: list[Stay], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    write_tables(folder, stays)
    html = page(load_record(folder))
    assert len(drawings(html)) >= (2 if stays else 0)
    assert "nan" not in html and "inf" not in html


def write_tables(folder: Path, stays: list[Stay]) -> None:
    """The tables of a run whose tracklets are these stays."""
    from pipeline.sinks.visits import counts_of, transitions_of, visits_of

    def table(name: str, head: str, rows: list[str]) -> None:
        (folder / name).write_text("\n".join([head, *rows]) + "\n")

    visits = visits_of(stays, 3.0)
    table(
        "tracklets.csv",
        "camera,track_id,global_id,first_s,last_s,num_frames,confidence",
        [f"{s.camera},{i},{s.global_id},{s.first_s},{s.last_s},50,0.9" for i, s in enumerate(stays)],
    )
    table(
        "identities.csv",
        "global_id,first_s,last_s,cameras,num_cameras,num_tracklets,num_frames",
        [f"{gid},{min(s.first_s for s in own)},{max(s.last_s for s in own)},x,3,3,150" for gid, own in _people(stays)],
    )
    table(
        "transitions.csv",
        "global_id,from,to,left_s,arrived_s,travel_s",
        [f"{t[0]},{t[1]},{t[2]},{t[3]},{t[4]},{t[4] - t[3]}" for t in transitions_of(visits)],
    )
    table(
        "counts.csv",
        "start_s,end_s,camera,present,entered,distinct",
        [
            f"{c.start_s},{c.start_s + 3},{c.camera},{c.present},{c.entered},{c.distinct}"
            for c in counts_of(visits, 3.0)
        ],
    )


def _people(stays: list[Stay]) -> list[tuple[int, list[Stay]]]:
    return [(gid, [s for s in stays if s.global_id == gid]) for gid in sorted({s.global_id for s in stays})]


@pytest.mark.parametrize(
    ("time_s", "words"), [(0.0, "0:00"), (7.4, "0:07"), (754.0, "12:34"), (11_100.0, "3:05:00"), (-5.0, "-0:05")]
)
def test_times_are_written_as_a_clock(time_s: float, words: str) -> None:
    assert svg.clock_text(time_s) == words


@pytest.mark.parametrize(("least", "step"), [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (34.0, 50.0), (0.05, 0.05)])
def test_steps_of_an_axis_are_round(least: float, step: float) -> None:
    assert svg.nice_step(least) == pytest.approx(step)


KNOWN = {
    "version": 1,
    "least_confidence": 0.42,
    "similarity": {
        "different_within": {"mean": 0.6, "std": 0.1},
        "different_across": {"mean": 0.5, "std": 0.1},
        "same": {"mean": 0.9, "std": 0.04},
        "shift": {"mean": 0.25, "std": 0.1},
    },
    "learned_floor": [
        {
            "cameras": ["door", "hall"],
            "used": True,
            "num_people": 9,
            "num_confirmed": 8,
            "gain": 7.1,
            "explained": 0.71,
            "explained_by_chance": 0.18,
            "residual_heights": 0.12,
            "residual_m": None,
        },
        {"cameras": ["hall", "yard"], "used": False, "reason": "nothing <fits>"},
    ],
}


def test_uniforms_are_told_in_the_report() -> None:
    humps = {"share": [0.6, 0.4], "mean": [0.5, 0.75], "std": [0.05, 0.05]}
    known = {"similarity": {**KNOWN["similarity"], "humps_across": humps}}
    assert "40 % of the pairs as wearers of one uniform are" in learned.looks_note(known)
    assert "uniform" not in learned.looks_note(KNOWN) and "uniform" not in learned.looks_picture(KNOWN)
    assert learned.looks_picture(known) != learned.looks_picture(KNOWN)
    damaged = {"similarity": {**KNOWN["similarity"], "humps_across": {"share": [1.0]}}}
    assert learned.looks_note(damaged) == learned.looks_picture(damaged) == ""


def test_what_the_association_learned_is_shown_for_each_pair_of_cameras(tmp_path: Path) -> None:
    folder = small_run(tmp_path, run=RUN)
    (folder / "association.json").write_text(json.dumps(KNOWN), encoding="utf-8")
    html = page(load_record(folder))
    assert "similarity of looks" in [drawing.get("aria-label") for drawing in drawings(html)]
    # Different people 0.5 +- 0.1, one person in two cameras 0.8 +- 0.05: 2.7 deviations apart.
    assert "than two people in about 100 of 100 cases." in html and "had to be 42 % probable" in html
    words = re.findall(r"<td[^>]*>(.*?)</td>", html)
    at = words.index("door · hall")
    assert words[at : at + 9] == ["door · hall", "in use", "9", "8", "7.1×", "71 %", "18 %", "0.12 h", ""]
    at = words.index("hall · yard")
    assert words[at : at + 9] == ["hall · yard", "none", *[""] * 6, "nothing &lt;fits&gt;"]


def test_looks_that_tell_nobody_apart_are_called_so(tmp_path: Path) -> None:
    folder = small_run(tmp_path)
    alike = {**KNOWN["similarity"], "same": {"mean": 0.52, "std": 0.1}}  # type: ignore[dict-item]
    (folder / "association.json").write_text(json.dumps({**KNOWN, "similarity": alike}), encoding="utf-8")
    assert "clothes tell people apart badly here" in page(load_record(folder))


def test_a_report_without_what_was_learned_has_no_word_of_it(tmp_path: Path) -> None:
    html = page(load_record(small_run(tmp_path)))
    assert "How looks tell" not in html and "Floors between" not in html
