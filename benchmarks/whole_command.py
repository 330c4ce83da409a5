"""How fast is the whole command beside its detector alone, and where does the time go?

    python benchmarks/whole_command.py --cams configs/checks/pets_split.yaml [--rounds 3]

Each round runs, one after the other in this process and on the same cameras:

    detector   decode ahead and detect, nothing else
    command    the whole pipeline with all its files (`pipeline.app.run`), model loading and closing of files included
    glue       the same detector, tracker and network called in a plain loop, every box of every frame embedded

and prints the medians, the ratios round by round, and how the processor time of the command splits up: measured in
the run itself, inside ONNX Runtime's calls and in the threads that read the cameras. All that is left, FFmpeg's own
threads and the start-up among it, is "everything else".
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from pipeline.app import run
from pipeline.cameras import load_cameras
from pipeline.config import load_pipeline
from pipeline.detect.build import build_detector
from pipeline.detect.onnx import OnnxDetector
from pipeline.ingest.feed import Feed
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.reid.build import build_embedder
from pipeline.reid.onnx import OnnxEmbedder
from pipeline.report import RunOptions
from pipeline.track.build import build_tracker
from pipeline.types import Clips


@dataclass
class Meter:
    """Processor time of the networks' runs, by the room that called them, and of the threads that read cameras."""

    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "detect": 0.0, "embed": 0.0})
    _owner: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def installed(self) -> Iterator[None]:
        kept = OnnxDetector._run, OnnxEmbedder._run, ort.InferenceSession.run, Feed._run
        OnnxDetector._run = self._owned("detect", kept[0])  # type: ignore[method-assign]
        OnnxEmbedder._run = self._owned("embed", kept[1])  # type: ignore[method-assign]
        ort.InferenceSession.run = self._timed(kept[2])
        Feed._run = self._owned("read", self._timed(kept[3]))  # type: ignore[method-assign]
        try:
            yield
        finally:
            OnnxDetector._run, OnnxEmbedder._run, ort.InferenceSession.run, Feed._run = kept  # type: ignore[method-assign]

    def _owned(self, room: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def owned(*args: Any) -> Any:
            self._owner.room = room
            return call(*args)

        return owned

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*args, **named)
            finally:
                room = getattr(self._owner, "room", None)
                if room:
                    with self._lock:
                        self.seconds[room] += time.thread_time() - start

        return timed


@dataclass(frozen=True)
class Pass:
    wall_s: float
    cpu_s: float
    num_frames: int

    @property
    def fps(self) -> float:
        return self.num_frames / self.wall_s


class Bench:
    def __init__(self, cams: Path) -> None:
        self.cams = cams
        self.cameras, config_path = load_cameras(cams)
        self.config = load_pipeline(config_path)
        self.base_dir = config_path.parent if config_path else Path.cwd()
        self.names = tuple(camera.name for camera in self.cameras)

    def reader(self) -> TickReader:
        specs = [
            CameraSpec(i, c.name, c.source, c.start_time_s, c.offset_s, c.fps, c.crop)
            for i, c in enumerate(self.cameras)
        ]
        return TickReader(specs, self.config.ingest)

    def detector(self) -> Pass:
        detector = build_detector(self.config.detect, self.names, self.base_dir)
        return measured(lambda: self._over_ticks(detector.detect))

    def command(self, meter: Meter | None = None) -> Pass:
        with tempfile.TemporaryDirectory() as folder:
            options = RunOptions(self.cams, Path(folder))

            def call() -> int:
                return run(options, lambda progress: None, lambda: False).num_frames

            if meter is None:
                return measured(call)
            with meter.installed():
                return measured(call)

    def glue(self) -> Pass:
        detector = build_detector(self.config.detect, self.names, self.base_dir)
        embedder = build_embedder(self.config.reid, self.base_dir)
        trackers = [build_tracker(self.config.track) for _ in self.names]
        height, width = embedder.input_hw

        def every_box(frames: Any) -> None:
            for frame, found in zip(frames, detector.detect(frames), strict=True):
                tracks = trackers[frame.camid].update(found, frame.time_s)
                crops = []
                for left, top, right, bottom in np.rint(tracks.xyxy).astype(int).clip(0):
                    crop = frame.image[top : bottom + 1, left : right + 1]
                    crops.append(cv2.resize(crop, (width, height)))
                if crops:
                    count = len(crops)
                    one = np.ones(count)
                    embedder.embed(Clips(tracks.track_id, np.stack(crops)[:, None], one.astype(np.int64), one))

        return measured(lambda: self._over_ticks(every_box))

    def _over_ticks(self, work: Callable[[Any], object]) -> int:
        num_frames = 0
        with self.reader() as reader:
            for tick in reader:
                work(tick.frames)
                num_frames += len(tick.frames)
        return num_frames


def measured(call: Callable[[], int]) -> Pass:
    wall, cpu = time.perf_counter(), time.process_time()
    num_frames = call()
    return Pass(time.perf_counter() - wall, time.process_time() - cpu, num_frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cams", type=Path, default=Path("configs/checks/pets_split.yaml"))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    bench = Bench(args.cams)
    bench.detector()  # warms the file cache and the processor
    rounds = [(bench.detector(), bench.command(), bench.glue()) for _ in range(args.rounds)]
    print(f"{date.today()}, {cpu_name()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    print(f"{args.cams}: {len(bench.names)} cameras, {rounds[0][0].num_frames} camera-frames, {args.rounds} rounds\n")
    print("| | camera-frames/s (median) | of the detector alone, round by round |\n| --- | --- | --- |")
    for place, name in enumerate(("detector alone", "whole command", "glue, every box embedded")):
        ratios = ", ".join(f"{r[place].fps / r[0].fps:.2f}" for r in rounds)
        print(f"| {name} | {statistics.median(r[place].fps for r in rounds):.1f} | {ratios} |")
    breakdown(bench)


def breakdown(bench: Bench) -> None:
    meter = Meter()
    whole = bench.command(meter)
    parts = {
        "reading and decoding": meter.seconds["read"],
        "detector network": meter.seconds["detect"],
        "ReID network": meter.seconds["embed"],
    }
    parts["everything else"] = whole.cpu_s - sum(parts.values())
    print(f"\nProcessor time of one command, {whole.cpu_s:.2f} s in {whole.wall_s:.2f} s:\n")
    print("| part | s | share | ms per camera-frame |\n| --- | --- | --- | --- |")
    for name, seconds in parts.items():
        per_frame = 1000 * seconds / whole.num_frames
        print(f"| {name} | {seconds:.2f} | {seconds / whole.cpu_s:.1%} | {per_frame:.2f} |")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
