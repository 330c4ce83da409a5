"""The command as a user runs it: real processes on a small drawn site, and on what users get wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.tiny_site.tiny import write_tiny_site

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = "time_s,camera,frame,global_id,track_id,left,top,width,height,score,confidence,ground_x,ground_y"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seconds=6.0)
    return folder


@pytest.fixture(scope="module")
def long_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Played in real time it leaves a busy machine time enough to interrupt it."""
    folder = tmp_path_factory.mktemp("long-site")
    write_tiny_site(folder, seconds=30.0)
    return folder


def command(*args: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run_pipeline.py", *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def with_cameras(site: Path, folder: Path, *more: dict[str, object], keep: bool = True) -> Path:
    """A cams.yaml with the site's cameras (sources made absolute) and some more."""
    data = yaml.safe_load((site / "cams.yaml").read_text())
    for camera in data["cameras"]:
        camera["source"] = str(site / camera["source"])
        camera.pop("ground_truth", None)
    data["cameras"] = [*(data["cameras"] if keep else []), *more]
    data["pipeline"] = str(site / "pipeline.yaml")
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_whole_tables_that_agree_with_each_other(site: Path, tmp_path: Path) -> None:
    done = command("--cams", site / "cams.yaml", "--output", tmp_path / "out", "--video")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {
        *("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv"),
        *("journal", "association.json", "association.npz"),
        *("events.jsonl", "run.json", "report.html", "transitions.json", "mot", "mosaic.mp4"),
    }
    assert (out / "global_tracks.csv").read_text().splitlines()[0] == COLUMNS
    tracks, tracklets = rows(out / "global_tracks.csv"), rows(out / "tracklets.csv")
    identities = rows(out / "identities.csv")
    assert len(tracks) > 300
    assert all(row["global_id"] for row in tracks)
    assert {r["global_id"] for r in tracks} == {r["global_id"] for r in identities}
    per_tracklet = Counter((r["camera"], r["track_id"]) for r in tracks)
    in_rows: Counter[tuple[str, str]] = Counter()
    for r in tracklets:  # a tracklet that was split has several
        in_rows[r["camera"], r["track_id"]] += int(r["num_frames"])
    assert per_tracklet == in_rows
    per_frame = Counter((r["camera"], r["frame"], r["global_id"]) for r in tracks)
    assert max(per_frame.values()) == 1
    calibrated = {r["camera"] for r in tracks if r["ground_x"]}
    assert calibrated == {"hall-a", "hall-b"}
    report = json.loads((out / "run.json").read_text())
    assert report["identities"] == len(identities) and not report["interrupted"]
    assert [c["frames"] for c in report["cameras"]] == [60, 60, 60]
    num_tracklets = Counter(camera for camera, _ in {(r["camera"], r["track_id"]) for r in tracks})
    assert {c["id"]: c["tracklets"] for c in report["cameras"]} == num_tracklets
    assert [n["name"] for n in report["nodes"]] == ["detect", "track", "embed", "fuse"]
    assert f"{len(identities)} identities" in done.stdout


def test_two_runs_write_the_same_bytes(site: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert command("--cams", site / "cams.yaml", "--output", tmp_path / name).returncode == 0
    for name in ("global_tracks.csv", "tracklets.csv", "identities.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_max_seconds_ends_the_run_early(site: Path, tmp_path: Path) -> None:
    assert command("--cams", site / "cams.yaml", "--output", tmp_path, "--max-seconds", "2").returncode == 0
    assert max(float(row["time_s"]) for row in rows(tmp_path / "global_tracks.csv")) < 2
    assert [c["frames"] for c in json.loads((tmp_path / "run.json").read_text())["cameras"]] == [20, 20, 20]


def test_ctrl_c_leaves_whole_files(long_site: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ["--cams", long_site / "cams.yaml", "--output", out, "--set", "ingest.policy=drop_oldest", "--video"]
    process = subprocess.Popen(
        [sys.executable, "run_pipeline.py", *map(str, args)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = out / "global_tracks.csv.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 5000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"Stopping" in errors and b"Traceback" not in errors
    assert not list(out.glob("*.partial"))
    tracks = rows(out / "global_tracks.csv")
    assert tracks and all(row["global_id"] and row["height"] for row in tracks)
    assert json.loads((out / "run.json").read_text())["interrupted"]
    assert (out / "mosaic.mp4").stat().st_size > 1000


def test_a_killed_run_can_be_recovered(long_site: Path, tmp_path: Path) -> None:
    args = ["--cams", long_site / "cams.yaml", "--output", tmp_path, "--set", "ingest.policy=drop_oldest"]
    process = subprocess.Popen(
        [sys.executable, "run_pipeline.py", *map(str, args)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    partial = tmp_path / "global_tracks.csv.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 8000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    num_lines = len(partial.read_text().splitlines())
    done = subprocess.run([sys.executable, "-m", "pipeline", "recover", tmp_path], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert num_lines - 1 <= len(rows(tmp_path / "global_tracks.csv")) + 1 <= num_lines
    assert any(row["global_id"] for row in rows(tmp_path / "global_tracks.csv"))


def test_bad_cameras_are_reported_and_the_others_go_on(site: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n")
    (tmp_path / "zero.mp4").write_bytes(b"")
    whole = (site / "hall-a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    bad = ["missing.mp4", "text.mp4", "zero.mp4", "cut.mp4", "rtsp://me:s3cret@127.0.0.1:9/x"]
    (tmp_path / "dets").mkdir()
    cameras = [{"id": f"bad{i}", "source": source} for i, source in enumerate(bad)]
    cams = with_cameras(site, tmp_path, *cameras)
    dets = tmp_path / "dets"
    for name in ("hall-a", "hall-b", "corridor"):
        (dets / f"{name}.csv").write_bytes((site / "detections" / f"{name}.csv").read_bytes())
    for camera in cameras:
        (dets / f"{camera['id']}.csv").write_text("camera,frame,left,top,width,height,score\n")
    (tmp_path / "pipeline.yaml").write_text(
        "detect: {model: 'dets/{camera}.csv'}\n"
        "ingest: {open_timeout_s: 1, reconnect_first_s: 0.1, reconnect_give_up_s: 0.5, tick_s: 0.1}\n"
    )
    done = command("--cams", cams, "--config", tmp_path / "pipeline.yaml", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert not any("s3cret" in p.read_text() for p in (tmp_path / "out").iterdir() if p.suffix in (".json", ".jsonl"))
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    state = {camera["id"]: camera for camera in report["cameras"]}
    assert all(state[f"bad{i}"]["state"] == "failed" and state[f"bad{i}"]["message"] for i in (0, 1, 2, 4))
    assert len(rows(tmp_path / "out" / "global_tracks.csv")) > 300
    for i in (0, 1, 2, 4):
        assert f"bad{i}" in done.stdout


def test_no_readable_camera_is_exit_code_3(site: Path, tmp_path: Path) -> None:
    cams = with_cameras(site, tmp_path, {"id": "hall-a", "source": "missing.mp4"}, keep=False)
    done = command("--cams", cams, "--output", tmp_path / "out")
    assert done.returncode == 3
    assert "hall-a" in done.stderr and "missing.mp4" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["detect.model="], "detect.model"),
        (["detect.model=missing.onnx"], "missing.onnx"),
        (["detect.model=README.md", "detect.kind=onnx"], "README.md"),
        (["reid.model=missing.onnx"], "reid.model"),
        (["track.high_scor=1"], "did you mean high_score?"),
    ],
)
def test_a_wrong_setting_is_exit_code_2_with_its_key(
    site: Path, tmp_path: Path, settings: list[str], says: str
) -> None:
    extra = [part for setting in settings for part in ("--set", setting)]
    done = command("--cams", site / "cams.yaml", "--output", tmp_path, *extra)
    assert done.returncode == 2
    assert says in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "a run that never began left files behind"


def test_a_missing_cams_file_is_exit_code_2(tmp_path: Path) -> None:
    done = command("--cams", tmp_path / "cams.yaml")
    assert done.returncode == 2 and "no such file" in done.stderr


def test_an_output_that_is_a_file_is_refused_before_the_run(site: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    done = command("--cams", site / "cams.yaml", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "--output" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out").read_text() == "in the way"


def test_help_teaches() -> None:
    done = command("--help")
    assert done.returncode == 0
    for word in ("--cams", "--set", "--video", "--max-seconds", "Exit codes", "cams.yaml"):
        assert word in done.stdout


def test_evaluate_scores_the_run_per_camera_and_over_all(site: Path, tmp_path: Path) -> None:
    assert command("--cams", site / "cams.yaml", "--output", tmp_path).returncode == 0
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline", "evaluate", "--gt", site / "cams.yaml", "--pred", tmp_path),
            *("--ceiling", "--json", tmp_path / "scores.json"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [row["name"] for row in scores["cameras"]] == ["hall-a", "hall-b", "corridor"]
    assert 0.3 < scores["overall"]["idf1"] <= scores["association_ceiling"]["overall"]["idf1"] + 1e-9
    assert scores["overall"]["recall"] > 0.8


def test_a_trace_shown_on_request_hides_passwords(tmp_path: Path) -> None:
    (tmp_path / "cams.yaml").write_text("cameras:\n- {id: a, source: 'rtsp://me:s3cret@host/1', fps: 0}\n")
    done = command("--cams", tmp_path / "cams.yaml", "--verbose", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "Traceback" in done.stderr and "fps" in done.stderr and "s3cret" not in done.stdout + done.stderr
