"""Edge boxes and a central fuser by configuration alone, a real Redis server between: the tables of one process."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import yaml

from pipeline.app import run
from pipeline.report import RunOptions, RunReport
from pipeline.transport.redis_streams import connect
from pipeline.yaml_file import ConfigError
from tests.tiny_site.tiny import write_tiny_site
from tests.transport.test_redis_streams import Server

pytest.importorskip("redis", reason="needs the extra [redis]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="needs redis-server (Debian: apt install redis-server)"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
TABLES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv")
BOXES = {"west": ("hall-a", "corridor"), "east": ("hall-b",)}  # not neighbours in cams.yaml
PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seconds=4.0)
    return folder


@pytest.fixture(scope="module")
def expected(site: Path) -> dict[str, bytes]:
    go(site / "cams.yaml", site / "one")
    return tables(site / "one")


def go(cams: Path, output: Path, *settings: str, stop=lambda: False) -> RunReport:
    return run(RunOptions(cams, output, settings=settings), lambda progress: None, stop)


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def write(path: Path, cameras: list[dict], pipeline: dict) -> Path:
    own = path.with_name(f"{path.stem}_pipeline.yaml")
    own.write_text(yaml.safe_dump(pipeline))
    path.write_text(yaml.safe_dump({"pipeline": own.name, "cameras": cameras}))
    return path


def configure(site: Path, server: Server, name: str) -> dict[str, Path]:
    """The cams.yaml of each box and of the centre, as a user writes them; `name` of the site in Redis."""
    cameras = {camera["id"]: camera for camera in yaml.safe_load((site / "cams.yaml").read_text())["cameras"]}
    redis = {"url": "${CROSSCAM_TEST_REDIS}", "site": name}
    both = {"reid": {"model": "colour"}, "ingest": {"tick_s": 0.1}}
    detect = {"model": str(site / "detections" / "{camera}.csv")}
    files = {}
    for box, names in BOXES.items():
        own = [{"id": camera, "source": str(site / cameras[camera]["source"])} for camera in names]
        transport = {"box": box, "sinks": "redis", "redis": redis}
        files[box] = write(site / f"{name}-{box}.yaml", own, {**both, "detect": detect, "transport": transport})
    box_of = {camera: box for box, names in BOXES.items() for camera in names}
    central = [
        {key: value for key, value in camera.items() if key != "ground_truth"} | {"source": f"box:{box_of[camera_id]}"}
        for camera_id, camera in cameras.items()
    ]
    transport = {"sources": "redis", "sinks": "redis", "redis": redis}
    files["central"] = write(site / f"{name}-central.yaml", central, {**both, "transport": transport})
    return files


@pytest.fixture
def files(site: Path, server: Server, monkeypatch: pytest.MonkeyPatch, request) -> dict[str, Path]:
    monkeypatch.setenv("CROSSCAM_TEST_REDIS", server.config().url)
    return configure(site, server, request.node.originalname)


def test_two_edge_boxes_and_a_central_fuser_write_the_tables_of_one_process(
    files: dict[str, Path], expected: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    assert expected["global_tracks.csv"].count(b"\n") > 50
    reports: dict[str, RunReport] = {}

    def of_box(box: str) -> None:
        reports[box] = go(files[box], tmp_path / box)

    threads = [threading.Thread(target=of_box, args=(box,)) for box in BOXES]
    for thread in threads:
        thread.start()
    report = go(files["central"], tmp_path / "central")
    for thread in threads:
        thread.join()
    assert tables(tmp_path / "central") == expected
    assert all("lost" not in note for one in reports.values() for note in one.notes)
    assert sum(sum(one.num_tracklets) for one in reports.values()) == sum(report.num_tracklets)
    assert {camera.state for camera in report.cameras} == {"ended"}
    site_name = files["central"].name.removesuffix("-central.yaml")
    events = connect(server.config()).xlen(f"crosscam:{site_name}:events")
    lines = (tmp_path / "central" / "events.jsonl").read_text()
    assert events == sum(lines.count(f'{{"kind": "{kind}"') for kind in ("create", "link", "merge", "split", "close"))
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


def test_what_boxes_sent_while_nobody_listened_is_fused_later_and_once(
    files: dict[str, Path], expected: dict[str, bytes], tmp_path: Path
) -> None:
    for box in BOXES:
        go(files[box], tmp_path / box)
    again = go(files["east"], tmp_path / "again")
    assert "there already" in " ".join(again.notes)
    go(files["central"], tmp_path / "central")
    assert tables(tmp_path / "central") == expected


def test_a_box_whose_ticks_are_of_another_length_is_refused(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for box in BOXES:
        go(files[box], tmp_path / box, *(["ingest.tick_s=0.2"] if box == "east" else []), "ingest.max_fps=5")
    stopped = threading.Event()
    timer = threading.Timer(1.0, stopped.set)
    timer.start()
    report = go(files["central"], tmp_path / "central", stop=stopped.is_set)
    assert "is not the same on the box" in caplog.text
    assert report.cameras[1].num_frames == 0 and report.interrupted


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("west", ("ingest.tick_s=null",), "tick_s"),
        ("central", ("ingest.tick_s=null",), "tick_s"),
        ("west", ("transport.sinks=[]",), "sinks: redis"),
        ("central", ("transport.sources=cameras",), "a box's to read"),
        ("west", ("transport.box=null", "transport.sources=redis"), "box:NAME"),
        ("central", ("transport.redis.url=http://a:s3cret@h",), "redis://"),
        ("central", ("transport.redis.url=${NOT_SET}",), "NOT_SET is not set"),
    ],
)
def test_what_does_not_fit_together_is_said_before_anything_starts(
    files: dict[str, Path], tmp_path: Path, name: str, settings: tuple[str, ...], match: str
) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        go(files[name], tmp_path / "out", *settings)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_ends_the_run_with_a_word(
    files: dict[str, Path], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.transport.redis_streams import TransportError

    monkeypatch.setenv("CROSSCAM_TEST_REDIS", server.config().url.replace(PASSWORD, "wr0ng"))
    for name in ("west", "central"):
        with pytest.raises(TransportError, match="password") as caught:
            go(files[name], tmp_path / name)
        assert "wr0ng" not in str(caught.value)


def test_the_examples_in_configs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cameras import load_cameras
    from pipeline.config import load_pipeline

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    for name in ("west", "east", "central"):
        cameras, pipeline = load_cameras(ROOT / "configs" / "edge" / f"{name}.yaml")
        config = load_pipeline(pipeline)
        assert cameras and config.transport.box == (None if name == "central" else name)
