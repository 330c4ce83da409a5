"""Cameras come and go while a run goes: a real process, real streams on loopback, SIGHUP and HTTP."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.app import run as go
from pipeline.report import RunOptions
from pipeline.verify import Limits, SiteFacts, verify
from pipeline.yaml_file import ConfigError
from tests.live.streams import Cameras, write_people

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "t0kenS3cr3t"
PASSWORD = "S3cr3tZ"


class Run:
    """`run_pipeline.py` in a process of its own."""

    def __init__(self, folder: Path, cams: Path | None, *options: str) -> None:
        """cams: None to go on with the run in the folder."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.output, self.log = folder / "out", folder / "log"
        what = ["--resume", self.output] if cams is None else ["--cams", cams, "--output", self.output]
        args = [*what, "--live", self.port, *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "run_pipeline.py", *map(str, args)],
                cwd=ROOT,
                env={**os.environ, "CROSSCAM_TOKEN": TOKEN, "COLUMNS": "200"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ask(self, path: str, method: str = "GET", body: object = None, token: str = TOKEN) -> tuple[int, str]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return 0, ""

    def states(self) -> dict[str, str]:
        status, body = self.ask("/health")
        return json.loads(body)["cameras"] if status else {}

    def metric(self, name: str) -> float:
        lines = self.ask("/metrics")[1].splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)

    def until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline_s = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None and time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.05)

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.output / name).open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cameras]:
    with Cameras(tmp_path_factory.mktemp("streams")) as cameras:
        yield cameras


def write(folder: Path, cameras: Cameras, *names: str, **more: object) -> Path:
    write_people(folder / "people", ("a", "b", "c"))
    pipeline = {
        "detect": {"model": str(folder / "people" / "{camera}.csv")},
        "reid": {"model": "colour"},
        "ingest": {"tick_s": 0.1, "max_wait_s": 0.05},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    entries = [{"id": name, "source": cameras.url(name, f"admin:{PASSWORD}@"), **more} for name in names]
    (folder / "cams.yaml").write_text(yaml.safe_dump({"pipeline": "pipeline.yaml", "cameras": entries}))
    return folder / "cams.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--video",), id="inline"),
        pytest.param(("--runtime", "processes", "--workers", "2"), id="processes"),
        pytest.param(
            ("--runtime", "ray", "--workers", "2"),
            id="ray",
            marks=pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]"),
        ),
    ],
)
def test_cameras_come_and_go_while_others_are_followed(options, cameras: Cameras, tmp_path: Path) -> None:
    run = Run(tmp_path, write(tmp_path, cameras, "a", "b"), *options)
    try:
        run.until(lambda: run.states() == {"a": "running", "b": "running"})
        entry = {"id": "c", "source": cameras.url("c", f"admin:{PASSWORD}@")}
        assert run.ask("/cameras", "POST", entry, token="wrong")[0] == 401
        assert run.ask("/cameras", "POST", entry) == (202, "added: c\n")
        run.until(lambda: run.metric('crosscam_camera_tracklets_total{camera="c"}') >= 1)

        write(tmp_path, cameras, "a", "c", nonsense=1)  # a bad file changes nothing
        run.process.send_signal(signal.SIGHUP)
        run.until(lambda: run.metric('crosscam_camera_changes_total{result="refused"}') == 1)
        assert "cams.yaml" in run.log.read_text() and "nonsense" in run.log.read_text()
        assert run.states() == {"a": "running", "b": "running", "c": "running"}

        run.until(lambda: run.metric('crosscam_camera_tracklets_total{camera="b"}') >= 1)
        write(tmp_path, cameras, "a", "c")
        run.process.send_signal(signal.SIGHUP)
        run.until(lambda: run.states().get("b") == "removed")
        frames_of_b = run.metric('crosscam_camera_frames_total{camera="b"}')

        tracklets_of_a = run.metric('crosscam_camera_tracklets_total{camera="a"}')
        assert run.ask("/cameras/a", "DELETE") == (202, "removed: a\n")
        assert run.ask("/cameras/a", "DELETE")[0] == 404
        assert run.ask("/cameras/c", "DELETE")[0] == 409  # the last one
        assert run.ask("/reload", "POST") == (202, "added: a\n")  # which is in the file
        run.until(lambda: run.metric('crosscam_camera_tracklets_total{camera="a"}') > tracklets_of_a)
        assert run.ask("/reload", "POST") == (202, "the cameras are as they were\n")
        assert run.metric('crosscam_camera_frames_total{camera="b"}') == frames_of_b
        assert run.ask("/stop", "POST")[0] == 202
        assert run.process.wait(30) == 130, run.log.read_text()
    finally:
        run.process.kill()
        run.process.wait()
    check(run, video="--video" in options)


def check(run: Run, *, video: bool) -> None:
    """What the run has left is whole."""
    assert PASSWORD not in run.log.read_text() and TOKEN not in run.log.read_text()
    tracklets = run.rows("tracklets.csv")
    assert {row["camera"] for row in tracklets} == {"a", "b", "c"}
    check_rows(run)
    events = events_of(run)
    told = [(event["kind"], event["camera"]) for event in events if event["kind"].startswith("camera_")]
    for kind, camera in (("added", "c"), ("removed", "b"), ("removed", "a"), ("added", "a")):
        assert (f"camera_{kind}", camera) in told
    gone_s = next(e["time_s"] for e in events if e["kind"] == "camera_removed" and e["camera"] == "b")
    assert max(float(row["last_s"]) for row in tracklets if row["camera"] == "b") <= gone_s
    facts = json.loads((run.output / "run.json").read_text())
    assert [camera["id"] for camera in facts["cameras"]] == ["a", "b", "c"]
    assert PASSWORD not in json.dumps(facts)
    assert (run.output / "mosaic.mp4").exists() == video


@pytest.mark.slow
def test_a_run_whose_cameras_were_changed_goes_on_after_kill_9(cameras: Cameras, tmp_path: Path) -> None:
    run = Run(tmp_path, write(tmp_path, cameras, "a", "b"), "--set", "output.snapshot_s=0.3")
    try:
        run.until(lambda: run.metric('crosscam_camera_tracklets_total{camera="b"}') >= 1)
        write(tmp_path, cameras, "c", "a")  # the order differs, the cameras keep their numbers
        assert run.ask("/reload", "POST") == (202, "added: c; removed: b\n")
        run.until(lambda: run.metric('crosscam_camera_tracklets_total{camera="c"}') >= 1)
        run.until(lambda: 0 < run.metric("crosscam_journal_age_seconds") < 0.2)
        assert run.metric("crosscam_journal_bytes") > 0
    finally:
        run.process.kill()
        run.process.wait()
    write(tmp_path, cameras, "a", "b")
    with pytest.raises(ConfigError, match=r"camera 'c' is missing in cams\.yaml"):
        go(RunOptions(tmp_path / "cams.yaml", run.output, resume=True), lambda progress: None, lambda: True)
    write(tmp_path, cameras, "a", "c")
    again = Run(tmp_path, None)
    try:
        again.until(lambda: again.states() == {"a": "running", "b": "removed", "c": "running"})
        before = again.metric('crosscam_camera_tracklets_total{camera="c"}')
        again.until(lambda: again.metric('crosscam_camera_tracklets_total{camera="c"}') > before)
        assert again.ask("/cameras/c", "DELETE")[0] == 202
        write(tmp_path, cameras, "a", "b", "c")
        assert again.ask("/reload", "POST") == (202, "added: b, c\n")
        again.until(lambda: again.states() == {"a": "running", "b": "running", "c": "running"})
        assert again.ask("/stop", "POST")[0] == 202
        assert again.process.wait(30) == 130, again.log.read_text()
    finally:
        again.process.kill()
        again.process.wait()
    check_rows(again)


def events_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.output / "events.jsonl").read_text().splitlines()]


def check_rows(run: Run) -> None:
    """Nothing is there twice, and the identities are as the events say."""
    assert verify(run.output, SiteFacts(overlaps=frozenset()), Limits(clock_error_s=0.5)).holds
    tracks, tracklets = run.rows("global_tracks.csv"), run.rows("tracklets.csv")
    for camera in "abc":
        at = [(int(row["frame"]), float(row["time_s"])) for row in tracks if row["camera"] == camera]
        assert at == sorted(at)
        ids = list(dict.fromkeys(row["track_id"] for row in tracklets if row["camera"] == camera))
        assert ids == [str(number + 1) for number in range(len(ids))]  # a tracklet that was split has two rows
    assert all(row["global_id"] for row in tracklets)
    stays: dict[tuple[str, str], list[float]] = {}
    for row in tracks:
        stays.setdefault((row["camera"], row["track_id"]), []).append(float(row["time_s"]))
    for event in events_of(run):
        if event["kind"] == "camera_added":  # nobody is the one who was there when the camera was removed
            of_camera = [times_s for (camera, _), times_s in stays.items() if camera == event["camera"]]
            assert all(max(t) < event["time_s"] or min(t) >= event["time_s"] for t in of_camera)
