from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from pipeline.evaluation.loaders import GroundTruthEntry, load_ground_truth
from tests.tiny_site.conftest import SECONDS
from tests.tiny_site.draw import Artist
from tests.tiny_site.site import CAMERAS, Camera
from tests.tiny_site.tiny import LEAST_VISIBILITY, main, write_tiny_site
from tests.tiny_site.world import FPS, walk

NUM_FRAMES = round(SECONDS * FPS)
NAMES = [camera.name for camera in CAMERAS]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]], *columns: str) -> np.ndarray:
    return np.array([[float(row[c]) for c in columns] for row in rows]).reshape(-1, len(columns))


def test_the_same_seed_gives_the_same_bytes(site: Path, tmp_path: Path) -> None:
    write_tiny_site(tmp_path, seed=0, seconds=SECONDS)
    files = sorted(p.relative_to(site) for p in site.rglob("*") if p.is_file())
    assert len(files) == 3 + 3 + 3 + 2
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for file in files:
        assert (site / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_the_command_draws_another_walk_for_another_seed(site: Path, tmp_path: Path) -> None:
    main([str(tmp_path / "new" / "folder"), "--seed", "3", "--seconds", "0.2"])
    one = read(site / "ground_truth/hall-a.csv")[0]
    other = read(tmp_path / "new" / "folder" / "ground_truth/hall-a.csv")[0]
    assert one["frame"] == other["frame"] == "0"
    assert one != other


def test_a_site_shorter_than_a_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter than one frame"):
        write_tiny_site(tmp_path, seconds=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_readable_and_have_their_frames_and_times(site: Path, name: str) -> None:
    with av.open(str(site / f"{name}.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = list(container.decode(stream))
    assert len(frames) == NUM_FRAMES
    assert all((f.width, f.height) == (640, 360) for f in frames)
    np.testing.assert_allclose([f.time for f in frames], np.arange(NUM_FRAMES) / FPS, atol=1e-6)


def test_coded_frames_look_like_the_drawn_ones(site: Path, artists: dict[str, Artist]) -> None:
    moments = list(walk(0, NUM_FRAMES))
    with av.open(str(site / "corridor.mp4")) as container:
        coded = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
    for at in (0, NUM_FRAMES - 1):
        drawn = artists["corridor"].view(moments[at], np.random.default_rng(0)).image
        assert np.abs(coded[at].astype(int) - drawn).mean() < 6.0


@pytest.mark.parametrize("name", NAMES)
def test_ground_truth_is_what_the_camera_shows(site: Path, artists: dict[str, Artist], name: str) -> None:
    rows = read(site / "ground_truth" / f"{name}.csv")
    moments = list(walk(0, NUM_FRAMES))
    assert {row["camera"] for row in rows} == {name}
    for at in (0, NUM_FRAMES // 2, NUM_FRAMES - 1):
        seen = artists[name].view(moments[at], np.random.default_rng(0))
        here = [row for row in rows if int(row["frame"]) == at]
        shown = seen.visibility >= LEAST_VISIBILITY
        assert [int(row["global_id"]) for row in here] == (seen.person[shown] + 1).tolist()
        tlwh = numbers(here, "left", "top", "width", "height")
        np.testing.assert_allclose(
            np.hstack([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]]), seen.full_xyxy[shown], atol=0.06
        )
        np.testing.assert_allclose(numbers(here, "visibility")[:, 0], seen.visibility[shown], atol=1e-3)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.name)
def test_ground_positions_project_to_the_feet_of_the_boxes(site: Path, camera: Camera) -> None:
    """A stride and the lean at the picture's side move the box's foot a little, never far."""
    rows = read(site / "ground_truth" / f"{camera.name}.csv")
    ground = numbers(rows, "ground_x", "ground_y")
    spot, _ = camera.project(np.column_stack([ground, np.zeros(len(ground))]))
    left, top, width, height = numbers(rows, "left", "top", "width", "height").T
    whole = top + height < 359
    assert whole.sum() > 10
    gap = np.abs(np.column_stack([left + width / 2, top + height]) - spot)[whole] / height[whole, None]
    assert np.median(gap, axis=0).max() < 0.08
    assert gap.max() < 0.2


def test_ground_truth_places_a_person_at_one_spot_for_both_hall_cameras(site: Path) -> None:
    a, b = (
        {
            (r["frame"], r["global_id"]): (r["ground_x"], r["ground_y"])
            for r in read(site / f"ground_truth/hall-{c}.csv")
        }
        for c in "ab"
    )
    both = a.keys() & b.keys()
    assert len(both) > 20
    assert all(a[key] == b[key] for key in both)


def test_nobody_is_in_the_hall_and_the_corridor_at_once(site: Path) -> None:
    rooms = [
        {(r["frame"], r["global_id"]) for name in names for r in read(site / "ground_truth" / f"{name}.csv")}
        for names in (("hall-a", "hall-b"), ("corridor",))
    ]
    assert all(rooms)
    assert not rooms[0] & rooms[1]


@pytest.mark.parametrize("name", NAMES)
def test_detections_are_the_truth_with_a_detectors_mistakes(site: Path, name: str) -> None:
    rows, truth = read(site / "detections" / f"{name}.csv"), read(site / "ground_truth" / f"{name}.csv")
    assert list(rows[0]) == ["camera", "frame", "left", "top", "width", "height", "score"]
    assert {row["camera"] for row in rows} == {name}
    assert {int(row["frame"]) for row in rows} <= set(range(NUM_FRAMES))
    assert 0.7 < len(rows) / len(truth) < 1.2
    scores = numbers(rows, "score")
    assert ((scores > 0) & (scores < 1)).all()


def test_the_evaluation_reads_the_ground_truth(site: Path) -> None:
    table = load_ground_truth([GroundTruthEntry(n, site / "ground_truth" / f"{n}.csv") for n in NAMES])
    assert table.cameras == tuple(NAMES)
    assert len(table.frame) == sum(len(read(site / "ground_truth" / f"{n}.csv")) for n in NAMES)


def test_a_drawn_site_brings_configuration_that_names_its_files(site: Path) -> None:
    cameras = yaml.safe_load((site / "cams.yaml").read_text(encoding="utf-8"))
    assert (site / cameras["pipeline"]).is_file()
    for camera in cameras["cameras"]:
        assert (site / camera["source"]).is_file()
        assert (site / camera["ground_truth"]).is_file()
    pipeline = yaml.safe_load((site / "pipeline.yaml").read_text(encoding="utf-8"))
    assert all((site / pipeline["detect"]["model"].format(camera=n)).is_file() for n in NAMES)
    assert pipeline["reid"] == {"model": "colour"}
