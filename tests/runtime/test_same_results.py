"""The whole flow on a small simulated site: the same tables, byte for byte, wherever the stages run."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from pipeline.app import run
from pipeline.report import Progress, RunOptions
from pipeline.simulate.tiny import write_tiny_site

pytestmark = pytest.mark.slow
TABLES = ("global_tracks.csv", "tracklets.csv", "identities.csv")


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
