"""Folders of tracklets, PKU-Reid and PETS2009-style folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reid_train.data import pets2009
from reid_train.data.build import load_split
from reid_train.data.config import TransformConfig
from reid_train.data.images import read_image
from reid_train.data.loading import ScoringClips
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import LabelledTracklet
from tests.reid_train.data import trees
from tests.shared import SHARED, needs_shared

PKU = SHARED / "data" / "pku_reid"
pku = needs_shared("data/pku_reid/001/c1_1.png")
SMALL: dict[str, Any] = {"check_counts": False}


def brief(tracklets: tuple[LabelledTracklet, ...]) -> list[tuple[int, int, int]]:
    return [(t.pid, t.camid, len(t)) for t in tracklets]


def test_tracklet_folders_say_their_camera(tmp_path: Path) -> None:
    trees.write_images(
        tmp_path, [f"train/{p}/c{c}_0001/{f}.jpg" for p in ("10", "2") for c in (1, 3) for f in (1, 2, 10)]
    )
    trees.write_images(tmp_path, ["train/2/c1_0002/1.jpg", "query/7/cam01/1.png", "query/7/0003_c3_x/1.png"])
    trees.write_images(tmp_path, ["gallery/7/c4/a1.jpg", "gallery/-1/c4/a1.jpg"])
    split = load_split("tracklet_folder", tmp_path)
    assert brief(split.train) == [(0, 0, 3), (0, 0, 1), (0, 1, 3), (1, 0, 3), (1, 1, 3)]  # person 2 before 10
    assert [Path(p).name for p in split.train[0].paths] == ["1.jpg", "2.jpg", "10.jpg"]
    assert brief(split.query) == [(7, 0, 1), (7, 1, 1)]
    assert brief(split.gallery) == [(-1, 2, 1), (7, 2, 1)]
    assert (split.num_pids, split.num_cams) == (2, 3)


def test_image_names_say_their_camera_and_tracklet(tmp_path: Path) -> None:
    names = [*(f"p3/c2_{f}.jpg" for f in (1, 2, 10)), "p3/c2_t1_f5.jpg", "p3/c2_t1_f40.jpg", "p3/c1_t12_f1.jpg"]
    trees.write_images(tmp_path, [f"train/{name}" for name in names])
    split = load_split("tracklet_folder", tmp_path)
    assert brief(split.train) == [(0, 0, 1), (0, 1, 3), (0, 1, 2)]
    assert split.query == split.gallery == ()


def test_folders_whose_images_say_the_camera_and_patterns_of_ones_own(tmp_path: Path) -> None:
    trees.write_images(tmp_path, ["train/ann/first/c2_1.jpg", "train/ann/first/c2_2.jpg", "train/bob/first/c1_1.jpg"])
    assert brief(load_split("tracklet_folder", tmp_path).train) == [(0, 1, 2), (1, 0, 1)]  # people without numbers
    trees.write_images(tmp_path / "own", ["train/1/view7-0001.jpg", "train/1/view9-0001.jpg"])
    own = load_split("tracklet_folder", tmp_path / "own", image_pattern=r"view(?P<camera>\d)-\d+")
    assert brief(own.train) == [(0, 0, 1), (0, 1, 1)]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["train/1/photo.jpg"], {}, r"photo\.jpg: the name does not say its camera"),
        (["train/1/walk/photo.jpg"], {}, r"train/1/walk does not say its camera"),
        (["train/1/walk/c1_1.jpg", "train/1/walk/c2_1.jpg"], {}, r"walk holds images of cameras \[1, 2\]"),
        (["query/1/c1_1.jpg"], {}, r"gallery is missing"),
        (["train/1/c1_1.jpg"], {"image_pattern": "("}, "image_pattern"),
        (["train/1/c1_1.jpg"], {"folder_pattern": "x"}, r"no group \(\?P<camera>"),
        (["1/c1_1.jpg"], {"num_folds": 2}, "1 people, too few for 2 folds"),
        (["1/c1_1.jpg", "2/c1_1.jpg"], {"num_folds": 2, "fold": 2}, "fold 2 of 2"),
        (["readme/a.txt.jpg"], {"num_folds": 1}, "does not say its camera"),
    ],
)
def test_folders_that_can_not_be_read_say_why(
    tmp_path: Path, names: list[str], options: dict[str, Any], message: str
) -> None:
    trees.write_images(tmp_path, names)
    with pytest.raises(DataSetError, match=message):
        load_split("tracklet_folder", tmp_path, **options)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="is missing"):
        load_split("tracklet_folder", tmp_path)
    (tmp_path / "train/1/c1").mkdir(parents=True)
    with pytest.raises(DataSetError, match="holds no images; remove it"):
        load_split("tracklet_folder", tmp_path)


def test_expected_counts_of_a_folder_are_checked(tmp_path: Path) -> None:
    trees.write_images(tmp_path, [f"{p}/c{c}_{f}.png" for p in range(4) for c in (1, 2) for f in (1, 2)])
    load_split("tracklet_folder", tmp_path, num_folds=2, expected={"people": 4, "train ids": 2, "query images": 4})
    with pytest.raises(DataSetError, match="people: expected 5, found 4"):
        load_split("tracklet_folder", tmp_path, num_folds=2, expected={"people": 5})


def test_folds_divide_the_people_and_each_tests_once(tmp_path: Path) -> None:
    trees.write_images(
        tmp_path, [f"{p:03d}/c{c}_{f}.png" for p in (4, 8, 15, 16, 23) for c in (1, 2) for f in range(1, 9)]
    )
    folds = [load_split("pku_reid", tmp_path, num_folds=2, fold=k) for k in range(2)]
    assert [[t.pid for t in f.query] for f in folds] == [[4, 15, 23], [8, 16]]
    for fold in folds:
        assert [t.pid for t in fold.query] == [t.pid for t in fold.gallery]
        assert {t.camid for t in fold.query} == {0} and {t.camid for t in fold.gallery} == {1}
        assert fold.num_pids + len(fold.query) == 5
        assert all(len(t) == 8 for t in fold.train)
    alone = load_split("pku_reid", tmp_path, num_folds=1)
    assert alone.train == () and alone.num_pids == 0 and len(alone.query) == 5


def test_pku_with_a_crop_too_few_is_refused(tmp_path: Path) -> None:
    trees.write_images(tmp_path, [f"{p}/c{c}_{f}.png" for p in (1, 2) for c in (1, 2) for f in range(1, 9)])
    (tmp_path / "2/c2_8.png").unlink()
    with pytest.raises(DataSetError, match="people without 8 crops in each camera: expected 0, found 1"):
        load_split("pku_reid", tmp_path, num_folds=2)
    assert len(load_split("pku_reid", tmp_path, num_folds=2, check_counts=False).train) == 2


@pku
def test_the_real_pku_folder_has_50_people_in_5_folds() -> None:
    folds = [load_split("pku_reid", PKU, fold=k) for k in range(5)]
    assert [(f.num_pids, len(f.train), len(f.query), len(f.gallery)) for f in folds] == [(40, 80, 10, 10)] * 5
    tested = [t.pid for f in folds for t in f.query]
    assert len(set(tested)) == 50
    first = folds[0].train[0]
    assert [Path(p).name for p in first.paths] == [f"c1_{k}.png" for k in range(1, 9)]
    assert load_split("tracklet_folder", PKU, num_folds=5, fold=3).train == folds[3].train


MOT = "{},{},{},{},{},{},1,-1,-1,-1\n"


def write_view(
    folder: Path, rows: list[tuple[float, ...]], frames: int = 6, size: tuple[int, int] = (768, 576)
) -> None:
    folder.mkdir(parents=True)
    for frame in reversed(range(frames)):
        pixels = np.full((size[1], size[0], 3), frame, np.uint8)
        Image.fromarray(pixels).save(folder / f"frame_{frame:04d}.png")
    if rows:
        (folder / "gt.txt").write_text("".join(MOT.format(*row) for row in rows))


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pets")
    base = root / "Crowd_PETS09/S2/L1/Time_12-34"
    still = [(f, 4, 100.4, 50, 40, 80) for f in range(1, 7)]
    edge = [(f, 9, -20, 500, 60, 100) for f in (2, 3, 4)]
    gone = [(f, 11, -50, 10, 55, 100) for f in (1, 2, 3, 4)]  # five columns of it are in the picture
    write_view(base / "View_001", [*still, *edge, *gone])
    write_view(base / "View_005", [(f, 4, 10, 10, 30, 60) for f in range(3, 7)], size=(720, 576))
    write_view(base / "View_006", [], size=(720, 576))
    write_view(root / "Crowd_PETS09/S0/L1/Time_13-06/View_001", [])
    return root


def test_pets_people_are_parts_of_frames_and_views_ask_each_other(pets: Path) -> None:
    split = load_split("pets2009", pets, check_counts=False)
    assert brief(split.query) == [(4, 0, 6), (9, 0, 3)]
    assert brief(split.gallery) == [(4, 4, 4)]
    assert split.train == () and split.num_cams == 6
    assert split.query[0].frames == (0, 1, 2, 3, 4, 5) and split.gallery[0].frames == (2, 3, 4, 5)
    assert split.query[0].paths[2].endswith("View_001/frame_0002.png#xywh=100,50,40,80")
    assert split.query[1].paths[0].endswith("frame_0001.png#xywh=0,500,40,76")
    crop = read_image(split.query[0].paths[2])
    assert crop.shape == (80, 40, 3) and set(crop.ravel().tolist()) == {2}
    clip, row = ScoringClips(split.query, TransformConfig(input_hw=(32, 16)), 4)[1]
    assert clip.shape == (4, 3, 32, 16) and row == 1


def test_pets_windows_cut_tracklets(pets: Path) -> None:
    split = load_split("pets2009", pets, window_s=0.57, min_frames=2, check_counts=False)  # 4 frames
    assert [(t.pid, t.frames) for t in split.query] == [(4, (0, 1, 2, 3)), (4, (4, 5)), (9, (1, 2, 3))]


def test_pets_views_are_found_wherever_they_stand(pets: Path) -> None:
    views = pets2009.find_views(pets)
    assert [(v.label, len(v.paths), v.truth is not None) for v in views] == [
        ("S0/L1/Time_13-06/View_001", 6, False), ("S2/L1/Time_12-34/View_001", 6, True),
        ("S2/L1/Time_12-34/View_005", 6, True), ("S2/L1/Time_12-34/View_006", 6, False)]  # fmt: skip
    assert pets2009.find_views(pets / "Crowd_PETS09")[0].label == "S0/L1/Time_13-06/View_001"
    assert round(3 * pets2009.FPS) == 21


def test_pets_incomplete_sequences_and_wrong_sizes_are_refused(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"View_001: expected 795 frames and 19 people, found 6 and 3"):
        load_split("pets2009", pets)
    write_view(tmp_path / "seq/View_002", [(1, 1, 1, 1, 20, 20)], size=(720, 576))
    with pytest.raises(DataSetError, match="View_002 is 720x576, but this view is 768x576"):
        load_split("pets2009", tmp_path)
    with pytest.raises(DataSetError, match=r"no view of sequence 'S9' has tracks.*seq"):
        load_split("pets2009", tmp_path, sequence="S9")
    write_view(tmp_path / "other/View_001", [(9, 1, 1, 1, 20, 20)])
    with pytest.raises(DataSetError, match=r"several sequences have tracks \(other, seq\): give sequence="):
        load_split("pets2009", tmp_path)
    with pytest.raises(DataSetError, match=r"speaks of frame 9, which is not among the 6 images"):
        load_split("pets2009", tmp_path, sequence="other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataSetError, match=r"View_001.*is missing(.*\n)+.*MOT15"):
        load_split("pets2009", tmp_path / "empty")
    write_view(tmp_path / "bare/View_001", [])
    with pytest.raises(DataSetError, match=r"no tracks: PETS2009 belongs in"):
        load_split("pets2009", tmp_path / "bare")


@needs_shared("data/pets_s2l1/vtest.avi", "data/pets_s2l1/gt.txt")
def test_real_pets_frames_in_challenge_layout_hold_people(tmp_path: Path) -> None:
    import cv2

    images = tmp_path / "PETS09-S2L1" / "img1"
    images.mkdir(parents=True)
    video = cv2.VideoCapture(str(SHARED / "data/pets_s2l1/vtest.avi"))
    for number in range(1, 22):
        cv2.imwrite(str(images / f"{number:06d}.jpg"), video.read()[1])
    video.release()
    (tmp_path / "PETS09-S2L1/gt").mkdir()
    lines = (SHARED / "data/pets_s2l1/gt.txt").read_text().splitlines()
    first = [line for line in lines if int(line.split(",")[0]) <= 21]
    (tmp_path / "PETS09-S2L1/gt/gt.txt").write_text("\n".join(first) + "\n")
    with pytest.raises(DataSetError, match=r"PETS09-S2L1/img1: expected 795 frames and 19 people, found 21"):
        load_split("pets2009", tmp_path)
    split = load_split("pets2009", tmp_path, window_s=3.0, check_counts=False)
    people = {int(line.split(",")[1]) for line in first}
    assert {t.pid for t in split.gallery} <= people and len(split.gallery) >= 4
    assert split.query == () and "nobody asks" in split.protocol
    longest = max(split.gallery, key=len)
    assert len(longest) == 21
    crops = [read_image(p) for p in longest.paths]
    assert all(c.shape[0] > 1.4 * c.shape[1] for c in crops)  # a standing person, taller than wide
