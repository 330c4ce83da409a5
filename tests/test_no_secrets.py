"""No user, password or token of a stream's address is shown by a run: not in a log, an error, a file, or over HTTP."""

from __future__ import annotations

import json
import logging
import threading
import traceback
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.app import run
from pipeline.cameras import camera_of, load_cameras
from pipeline.config import load_pipeline
from pipeline.ingest.urls import mask_credentials
from pipeline.live.config import LiveConfig
from pipeline.live.figures import CameraFigures, Snapshot
from pipeline.live.server import LiveServer
from pipeline.provenance import describe_run
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.yaml_file import ConfigError
from tests.ingest.clips import ClipServer, make_clip

SECRET = "S3cr3tZ"
_PLAIN = "abcxyzABC019-._~"
_TYPED = _PLAIN + "!$&'()*+,;=:@/?#%[]{}|\"<>^`\\"
_around = st.tuples(st.text(_TYPED, max_size=6), st.text(_TYPED, max_size=6)).map(SECRET.join)
_encoded = st.tuples(st.text(_PLAIN + "%", max_size=6), st.text(_PLAIN + "%", max_size=6)).map(SECRET.join)
_scheme = st.sampled_from(["rtsp", "rtsps", "rtmp", "http", "https", "tcp", "RTSP", "srt+x", "nosuch"])
_secret_name = st.sampled_from(["token", "password", "api_key", "auth", "sig", "X-Amz-Signature", "pass%77ord", "user"])
_path = st.sampled_from(["/", "/live", "/Streaming/Channels/101", "/cam/realmonitor"])


@st.composite
def addresses(draw: st.DrawFn, host: str = "127.0.0.1:1") -> str:
    """Addresses with secrets wherever cameras take them; nobody answers at the host."""
    user = draw(st.sampled_from([f"{SECRET}:", f"admin:{draw(_around)}@", f"{draw(_encoded)}@", f"{SECRET}@", ""]))
    user = f"{SECRET}:{draw(_around)}@" if user == f"{SECRET}:" else user
    query = f"?{draw(_secret_name)}={draw(_encoded)}&channel=1" if not user or draw(st.booleans()) else ""
    return f"{draw(_scheme)}://{user}{host}{draw(_path)}{query}"


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    """All that was logged or printed, FFmpeg's own messages included, whatever their level."""
    caplog.set_level(0)
    logging.getLogger("libav").setLevel(1)
    yield lambda: caplog.text + "".join(capfd.readouterr())
    av.logging.set_level(None)
    logging.getLogger("libav").setLevel(logging.NOTSET)


def picture(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((48, 64, 3), 40 * i, np.uint8))
    return folder


def write(folder: Path, urls: list[str]) -> Path:
    """A cams.yaml with these cameras and one that works."""
    cameras = [{"id": f"c{i}", "source": url.replace("$", "%24")} for i, url in enumerate(urls)]
    cameras.append({"id": "good", "source": str(picture(folder / "pictures")), "fps": 10})
    ingest = {"reconnect_give_up_s": 0.02, "reconnect_first_s": 0.01, "open_timeout_s": 1, "tick_s": 0.1}
    config = {
        "ingest": ingest,
        "detect": {"files": {}, "model": str(folder / "{camera}.csv")},
        "reid": {"model": "colour"},
    }
    for camera in cameras:
        (folder / f"{camera['id']}.csv").write_text("camera,frame,left,top,width,height,score\n")
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(config))
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "pipeline.yaml", "cameras": cameras}))
    return path


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(urls=st.lists(addresses(), min_size=6, max_size=6))
def test_a_run_of_cameras_that_can_not_be_reached_shows_no_secret(
    urls: list[str], tmp_path_factory: pytest.TempPathFactory, shown
) -> None:
    folder = tmp_path_factory.mktemp("run")
    seen: list[str] = []

    def show(progress: Progress) -> None:
        av.logging.set_level(av.logging.TRACE)  # as if somebody wanted to hear all of FFmpeg
        seen.append(repr(progress))

    report = run(RunOptions(write(folder, urls), folder / "out"), show, lambda: False)
    text = "".join(seen) + repr(report) + shown()
    assert "c0" in text and SECRET not in text
    written = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert {"run.json", "events.jsonl", "global_tracks.csv"} <= {path.name for path in written}
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path.name
    states = json.loads((folder / "out" / "run.json").read_text())["cameras"]
    assert [state["state"] for state in states] == ["failed"] * len(urls) + ["ended"]
    assert all(state["message"] for state in states[:-1])
    _assert_not_served(report)


def _assert_not_served(report: RunReport) -> None:
    """The states and messages of cameras, as /health and /metrics give them."""
    cameras = tuple(CameraFigures(camera.name, f"{camera.state} {camera.message}") for camera in report.cameras)
    with LiveServer(LiveConfig(port=0), lambda: Snapshot(1.0, 0.1, cameras), {}, {}) as server:
        for path in ("/health", "/metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
                assert SECRET not in answer.read().decode()


@settings(max_examples=25, deadline=None)
@given(
    url=addresses(),
    key=st.sampled_from(["source", "start_time", "crop", "calibration", "fps", "overlaps", "nonsense"]),
)
def test_an_address_that_stands_at_any_key_is_not_shown_by_the_error(
    url: str, key: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "cams.yaml"
    camera = {"id": "a", "source": url.replace("$", "%24"), "crop": "all"}
    path.write_text(yaml.safe_dump({"cameras": [camera | {key: [url] if key == "overlaps" else url}]}))
    errors: list[str] = []
    for wrong in (
        lambda: load_cameras(path),
        lambda: load_pipeline(None, [f"track.max_lost_s={url}"]),
        lambda: load_pipeline(None, [f"track.max_lost_s={url!r}"]),
        lambda: load_pipeline(None, [url]),
        lambda: load_pipeline(None, [f"nonsense: {url}"]),
        lambda: load_pipeline(None, [f"transport.redis.url=[{url}"]),
    ):
        try:
            wrong()
        except ConfigError as error:
            errors.append("".join(traceback.format_exception(error)))
    assert len(errors) >= 4 and SECRET not in "".join(errors)


@pytest.mark.parametrize("kind", ["redis", "mqtt", "kafka"])
@settings(max_examples=40, deadline=None)
@given(url=addresses("10.0.0.9:6379"))
def test_what_is_written_of_the_configuration_holds_no_password_of_a_server(kind: str, url: str) -> None:
    url = kind + url[url.index("://") :]
    key = f"transport.{kind}.url"
    config = load_pipeline(None, [f"{key}={yaml.safe_dump(url, default_style=chr(34), width=10**6)}"])
    part = getattr(config.transport, kind)
    assert part.url == url
    report = RunReport((), (), 0, 0, 1.0, (), Path("out"), False)
    options = RunOptions(Path("cams.yaml"), Path("out"), settings=(f"{key}={url}",))
    content = json.dumps(describe_run(options, (), config, Path(), datetime.now(UTC), None, report))
    assert SECRET not in content + repr(config) + repr(config.transport) + str(part)


@settings(max_examples=30, deadline=None)
@given(url=addresses())
def test_an_entry_that_is_sent_over_http_is_refused_without_its_secrets(url: str) -> None:
    told = []
    wrong: list[dict[str, object]] = [{"id": "a", "source": url, key: url} for key in ("crop", "fps", "regions", url)]
    for entry in (*wrong, {"id": url, "source": [url]}, {"id": "a", "source": url, "overlaps": [url]}):
        try:
            camera_of(entry, ["b"], Path())
        except ConfigError as error:
            told.append(mask_credentials(str(error)))  # as the one who answers does
    assert len(told) >= 5 and SECRET not in "".join(told)


def test_a_stream_that_answers_with_nonsense_is_not_told_with_its_password(tmp_path: Path, shown) -> None:
    clip = make_clip(tmp_path / "clip.ts", 10, codec="mpeg2video").read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    with ClipServer([noise, clip[: len(clip) // 3] + noise]) as server:
        url = server.url(f"admin:{SECRET}@", f"?token={SECRET}")
        done = threading.Event()
        threading.Timer(10, done.set).start()
        report = run(RunOptions(write(tmp_path, [url]), tmp_path / "out"), lambda progress: None, done.is_set)
    text = repr(report) + shown() + "".join(p.read_text("latin-1") for p in (tmp_path / "out").rglob("*.json*"))
    assert SECRET not in text and report.cameras[0].state == "failed"
