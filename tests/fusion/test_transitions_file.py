"""Travel times from run to run, and those given by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cameras import load_cameras, load_given_travel
from pipeline.cli import app
from pipeline.config import load_pipeline
from pipeline.factories import FuseFactory
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.transitions import TransitionsFileError, estimate, load_transitions, save_transitions
from pipeline.fusion.travel import GivenTravel, TravelModel
from pipeline.fusion.travel_file import load_travel, save_travel
from pipeline.fusion.zones import NUM_ZONES, Zones
from pipeline.sinks.report.figures import travel_curves
from pipeline.sinks.report.record import load_record
from pipeline.types import EmbeddedFrame
from pipeline.yaml_file import ConfigError
from tests.fusion.scenes import DIM, look, of_track, resolve, walk

NAMES = ["door", "hall", "yard / back"]


def learned() -> tuple[TravelModel, Zones]:
    """People walk from door to hall in about 5 s and to the yard in about 20 minutes; others come by chance."""
    rng = np.random.default_rng(4)
    travel, zones = TravelModel(3, 200.0), Zones(3)
    zones.see(0, np.array([[0, 10, 600, 400]], np.float32))
    zones.see(1, np.array([[5, 20, 300, 200]], np.float32))
    for goal, mean_s, number in ((1, 5.0, 40), (2, 1200.0, 20)):
        for travel_s in rng.normal(mean_s, 0.1 * mean_s, number):
            travel.arrive(goal * NUM_ZONES + 1)
            start, times_s = np.array([2, 3]), np.array([travel_s, 3 * travel_s])
            travel.learn(start, goal * NUM_ZONES + 1, times_s, np.array([0.9, 0.06]))
    return travel, zones


def said(travel: TravelModel, order: tuple[int, int, int] = (0, 1, 2)) -> np.ndarray:
    """What a model says of all zones and many times; `order`: the camids of NAMES."""
    place = np.array(order)[:, None] * NUM_ZONES + np.arange(NUM_ZONES)
    start, goal, times_s = np.meshgrid(place.ravel(), place.ravel(), np.geomspace(0.5, 5000, 30), indexing="ij")
    return travel.log_odds(start.ravel(), goal.ravel(), times_s.ravel())


def restored(path: Path, names: list[str]) -> tuple[TravelModel, Zones]:
    travel, zones = TravelModel(len(names), 200.0), Zones(len(names))
    load_travel(path, names, travel, zones, 200.0)
    return travel, zones


def test_what_was_learned_comes_back_as_it_was(tmp_path: Path) -> None:
    travel, zones = learned()
    save_travel(tmp_path / "t.json", NAMES, travel, zones)
    again, zones_again = restored(tmp_path / "t.json", NAMES)
    assert np.abs(said(travel)).max() > 1
    np.testing.assert_allclose(said(again), said(travel), atol=1e-6)
    assert zones_again.borders(0) == zones.borders(0) == (0, 10, 600, 400)
    assert zones_again.borders(2) == zones.borders(2)
    save_travel(tmp_path / "u.json", NAMES, again, zones_again)
    assert (tmp_path / "u.json").read_text() == (tmp_path / "t.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.json", "u.json"]


def test_cameras_may_be_reordered_and_added(tmp_path: Path) -> None:
    travel, zones = learned()
    save_travel(tmp_path / "t.json", NAMES, travel, zones)
    again, zones_again = restored(tmp_path / "t.json", ["new", NAMES[2], NAMES[0], NAMES[1]])
    np.testing.assert_allclose(said(again, (2, 3, 1)), said(travel), atol=1e-6)
    assert zones_again.borders(2) == zones.borders(0)


def test_a_camera_that_is_not_there_is_named(tmp_path: Path) -> None:
    save_travel(tmp_path / "t.json", NAMES, *learned())
    with pytest.raises(TransitionsFileError, match=r"t\.json: there is no camera 'hall', only door, holl, yard"):
        restored(tmp_path / "t.json", ["door", "holl", NAMES[2]])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1, "pairs": [{"from": 1}]}', '{"version": 7, "pairs": []}']
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(TransitionsFileError, match=r"t\.json"):
        restored(tmp_path / "t.json", NAMES)
    with pytest.raises(TransitionsFileError, match="no such file"):
        restored(tmp_path / "nowhere.json", NAMES)


@pytest.mark.parametrize("change", [{"bin_u": 0.1}, {"zones": {}}, {"version": 2}, {"borders": {"door": [1]}}])
def test_a_broken_part_is_refused_by_name(tmp_path: Path, change: dict[str, object]) -> None:
    save_travel(tmp_path / "t.json", NAMES, *learned())
    document = json.loads((tmp_path / "t.json").read_text())
    document["learned"] |= change
    (tmp_path / "t.json").write_text(json.dumps(document))
    with pytest.raises(TransitionsFileError, match=r"t\.json"):
        restored(tmp_path / "t.json", NAMES)


def test_other_readers_see_seconds_per_pair_of_cameras(tmp_path: Path) -> None:
    save_travel(tmp_path / "transitions.json", NAMES, *learned())
    transitions = load_transitions(tmp_path / "transitions.json", NAMES)
    width_s = transitions.histogram.bin_width
    middle_s = (np.arange(transitions.histogram.num_bins) + 0.5) * width_s
    assert middle_s[transitions.density(1, 0).argmax()] == pytest.approx(5.0, abs=1.5)
    late = transitions.density(2, 0)
    assert middle_s[np.searchsorted(np.cumsum(late), 0.5 * late.sum())] == pytest.approx(1200, rel=0.15)
    assert transitions.histogram.count[0].sum() == pytest.approx(0.96 * 40 * 0.93, rel=0.1)
    assert (tmp_path / "transitions.json").stat().st_size < 500_000


def test_the_report_draws_it(tmp_path: Path) -> None:
    save_travel(tmp_path / "transitions.json", NAMES, *learned())
    (tmp_path / "tracklets.csv").write_text("camera,track_id,global_id,first_s,last_s,num_frames,confidence\n")
    (tmp_path / "identities.csv").write_text("global_id,first_s,last_s,num_cameras,num_frames\n")
    record = load_record(tmp_path)
    assert set(record.learned) == {("door", "hall"), ("door", "yard / back")}
    share = record.learned["door", "hall"]
    assert (share.share.argmax() + 0.5) * share.bin_width_s == pytest.approx(5.0, abs=1.5)
    assert "learned by the association" in travel_curves(record)


def test_nothing_learned_can_be_saved_and_read(tmp_path: Path) -> None:
    save_travel(tmp_path / "t.json", NAMES, TravelModel(3, 200.0), Zones(3))
    travel, _ = restored(tmp_path / "t.json", NAMES)
    np.testing.assert_allclose(said(travel), 0.0, atol=1e-9)


def test_times_estimated_from_labelled_tracks_are_a_beginning(tmp_path: Path) -> None:
    pids, camids = np.arange(600).repeat(2), np.tile([0, 1], 600)
    times_s = 100.0 * pids + 8.0 * camids
    transitions = estimate(pids, camids, times_s, num_cams=2, bin_width=1.0, num_bins=600, sigma_bins=1.0)
    save_transitions(transitions, tmp_path / "t.json", NAMES[:2])
    travel, _ = restored(tmp_path / "t.json", NAMES)
    start, goal = np.full(2, 1), np.full(2, NUM_ZONES + 1)
    eight, sixty = travel.log_odds(start, goal, np.array([8.0, 60.0]))
    assert eight > 1 and sixty < -1
    ((_, _, count),) = travel.cameras.pairs()
    assert count.sum() == pytest.approx(200.0)


# In a run


def crossings(num: int, twins: bool = False) -> list[EmbeddedFrame]:
    """People who walk from camera 0 to camera 1 in 8 s, one after the other."""
    rng = np.random.default_rng(5)
    people = look(rng, 1 if twins else num).repeat(num if twins else 1, axis=0)
    items = []
    for turn in range(num):
        start = 30.0 * turn
        items += walk(0, turn + 1, [start, start + 0.5, start + 1.0], people[turn], rng)
        items += walk(1, turn + 1, [start + 9.0, start + 9.5, start + 10.0], people[turn], rng)
    return sorted(items, key=lambda item: item.time_s)


def test_a_run_leaves_what_it_learned_and_the_next_one_goes_on_with_it(tmp_path: Path) -> None:
    factory = FuseFactory(FusionConfig(), (None, None), frozenset(), DIM, ("door", "hall"), folder=tmp_path)
    stage = factory()
    for item in crossings(12):
        stage([item])
    assert not (tmp_path / "transitions.json").exists()
    stage.flush()
    memory = TravelMemory(FusionConfig(transitions="transitions.json"), ("door", "hall"), base_dir=tmp_path)
    transits = {pair[:2]: pair[2].sum() for pair in memory.travel.cameras.pairs()}
    assert transits[0, 1] > 6
    with pytest.raises(TransitionsFileError, match="no camera 'hall'"):
        FuseFactory(
            FusionConfig(transitions="transitions.json"), (None, None), frozenset(), DIM, ("door", "h"), (), tmp_path
        )()


def test_a_folder_that_is_gone_costs_a_warning_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = FuseFactory(FusionConfig(), (None,), frozenset(), DIM, ("door",), folder=tmp_path / "gone")()
    with caplog.at_level(logging.WARNING):
        assert stage.flush() == []
    assert "could not be saved" in caplog.text


def test_nobody_is_faster_than_the_law(tmp_path: Path) -> None:
    """The same person, eight seconds later in the other camera: one identity, unless that takes ten."""

    def ids(*given: GivenTravel) -> tuple[set[int], set[int]]:
        config = FusionConfig()
        fuser = build_fuser(config, [None, None], frozenset(), DIM, TravelMemory(config, NAMES[:2], given))
        fused = [frame for item in crossings(1) for frame in fuser.step([item])] + fuser.flush()
        table = resolve(fused)
        return of_track(table, 0, 1), of_track(table, 1, 1)

    for allowed in (ids(), ids(GivenTravel(0, 1, min_s=7.9)), ids(GivenTravel(1, 0, min_s=10.0))):
        assert allowed[0] == allowed[1]
    barred = ids(GivenTravel(0, 1, min_s=10.0))
    assert barred[0] != barred[1]


# cams.yaml


def given_of(folder: Path, transitions: str, extra: str = "") -> tuple[GivenTravel, ...]:
    path = folder / "cams.yaml"
    path.write_text(f"cameras:\n  - {{id: door, source: a.mp4}}\n  - {{id: hall, source: b.mp4{extra}}}\n{transitions}")
    cameras, _ = load_cameras(path)
    return load_given_travel(path, cameras)


def test_travel_times_are_given_in_cams_yaml(tmp_path: Path) -> None:
    text = "transitions:\n  - {from: hall, to: door, min_s: 4, mean_s: 10, max_s: 30}\n"
    text += "  - {from: door, to: hall, min_s: 3}\n"
    back, forth = given_of(tmp_path, text)
    assert back == GivenTravel(1, 0, 4.0, 10.0, 30.0)
    assert (forth.from_camid, forth.to_camid, forth.min_s) == (0, 1, 3.0) and np.isnan(forth.mean_s)
    assert given_of(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            "{from: dor, to: hall, min_s: 3}",
            r"cams\.yaml:5: transitions\[0\]\.from: no camera 'dor', did you mean door",
        ),
        ("{from: door, to: hull, min_s: 3}", r"transitions\[0\]\.to: no camera 'hull', did you mean hall"),
        ("{from: door, to: hall, min: 3}", r"transitions\[0\]\.min: unknown key, did you mean min_s"),
        ("{form: door, to: hall, min_s: 3}", r"transitions\[0\]\.form: unknown key, did you mean from"),
        ("{from: door, to: hall}", r"transitions\[0\]: give at least one of min_s"),
        ("{from: door, to: hall, min_s: 9, mean_s: 3}", r"transitions\[0\]: min_s is 9 and so above mean_s, 3"),
        ("{from: door, to: hall, min_s: -1}", r"transitions\[0\]\.min_s: .*greater than or equal to 0"),
        ("{from: door, to: door, min_s: 1}", r"transitions\[0\]\.min_s: makes no sense for one camera"),
        ("{from: door, to: hall, mean_s: 1}\n  - {from: door, to: hall, max_s: 1}", r"transitions\[1\]: .*given twice"),
    ],
)
def test_errors_name_the_key_and_the_remedy(tmp_path: Path, entries: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        given_of(tmp_path, f"transitions:\n  - {entries}\n")


def test_a_least_time_between_overlapping_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="makes no sense for cameras that overlap"):
        given_of(tmp_path, "transitions: [{from: door, to: hall, min_s: 3}]\n", ", overlaps: [door]")


def test_a_file_typed_at_the_prompt_is_relative_to_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transitions.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    config = load_pipeline(None, ["fusion.transitions=transitions.json"])
    assert Path(config.fusion.transitions) == tmp_path / "transitions.json"


# The commands


def command(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["transitions", *map(str, words)])
    return result.exit_code, result.output


def test_show_tells_how_long_people_take(tmp_path: Path) -> None:
    save_travel(tmp_path / "transitions.json", NAMES, *learned())
    code, told = command("show", tmp_path)
    assert code == 0
    first, second = told.splitlines()[1:3]
    assert first.startswith("door") and "hall" in first and "yard / back" in second
    assert float(first.split()[-4]) == pytest.approx(5.0, abs=1.0)


def test_plot_draws_svg_and_png(tmp_path: Path) -> None:
    save_travel(tmp_path / "transitions.json", NAMES, *learned())
    assert command("plot", tmp_path)[0] == 0
    drawn = (tmp_path / "transitions.svg").read_text()
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"') and "door" in drawn and "<polyline" in drawn
    assert command("plot", tmp_path / "transitions.json", "-o", tmp_path / "t.png")[0] == 0
    image = cv2.imread(str(tmp_path / "t.png"))
    assert image is not None and image.shape == (2 * 186, 4 * 360, 3) and (image != 255).any()


def test_errors_of_the_commands_are_told(tmp_path: Path) -> None:
    assert command("show", tmp_path)[0] == 2
    save_travel(tmp_path / "transitions.json", NAMES, TravelModel(3, 200.0), Zones(3))
    assert "no travel times" in command("show", tmp_path)[1]
    assert command("plot", tmp_path)[0] == 2
    save_travel(tmp_path / "transitions.json", NAMES, *learned())
    assert command("plot", tmp_path, "-o", tmp_path / "t.gif")[0] == 2


def test_estimate_measures_labelled_tracks_and_a_run_can_begin_with_it(tmp_path: Path) -> None:
    rows = ["camera,frame,time_s,global_id,left,top,width,height"]
    for person in range(1, 41):
        for camera, start in (("door", 100.0 * person), ("hall", 100.0 * person + 12.0)):  # 4 s in view, 8 s away
            rows += [f"{camera},{int(start) + i},{start + i},{person},0,0,10,20" for i in range(5)]
    (tmp_path / "labelled.csv").write_text("\n".join(rows) + "\n")
    assert command("estimate", tmp_path / "labelled.csv", "-o", tmp_path / "t.json")[0] == 0
    transitions = load_transitions(tmp_path / "t.json", NAMES)
    assert transitions.density(1, 0).argmax() == 16 and not transitions.row[0, 1]  # half seconds
    travel, _ = restored(tmp_path / "t.json", NAMES)
    assert travel.log_odds(np.array([0]), np.array([NUM_ZONES]), np.array([8.0]))[0] > 1
    assert command("estimate", tmp_path / "labelled.csv", "-o", tmp_path / "m.json", "--mean-times")[0] == 0
    assert load_transitions(tmp_path / "m.json", NAMES).density(1, 0).argmax() in (23, 24)
