"""The whole flow on simulated sites: the same tables, byte for byte, wherever the stages run."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from pipeline.app import run
from pipeline.report import Progress, RunOptions
from tests.process_tree import descendants
from tests.runtime.coloured_site import write_coloured_site
from tests.tiny_site.tiny import write_tiny_site

pytestmark = pytest.mark.slow
TABLES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra [ray]")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seconds=4.0)
    return folder / "cams.yaml"


def tables(site: Path, output: Path, show=lambda progress: None, **options) -> dict[str, bytes]:
    run(RunOptions(site, output, **options), show, lambda: False)
    return {name: (output / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def expected(site: Path, tmp_path_factory) -> dict[str, bytes]:
    found = tables(site, tmp_path_factory.mktemp("inline") / "out")
    assert found["global_tracks.csv"].count(b"\n") > 50
    return found


def test_tables_are_the_same_with_groups_of_cameras_side_by_side(site: Path, expected, tmp_path: Path) -> None:
    assert tables(site, tmp_path, runtime="inline", workers=3) == expected


class Killer:
    """Kills the process of a stage as soon as it has worked for a while."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.killed = 0

    def __call__(self, progress: Progress) -> None:
        if not self.killed and sum(camera.num_frames for camera in progress.cameras) > 10:
            for child in multiprocessing.active_children():
                if child.name.startswith(self._stage) and not self.killed:
                    child.kill()
                    self.killed += 1


@pytest.mark.parametrize("stage", ["detect+track+embed", "fuse"])
def test_tables_are_the_same_from_processes_though_one_was_killed(
    stage: str, site: Path, expected, tmp_path: Path, caplog
) -> None:
    killer = Killer(stage)
    assert tables(site, tmp_path, killer, runtime="processes", workers=2) == expected
    assert killer.killed and "another does its last" in caplog.text


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """cams.yaml of a site of 16 cameras, and the tables that one process makes of it."""
    cams = write_coloured_site(tmp_path_factory.mktemp("sixteen"), 16, 24.0, fps=3, rate=1.5)
    found = tables(cams, tmp_path_factory.mktemp("sixteen-inline") / "out")
    visits = [line.split(",")[0] for line in found["tracklets.csv"].decode().splitlines()[1:]]
    assert len(set(visits)) > 8  # most cameras have seen somebody
    assert any(b">" in line for line in found["identities.csv"].splitlines())  # and somebody was in two of them
    return cams, found


@pytest.mark.parametrize("runtime", ["processes", pytest.param("ray", marks=needs_ray)])
def test_tables_of_a_site_of_sixteen_cameras_are_the_same(runtime: str, sixteen, tmp_path: Path) -> None:
    cams, expected = sixteen
    assert tables(cams, tmp_path / "out", runtime=runtime, workers=2) == expected


@needs_ray
def test_tables_are_the_same_from_a_cluster_though_all_its_actors_were_killed(sixteen, tmp_path: Path, caplog) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if killed or sum(camera.num_frames for camera in progress.cameras) < 300:
            return
        for pid in descendants(os.getpid(), "ray::Station"):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    cams, expected = sixteen
    assert tables(cams, tmp_path / "out", kill, runtime="ray", workers=2) == expected
    told = json.loads((tmp_path / "out" / "run.json").read_text())["runtime"]
    assert killed and {restart["worker"] for restart in told["restarts"]} >= {"detect+track+embed-0", "fuse"}
    assert "ticks again" in caplog.text


@needs_ray
def test_recordings_are_read_on_where_what_read_them_was_killed(sixteen, tmp_path: Path, caplog) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if killed or sum(camera.num_frames for camera in progress.cameras) < 300:
            return
        killed.extend(descendants(os.getpid(), "ray::_Host")[:1])
        os.kill(killed[0], signal.SIGKILL)

    cams, expected = sixteen
    found = tables(cams, tmp_path / "out", kill, runtime="ray", workers=2)
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [restart["worker"][:5] for restart in told["runtime"]["restarts"]] == ["read-"]
    assert "another reads on" in caplog.text
    frames = [camera["frames"] for camera in told["cameras"]]
    assert frames == [frames[0]] * 16  # each picture came once, but what was on its way is missing in the tables
    assert len(found["global_tracks.csv"]) > 0.8 * len(expected["global_tracks.csv"])
