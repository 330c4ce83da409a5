"""cams.yaml and pipeline.yaml: what loads, and what every error says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cameras import load_cameras, overlapping_pairs
from pipeline.config import load_pipeline
from pipeline.yaml_file import ConfigError


def cams(folder: Path, text: str) -> Path:
    path = folder / "cams.yaml"
    path.write_text(text)
    return path


def error_of(folder: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_cameras(cams(folder, text), environ)
    return str(caught.value)


def test_paths_are_relative_to_the_yaml_and_streams_are_left_alone(tmp_path: Path) -> None:
    text = "cameras:\n- {id: a, source: clips/a.mp4}\n- {id: b, source: 'rtsp://host/1'}\n- {id: 3, source: 0}\n"
    cameras, pipeline = load_cameras(cams(tmp_path, text))
    assert [c.source for c in cameras] == [str(tmp_path / "clips/a.mp4"), "rtsp://host/1", "0"]
    assert [c.name for c in cameras] == ["a", "b", "3"]
    assert pipeline is None


def test_passwords_come_from_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    path = cams(tmp_path, "cameras:\n- {id: door, source: 'rtsp://admin:${PW}@10.0.0.1/ch1'}\n")
    (camera,), _ = load_cameras(path, {"PW": "s3cret"})
    assert camera.source == "rtsp://admin:s3cret@10.0.0.1/ch1"
    assert "s3cret" not in repr(camera)


def test_an_error_about_a_source_hides_its_password(tmp_path: Path) -> None:
    line = "- {id: a, source: 'rtsp://me:s3cret@host/1', fps: 'rtsp://me:s3cret@host/1', x: 1}"
    message = error_of(tmp_path, f"cameras:\n{line}\n")
    assert "s3cret" not in message and "fps" in message


def test_a_missing_environment_variable_is_named_with_its_line(tmp_path: Path) -> None:
    message = error_of(tmp_path, "cameras:\n- id: door\n  source: ${CAM1_URL}\n")
    assert "CAM1_URL" in message and "cams.yaml:2" in message and "door" in message


def test_an_unknown_key_names_file_line_and_the_near_miss(tmp_path: Path) -> None:
    message = error_of(tmp_path, "cameras:\n- id: a\n  source: a.mp4\n  ofset_s: 3\n")
    assert message == f"{tmp_path}/cams.yaml:4: cameras[0].ofset_s: unknown key, did you mean offset_s?"


def test_an_unknown_key_without_a_near_miss_lists_what_is_known(tmp_path: Path) -> None:
    assert "known here: cameras, pipeline" in error_of(tmp_path, "zzz: 1\ncameras:\n- {id: a, source: a.mp4}\n")


def test_a_camera_listed_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    message = error_of(
        tmp_path, "cameras:\n- {id: a, source: a.mp4}\n- {id: b, source: b.mp4}\n- {id: a, source: c.mp4}\n"
    )
    assert "cams.yaml:4: cameras[2].id: 'a' is taken" in message and "cams.yaml:2" in message


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    assert "given twice, first on line 2" in error_of(tmp_path, "cameras:\n- id: a\n  source: a\n  id: b\n")


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        ("[[0, 0], [10, 10]]", "at least 3"),
        ("[[0, 0], [10, 10], [20, 20]]", "no area"),
        ("[[0, 0], [10], [20, 20]]", "field required"),
        ("[[0, 0], [x, 10], [20, 20]]", "valid number"),
    ],
)
def test_a_wrong_polygon_is_an_error_with_its_place(tmp_path: Path, polygon: str, says: str) -> None:
    text = f"cameras:\n- id: a\n  source: a.mp4\n  regions:\n    ignore:\n    - {polygon}\n"
    message = error_of(tmp_path, text).lower()
    assert says in message or ("missing" in message and says == "field required")
    assert "regions.ignore" in message and "cams.yaml:" in message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("crop: [0, 0, 0, 10]", "width, height >= 2"),
        ("crop: [-1, 0, 5, 10]", "x, y >= 0"),
        ("fps: 0", "greater than 0"),
        ("start_time: yesterday", "start_time"),
        ("overlaps: [b]", "no other camera 'b'"),
        ("calibration: {intrinsic: [[1,0,0],[0,1,0],[0,0,1]]}", "world_to_camera"),
        ("calibration: {image_to_ground: [[0,0,0],[0,0,0],[0,0,0]]}", "calibration"),
        ("calibration: missing.json", "no such file"),
        ("calibration: 7", "calibration"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, line: str, says: str) -> None:
    message = error_of(tmp_path, f"cameras:\n- id: a\n  source: a.mp4\n  {line}\n")
    assert says in message and "cams.yaml:" in message


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert "cams.yaml:3: not valid YAML" in error_of(tmp_path, "cameras:\n- id: a\n  source: a: b\n")


@pytest.mark.parametrize(("text", "says"), [("", "empty"), ("- a\n", "top level"), ("cameras: []\n", "at least 1")])
def test_a_file_without_cameras_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    assert says in error_of(tmp_path, text)


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_cameras(Path("/nowhere/cams.yaml"))


def test_start_time_is_utc_unless_it_says_otherwise(tmp_path: Path) -> None:
    text = (
        "cameras:\n- {id: a, source: a.mp4, start_time: 2026-01-01T12:00:00}\n"
        "- {id: b, source: b.mp4, start_time: '2026-01-01T12:00:00+01:00'}\n"
    )
    (a, b), _ = load_cameras(cams(tmp_path, text))
    assert a.start_time_s is not None and b.start_time_s is not None
    assert a.start_time_s - b.start_time_s == 3600


def test_calibration_can_stand_in_a_json_file_by_camera_id(tmp_path: Path) -> None:
    scale = [[0.01, 0, 0], [0, 0.01, 0], [0, 0, 1]]
    (tmp_path / "calibration.json").write_text(json.dumps([{"id": "a", "width": 640, "image_to_ground": scale}]))
    text = "cameras:\n- {id: a, source: a.mp4, calibration: calibration.json, crop: [100, 0, 50, 50]}\n"
    (camera,), _ = load_cameras(cams(tmp_path, text))
    assert camera.ground is not None
    np.testing.assert_allclose(camera.ground.to_ground(np.array([[0.0, 200.0]])), [[1.0, 2.0]], atol=1e-9)


def test_a_camera_missing_from_the_calibration_file_gets_the_near_miss(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps([{"id": "cam1"}]))
    message = error_of(tmp_path, "cameras:\n- {id: cam_1, source: a.mp4, calibration: calibration.json}\n")
    assert "did you mean cam1?" in message


def test_cameras_overlap_where_both_are_calibrated_or_one_says_so(tmp_path: Path) -> None:
    ground = "calibration: {image_to_ground: [[0.01,0,0],[0,0.01,0],[0,0,1]]}"
    text = (
        f"cameras:\n- {{id: a, source: a.mp4, {ground}}}\n- {{id: b, source: b.mp4, {ground}}}\n"
        "- {id: c, source: c.mp4}\n- {id: d, source: d.mp4, overlaps: [c]}\n"
    )
    cameras, _ = load_cameras(cams(tmp_path, text))
    assert overlapping_pairs(cameras) == {(0, 1), (2, 3)}


def test_settings_overrule_the_file_and_errors_name_them(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("track:\n  max_lost_s: 1.5\n")
    assert load_pipeline(path).track.max_lost_s == 1.5
    assert load_pipeline(path, ["track.max_lost_s=3"]).track.max_lost_s == 3
    with pytest.raises(
        ConfigError, match=r"--set track\.high_scor=1: track\.high_scor: unknown key, did you mean high_score"
    ):
        load_pipeline(path, ["track.high_scor=1"])
    with pytest.raises(ConfigError, match=r"--set track\.max_lost_s=abc: track\.max_lost_s"):
        load_pipeline(path, ["track.max_lost_s=abc"])
    with pytest.raises(ConfigError, match=r"want key\.key=value"):
        load_pipeline(path, ["max_lost_s"])


def test_an_unknown_key_in_a_room_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("detect:\n  model: x.onnx\ntrack:\n  high_scor: 0.4\n")
    with pytest.raises(ConfigError, match=r"pipeline.yaml:4: track.high_scor: unknown key, did you mean high_score\?"):
        load_pipeline(path)


def test_defaults_need_no_file() -> None:
    assert load_pipeline(None).detect.model == load_pipeline(None).reid.model == "bundled"


@pytest.mark.parametrize("name", ["cams.yaml", "demo/cams.yaml", "checks/pets_split.yaml"])
def test_the_configurations_that_come_with_the_project_load(name: str) -> None:
    path = Path(__file__).resolve().parents[1] / "configs" / name
    cameras, pipeline = load_cameras(path, {"HALL_USER": "me", "HALL_PASSWORD": "pw"})
    assert len(cameras) >= 2 and pipeline is not None
    load_pipeline(pipeline)


def test_a_camera_id_can_not_hold_what_parts_cameras_in_a_table(tmp_path: Path) -> None:
    assert "a camera id has no `>`" in error_of(tmp_path, "cameras:\n- {id: 'a>b', source: a.mp4}\n")


def test_a_calibration_without_distortion_has_none() -> None:
    from pipeline.config import Calibration

    intrinsic = ((500.0, 0.0, 320.0), (0.0, 500.0, 180.0), (0.0, 0.0, 1.0))
    pose = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -1.0, 2.0), (0.0, 1.0, 0.0, 4.0))
    plain = Calibration(intrinsic=intrinsic, world_to_camera=pose)
    zeros = Calibration(intrinsic=intrinsic, world_to_camera=pose, distortion=(0.0,) * 5)
    feet = np.array([[0.5, 3.0]])
    assert np.allclose(plain.ground_camera().to_image(feet), zeros.ground_camera().to_image(feet))
    assert np.allclose(plain.ground_camera().to_ground(plain.ground_camera().to_image(feet)), feet)


def test_off_is_a_word_and_only_true_and_false_are_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("fusion: {travel: off, resolve: off}\noutput: {report: false, mot: no}\n")
    config = load_pipeline(path, ["fusion.resolve=off"])
    assert (config.fusion.travel, config.fusion.resolve) == ("off", "off")
    assert (config.output.report, config.output.mot) == (False, False)
