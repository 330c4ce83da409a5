"""What is written: detection sets, ReID sets, films."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.cameras import load_cameras
from pipeline.simulate.drawn import device, jobs
from pipeline.simulate.drawn import reid_set as sets
from pipeline.simulate.drawn.crops import NobodySeenError, random_stroll
from pipeline.simulate.drawn.detection_set import DetectionSetSettings, write_detection_set
from pipeline.simulate.drawn.device import NoDrawingDeviceError
from pipeline.simulate.drawn.files import OutputFolderError, new_folder, partial_folder
from pipeline.simulate.drawn.jobs import run_units
from pipeline.simulate.drawn.optics import camera_at
from pipeline.simulate.drawn.people import random_person
from pipeline.simulate.drawn.places import build_place
from pipeline.simulate.drawn.reid_set import (
    ReidSetSettings,
    draw_group,
    drawing_order,
    track_rows,
    write_info,
    write_reid_set,
)
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.video import VideoSettings, the_moments, the_town, write_video_site
from pipeline.simulate.drawn.walkers import AWAY
from reid_train.data import mars

DETECTION = DetectionSetSettings(frames=3, frames_per_scene=2, most_people=5, seed=3, samples=1)
REID = ReidSetSettings(
    identities=2, test_identities=2, cameras=2, tracklets=1, crops=2, width_px=32, height_px=64, people_per_group=2,
    seed=5, samples=1,
)  # fmt: skip
FILM = VideoSettings(cameras=2, overlapping=2, people=4, seconds=0.4, fps=5, width_px=160, height_px=96, samples=1)


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def detection_set(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("det")
    write_detection_set(folder, DETECTION)
    return folder


@pytest.fixture(scope="module")
def reid_set(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reid")
    write_reid_set(folder, REID)
    return folder


@pytest.fixture(scope="module")
def film(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    write_video_site(folder, FILM)
    return folder


def test_detection_set_is_coco(detection_set: Path) -> None:
    coco = json.loads((detection_set / "annotations.json").read_text())
    assert [image["id"] for image in coco["images"]] == [1, 2, 3]
    for image in coco["images"]:
        pixels = cv2.imread(str(detection_set / image["file_name"]))
        assert pixels is not None and pixels.shape[:2] == (image["height"], image["width"])
    ids = [person["id"] for person in coco["annotations"]]
    assert ids == list(range(1, len(ids) + 1)) and ids
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for person in coco["annotations"]:
        left, top, width, height = person["bbox"]
        assert left >= 0 and top >= 0 and width > 0 and height > 0
        assert left + width <= sizes[person["image_id"]][0] and top + height <= sizes[person["image_id"]][1]
        assert person["category_id"] == 1 and person["iscrowd"] in (0, 1)


def test_the_same_detection_set_has_the_same_bytes_also_from_two_processes(detection_set: Path, tmp_path: Path) -> None:
    write_detection_set(tmp_path / "again", DETECTION, processes=2)
    assert _digest(tmp_path / "again") == _digest(detection_set)


def test_reid_set_is_read_as_mars(reid_set: Path) -> None:
    split = mars.load(reid_set, check_counts=False)
    assert len(split.train) == 4 and len(split.query) == 4 and len(split.gallery) == 4
    assert {t.pid for t in split.query} == {3, 4} and {t.camid for t in split.gallery} == {0, 1}
    assert all(len(t.paths) == 2 for t in (*split.train, *split.gallery))
    image = cv2.imread(split.train[0].paths[0])
    assert image is not None and image.shape == (64, 32, 3)


def test_the_same_reid_set_has_the_same_bytes(reid_set: Path, tmp_path: Path) -> None:
    write_reid_set(tmp_path, REID)
    assert _digest(tmp_path) == _digest(reid_set)


def test_a_set_goes_on_where_it_stopped(reid_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_group = sets.draw_group

    def fails_later(renderer: Renderer, settings: ReidSetSettings, unit: int, folder: Path) -> list[str]:
        if unit == 1:
            raise OSError("disk full")
        return draw_group(renderer, settings, unit, folder)

    monkeypatch.setattr(sets, "draw_group", fails_later)
    with pytest.raises(OSError, match="disk full"):
        write_reid_set(tmp_path / "set", REID)
    part = mars.load(tmp_path / "set", check_counts=False)
    assert len(part.train) == 4 and not part.query  # the set is whole without the others
    (tmp_path / "set" / ".partial-00001").mkdir()  # as a killed run leaves it
    (tmp_path / "set" / "bbox_test" / "0003").mkdir()
    monkeypatch.setattr(sets, "draw_group", draw_group)
    shown: list[tuple[int, int]] = []
    assert write_reid_set(tmp_path / "set", REID, progress=lambda *now: shown.append(now)) == (16, False)
    assert shown == [(2, 2)]
    assert _digest(tmp_path / "set") == _digest(reid_set)


def test_a_set_of_other_settings_is_not_gone_on_with(reid_set: Path) -> None:
    with pytest.raises(OutputFolderError, match="seed 5, not 6"):
        write_reid_set(reid_set, REID.model_copy(update={"seed": 6}))


def test_where_somebody_finds_no_place_the_group_is_drawn_anew(
    renderer: Renderer, reid_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_tracklet, calls = sets.draw_tracklet, iter(range(1000))

    def blind_at_last(*args: Any, **options: Any) -> Any:
        if next(calls) == 3:  # the last tracklet of the group
            raise NobodySeenError("a camera of the shop sees no point where somebody could stand")
        return draw_tracklet(*args, **options)

    monkeypatch.setattr(sets, "draw_tracklet", blind_at_last)
    names = draw_group(renderer, REID, 0, tmp_path)
    assert names == sorted(p.name for p in (tmp_path / "bbox_train").glob("*/*.jpg"))
    assert len(names) == 8
    differs = [(tmp_path / "bbox_train" / n[:4] / n).read_bytes() != (reid_set / "bbox_train" / n[:4] / n).read_bytes()
               for n in names]  # fmt: skip
    assert all(differs)  # other places, also of those who had been drawn


def test_after_many_blind_cameras_the_people_are_named(
    renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(*_: Any, **__: Any) -> Any:
        raise NobodySeenError("a camera sees nothing")

    monkeypatch.setattr(sets, "draw_tracklet", blind)
    monkeypatch.setattr(sets, "_SCENE_DRAWS", 2)
    with pytest.raises(NobodySeenError, match="people 3 to 4: 2 times"):
        draw_group(renderer, REID, 1, tmp_path)


def test_another_seed_is_other_people(reid_set: Path, tmp_path: Path) -> None:
    write_reid_set(tmp_path, REID.model_copy(update={"seed": 6, "test_identities": 0}))
    name = "bbox_train/0001/0001C1T0001F001.jpg"
    assert (tmp_path / name).read_bytes() != (reid_set / name).read_bytes()
    assert not list((tmp_path / "bbox_test").iterdir())


def test_film_is_read_by_the_pipeline_with_its_calibration(film: Path) -> None:
    cameras, _ = load_cameras(film / "cams.yaml")
    town = the_town(FILM)
    assert [camera.name for camera in cameras] == ["square-a", "square-b"]
    points = np.array([[0.0, 0.0], [1.0, -2.0]])
    for camera, true in zip(cameras, town.cameras, strict=True):
        assert camera.ground is not None
        np.testing.assert_allclose(
            camera.ground.to_image(points), true.camera.ground_camera.to_image(points), atol=1e-4
        )


def test_film_has_all_frames_and_truth_of_known_people(film: Path) -> None:
    for name in ("square-a", "square-b"):
        with av.open(str(film / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert len(frames) == 2 and frames[0].shape == (96, 160, 3)
        rows = list(csv.DictReader((film / "ground_truth" / f"{name}.csv").open()))
        assert {int(row["frame"]) for row in rows} <= {0, 1}
        assert {int(row["global_id"]) for row in rows} <= {1, 2, 3, 4}
        moments = the_moments(FILM, the_town(FILM))
        for row in rows:
            where = moments[int(row["frame"])].xy[int(row["global_id"]) - 1]
            assert abs(where[0] - float(row["ground_x"])) < 1e-3 and abs(where[1] - float(row["ground_y"])) < 1e-3


def test_the_same_film_has_the_same_bytes(film: Path, tmp_path: Path) -> None:
    write_video_site(tmp_path, FILM)
    assert _digest(tmp_path) == _digest(film)


def test_people_walk_from_place_to_place_without_jumps() -> None:
    settings = VideoSettings(cameras=3, overlapping=1, people=5, seconds=60.0, fps=5)
    town = the_town(settings)
    moments = the_moments(settings, town)
    where = np.array([moment.place for moment in moments])
    xy = np.array([moment.xy for moment in moments])
    assert all(len(set(where[:, person].tolist()) - {AWAY}) >= 2 for person in range(5)), "all see several places"
    assert (where == AWAY).any(axis=0).any(), "nobody sees them between two places"
    stays = (where[1:] == where[:-1]) & (where[1:] != AWAY)
    steps = np.hypot(*np.diff(xy, axis=0).transpose(2, 0, 1))
    assert steps[stays].max() < 2.2 / settings.fps
    for zone, scene in enumerate(town.zones):
        left, bottom, right, top = scene.place.bounds
        inside = xy[where == zone]
        assert (inside >= (left, bottom)).all() and (inside <= (right, top)).all()


def test_settings_that_can_not_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can not overlap"):
        write_video_site(tmp_path / "a", FILM.model_copy(update={"overlapping": 3}))
    with pytest.raises(ValueError, match="shorter than one frame"):
        write_video_site(tmp_path / "b", FILM.model_copy(update={"seconds": 0.01}))
    with pytest.raises(ValueError, match="9999 people"):
        write_reid_set(tmp_path / "c", REID.model_copy(update={"identities": 9999}))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match="not empty"):
        write_reid_set(tmp_path, REID)
    assert new_folder(tmp_path / "new" / "deep").is_dir()


def test_an_unfinished_unit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lamp"), partial_folder(tmp_path, 3) as partial:
        (partial / "images").mkdir()
        (partial / "images" / "1.jpg").write_bytes(b"half")
        raise RuntimeError("the lamp fell")
    assert not list(tmp_path.iterdir())
    with partial_folder(tmp_path, 3) as partial:
        (partial / "images").mkdir()
        (partial / "images" / "1.jpg").write_bytes(b"whole")
    assert (tmp_path / "images" / "1.jpg").read_bytes() == b"whole"


def _interrupt_at_two(unit: int) -> int:
    if unit == 2:
        raise KeyboardInterrupt
    return unit * unit


def test_an_interruption_keeps_what_was_done() -> None:
    shown: list[tuple[int, int]] = []
    done, interrupted = run_units(_interrupt_at_two, range(5), progress=lambda *now: shown.append(now))
    assert (done, interrupted) == ({0: 0, 1: 1}, True)
    assert shown == [(1, 5), (2, 5)]


def _fail_at_one(unit: int) -> int:
    if unit == 1:
        raise ValueError("unit one")
    return unit


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_unit_raises_is_raised(processes: int) -> None:
    with pytest.raises(ValueError, match="unit one"):
        run_units(_fail_at_one, range(3), processes=processes)


def test_a_set_that_ends_early_has_both_parts() -> None:
    groups = ReidSetSettings(identities=100, test_identities=50, people_per_group=10).groups
    order = drawing_order(groups)
    assert sorted(order) == list(range(15))
    parts = [groups[unit][0] for unit in order[:3]]
    assert set(parts) == {"bbox_train", "bbox_test"}


def test_mars_rows_by_hand(tmp_path: Path) -> None:
    names = [f"0007C{c}T{t:04d}F{f:03d}.jpg" for c, t in ((1, 1), (1, 2), (3, 3)) for f in (1, 2)]
    assert track_rows(names).tolist() == [[1, 2, 7, 1], [3, 4, 7, 1], [5, 6, 7, 3]]
    with pytest.raises(ValueError, match=r"cat\.jpg is no name of MARS"):
        track_rows(["cat.jpg"])
    write_info(tmp_path, [], names)
    from scipy.io import loadmat

    assert loadmat(tmp_path / "query_IDX.mat")["query_IDX"].tolist() == [[1, 3]]


def test_a_camera_that_sees_nobody_says_so() -> None:
    place = build_place("square", np.random.default_rng(0))
    blind = camera_at((0.0, 0.0, 3.0), (0.0, 1.0, 9.0), size_px=(64, 36), fov_deg=20)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="sees no point"):
        random_stroll(place, blind, random_person(rng), 4, rng)


def test_missing_egl_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    moderngl = pytest.importorskip("moderngl")

    def broken(**_: object) -> None:
        raise RuntimeError("libEGL.so not loaded")

    monkeypatch.setattr(moderngl, "create_standalone_context", broken)
    with pytest.raises(NoDrawingDeviceError, match=r"apt-get install libegl1 .*libEGL.so not loaded"):
        device.open_context()


def test_workers_leave_ctrl_c_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.delenv("LP_NUM_THREADS", raising=False)
    try:
        jobs._start_worker()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
