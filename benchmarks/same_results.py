"""The same files, byte for byte, wherever the stages run: PETS split with real networks, and a simulated site of 16.

    python benchmarks/same_results.py [--ray] [--max-seconds S]

PETS 2009 S2.L1 cut into two cameras (configs/checks/pets_split.yaml, YOLOX-nano and OSNet), and 16 drawn cameras with
the simulator's detections. Printed are the size of each table, its SHA-256 and which runtimes gave the same bytes.
Exit code 1 where any differ.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from pipeline.app import run
from pipeline.report import RunOptions
from tests.runtime.coloured_site import write_coloured_site

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="also on a private Ray cluster of this machine")
    parser.add_argument("--max-seconds", type=float, help="only so much of PETS")
    given = parser.parse_args()
    runtimes = ("inline", "processes", *(("ray",) if given.ray else ()))
    print(f"{date.today()}, Python {platform.python_version()}")
    same = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sites = {
            "PETS split": Path("configs/checks/pets_split.yaml").resolve(),
            "16 cameras": write_coloured_site(folder / "sixteen", 16, 60.0),
        }
        for site, cams in sites.items():
            found: dict[str, dict[str, bytes]] = {}
            for runtime in runtimes:
                output = folder / f"{site}-{runtime}"
                limit = given.max_seconds if site == "PETS split" else None
                options = RunOptions(cams, output, max_seconds=limit, runtime=runtime, workers=2)
                started_s = time.perf_counter()
                report = run(options, lambda progress: None, lambda: False)
                found[runtime] = {file: (output / file).read_bytes() for file in FILES}
                print(
                    f"{site}, {runtime}: {report.num_frames} frames, {sum(report.num_tracklets)} tracklets, "
                    f"{report.num_identities} identities, {report.num_cross_camera_links} links, "
                    f"{time.perf_counter() - started_s:.0f} s",
                    flush=True,
                )
            print(f"\n| {site} | bytes | SHA-256 begins | the same in |\n| --- | --- | --- | --- |")
            for file in FILES:
                first = found["inline"][file]
                alike = [runtime for runtime in runtimes if found[runtime][file] == first]
                same &= len(alike) == len(runtimes)
                print(f"| {file} | {len(first):,} | {hashlib.sha256(first).hexdigest()[:12]} | {', '.join(alike)} |")
            print(flush=True)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
