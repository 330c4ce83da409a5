"""Does memory grow with the length of a run?

    python benchmarks/memory.py --cams configs/checks/pets_split.yaml [--passes 1 2 4]

Every camera's file is copied, packet by packet, into one that holds it 1, 2 and 4 times; the whole command runs on
each in a process of its own. Printed are the peak and how much was in use a quarter of the way in and at the end
(resident memory, sampled ten times a second).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import av
import yaml

from pipeline.cameras import load_cameras

_MIB = 1 / 1024


def repeat(source: Path, target: Path, passes: int) -> None:
    """`source` several times over in one file, without decoding."""
    with av.open(str(target), "w") as sink:
        stream = None
        shift = 0
        for _ in range(passes):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = sink.add_stream_from_template(video)
                last = shift
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts = shift + (packet.dts if packet.pts is None else packet.pts)
                    packet.dts = shift + packet.dts
                    last = max(last, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    sink.mux(packet)
                shift = last


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process, None once it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * _MIB
    except FileNotFoundError:
        pass
    return None


def watch(args: list[str]) -> list[float]:
    process = subprocess.Popen([sys.executable, "run_pipeline.py", *args, "--quiet"])
    samples = []
    while process.poll() is None:
        used = resident_mib(process.pid)
        if used is not None:
            samples.append(used)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cams", type=Path, default=Path("configs/checks/pets_split.yaml"))
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    cameras, pipeline = load_cameras(args.cams)
    print(f"{date.today()}, Python {platform.python_version()}, {args.cams}\n")
    print("| passes | seconds | peak MiB | after a quarter | at the end |\n| --- | --- | --- | --- | --- |")
    for passes in args.passes:
        with tempfile.TemporaryDirectory() as folder:
            entries = []
            for camera in cameras:
                source = Path(camera.source)
                target = Path(folder, f"{source.stem}{source.suffix}")
                if not target.exists():
                    repeat(source, target, passes)
                crop = list(camera.crop) if camera.crop else None
                entries.append({"id": camera.name, "source": str(target), "fps": camera.fps, "crop": crop})
            cams = Path(folder, "cams.yaml")
            cams.write_text(yaml.safe_dump({"pipeline": str(pipeline), "cameras": entries}))
            start = time.perf_counter()
            used = watch(["--cams", str(cams), "--output", str(Path(folder, "out"))])
            seconds = time.perf_counter() - start
            quarter = statistics.median(used[len(used) // 4 : len(used) // 4 + 5])
            end = statistics.median(used[-10:-3])
            print(f"| {passes} | {seconds:.0f} | {max(used):.0f} | {quarter:.0f} | {end:.0f} |", flush=True)


if __name__ == "__main__":
    main()
