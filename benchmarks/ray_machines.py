"""A Ray cluster of several machines: what crosses between them, and a machine that dies in the middle of a run.

    python benchmarks/ray_machines.py [--cameras 8] [--seconds 120] [--size 640x360]

The machines are Ray nodes on this computer (`ray.cluster_utils`), each with its own scheduler, workers and object
store, so that whatever one has of another goes through the loopback device, whose bytes are counted. The driver's
machine has room for fusion only. Three runs of a simulated site whose tables are compared byte for byte with those of
one process: cameras read beside their workers, cameras read by the driver, and beside their workers with one machine
ended by SIGKILL when half of the frames have been seen. What the last one has lost is counted, and its identities are
verified.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import signal
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import ray
import yaml
from ray.cluster_utils import Cluster

from pipeline.app import run
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.verify import Limits, site_facts, tolerances, verify
from tests.process_tree import descendants
from tests.runtime.coloured_site import write_coloured_site

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")
WAYS = {
    "workers": "beside their workers",
    "driver": "by the driver",
    "dying": "beside their workers, a machine dies",
}
MACHINES = 2
ROOM = "worker"  # what only the machines have that cameras are to be worked on


def loopback_bytes() -> int:
    """What has gone through the loopback device since the computer started."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:"))


def runtime_file(folder: Path, address: str, read: str, workers: int) -> Path:
    per_group = 0.99 * MACHINES / workers  # groups are spread evenly, and those of a dead machine fit beside the others
    placement = {"detect": {"num_cpus": 0, "resources": {ROOM: per_group / 2}}, "fuse": {"num_cpus": 1}}
    path = folder / f"ray-{read}.yaml"
    ray_settings = {"address": address, "read": read, "placement": placement}
    path.write_text(yaml.safe_dump({"kind": "ray", "workers": workers, "ray": ray_settings}))
    return path


class Killer:
    """Ends a machine with all that runs on it as soon as so many frames have been seen."""

    def __init__(self, cluster: Cluster, at_frame: int) -> None:
        self._cluster, self._at_frame = cluster, at_frame
        self.ended = False

    def __call__(self, progress: Progress) -> None:
        if not self.ended and sum(camera.num_frames for camera in progress.cameras) >= self._at_frame:
            machine = next(iter(self._cluster.worker_nodes))
            self.ended = True
            scheduler = machine.all_processes["raylet"][0].process.pid
            for pid in sorted(descendants(scheduler, ""), key=lambda pid: pid != scheduler):  # it would replace them
                os.kill(pid, signal.SIGKILL)
            self._cluster.remove_node(machine, allow_graceful=False)


def quiet(progress: Progress) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--size", default="640x360")
    given = parser.parse_args()
    width, height = (int(side) for side in given.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cams = write_coloured_site(folder / "site", given.cameras, given.seconds, size=(width, height))
        expected = run(RunOptions(cams, folder / "inline"), quiet, lambda: False)
        print(f"{date.today()}, Python {platform.python_version()}, Ray {ray.__version__}, {os.cpu_count()} cores")
        print(
            f"{given.cameras} cameras, {expected.num_frames} frames of {width}x{height} "
            f"({width * height * 3 / 1e3:.0f} kB each), {sum(expected.num_tracklets)} tracklets\n"
        )
        print("| cameras are read | bytes between machines per frame | same tables | frames | workers replaced |")
        print("| --- | --- | --- | --- | --- |")
        for way in WAYS:
            row(folder, cams, way, expected)
        lost(folder)


def row(folder: Path, cams: Path, way: str, expected: RunReport) -> None:
    """One run on a cluster of its own."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20})
    for _ in range(MACHINES):
        cluster.add_node(num_cpus=1, resources={ROOM: 1}, object_store_memory=200 << 20)
    cluster.wait_for_nodes()
    dying = way == "dying"
    show: Callable[[Progress], None] = Killer(cluster, expected.num_frames // 2) if dying else quiet
    runtime = runtime_file(folder, cluster.address, "workers" if dying else way, 2 * MACHINES)
    before = loopback_bytes()
    try:
        report = run(RunOptions(cams, folder / way, runtime=str(runtime)), show, lambda: False)
    finally:
        moved = loopback_bytes() - before
        ray.shutdown()
        cluster.shutdown()
    same = sum((folder / way / file).read_bytes() == (folder / "inline" / file).read_bytes() for file in FILES)
    facts = yaml.safe_load((folder / way / "run.json").read_text())["runtime"]
    replaced = ", ".join(restart["worker"] for restart in facts["restarts"])
    told = "not counted" if dying else f"{moved / report.num_frames / 1e3:.1f} kB"
    name = {"workers": "beside their workers", "driver": "by the driver"}.get(
        way, "beside their workers, a machine dies"
    )
    print(f"| {name} | {told} | {same} of {len(FILES)} | {report.num_frames} | {replaced} |", flush=True)


def lost(folder: Path) -> None:
    """What a run whose machine died lacks, beside one that was left alone."""
    rows = {way: _rows(folder / way / "global_tracks.csv") for way in ("inline", "dying")}
    boxes = {way: {(r["camera"], r["frame"], r["left"], r["top"]) for r in rows[way]} for way in rows}
    missing, doubled = len(boxes["inline"] - boxes["dying"]), len(rows["dying"]) - len(boxes["dying"])
    run_folder = folder / "dying"
    holds = verify(run_folder, site_facts(None, run_folder), Limits(*tolerances(run_folder))).holds
    print(
        f"\nThe run whose machine died: of {len(boxes['inline'])} boxes {missing} are missing, {doubled} there twice;"
    )
    print(f"what `verify` asks of identities {'holds' if holds else 'DOES NOT HOLD'}.")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
