"""Does a run of days grow, slow down, lose count or break an invariant?

    python benchmarks/soak.py [--hours 24] [--cameras 32] [--rate 0.06] [--output FOLDER]

A simulated station of 32 cameras, hour after hour, without pixels: another process simulates people, detections,
tracklets and vectors (its noise model) and sends what a fuser is sent; here it goes through the fuse stage and the
sinks of a run as fast as it can. On the way things go wrong, in every hour anew: cameras drop out, clocks are off by
up to 0.15 s, frames come late (some too late), out of order and, message for message, twice.

Printed per hour: resident memory, processor time of fusion and of sinks by frame and by tracklet, how many identities
and vectors are remembered; at the end the slope of memory after the identities of the first hours have closed, whether
every counter adds up to the last row, and what `verify` finds. Exit code 1 if a count or an invariant is broken.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import multiprocessing
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.factories import FuseFactory
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reorder import Reorder
from pipeline.simulate.faults import ClockSkew, DisorderedFrames, Dropout, LateFrames
from pipeline.simulate.ready_sites import station
from pipeline.simulate.run import simulate_site
from pipeline.simulate.stream import embedded_frames
from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.events import read_events, resolve
from pipeline.sinks.files import prepare_output
from pipeline.stages import FuseStage
from pipeline.types import EmbeddedFrame, Embeddings, FusedFrame, Tracks
from pipeline.verify import Limits, SiteFacts, Verdict, verify

FPS, SHOWN_FPS, HOUR_S = 5.0, 1.0, 3600.0
LATENESS_S, SKEW_S, DOUBLED = 2.0, 0.15, 0.02
TICKS_AT_ONCE = 256
Message = tuple[list[EmbeddedFrame], bool]  # the frames, and whether they are a copy of some that were sent before


@dataclass
class Counts:
    """What went in and came out."""

    frames_in: int = 0
    frames_out: int = 0
    rows_in: int = 0
    rows_out: int = 0
    rows_dropped: int = 0
    frames_dropped: int = 0
    copies: int = 0
    vectors: int = 0
    events: Counter[str] = field(default_factory=Counter)
    seen: dict[int, bytearray] = field(default_factory=dict)  # camid -> one byte for each of its tracklets

    @property
    def tracklets(self) -> int:
        return sum(sum(flags) for flags in self.seen.values())

    def take_in(self, items: Sequence[EmbeddedFrame], copy: bool) -> None:
        self.frames_in += len(items)
        self.copies += len(items) if copy else 0
        self.rows_in += sum(len(item.tracks) for item in items)
        self.vectors += sum(len(item.embeddings) for item in items)

    def give_out(self, frames: Sequence[FusedFrame]) -> None:
        self.frames_out += len(frames)
        for frame in frames:
            self.rows_out += len(frame.tracks)
            self.events.update(event.kind for event in frame.events)
            flags = self.seen.setdefault(frame.camid, bytearray())
            for track_id in frame.tracks.track_id.tolist():
                if track_id >= len(flags):
                    flags.extend(bytes(track_id + 1000 - len(flags)))
                flags[track_id] = 1


def site_of(num_cams: int, rate_per_s: float, hour_s: float, rng: np.random.Generator, faults: bool) -> Any:
    site = station(num_cams, rate_per_s=rate_per_s)
    if not faults:
        return site
    names = [camera.id for camera in site.cameras]
    late, doubled = rng.choice(names, (2, 2)), rng.choice(names, 2)
    gaps = [Dropout(camera=str(name), from_s=float(at), to_s=float(at) + 0.05 * hour_s)
            for name, at in zip(rng.choice(names, 3), rng.uniform(0, 0.9 * hour_s, 3), strict=True)]  # fmt: skip
    wrong: list[Any] = [ClockSkew(camera=names[0], offset_s=SKEW_S), ClockSkew(camera=names[-1], offset_s=-SKEW_S)]
    wrong += [LateFrames(camera=str(name), delay_s=delay) for name, delay in zip(late[0], (0.4, 1.0), strict=True)]
    wrong += [DisorderedFrames(camera=str(name), probability=0.1, frames=3) for name in doubled]
    return site.model_copy(update={"faults": (*gaps, *wrong)})


def messages(args: argparse.Namespace) -> Iterator[list[Message]]:
    """The stream of all hours. Times, frames and ids go on from hour to hour; at its end all tracks have ended."""
    hour_s = args.hour_s
    shift_ids = np.zeros(args.cameras, np.int64)
    copied = np.random.default_rng(args.seed)
    for hour in range(args.hours):
        rng = np.random.default_rng([args.seed, hour])
        run = simulate_site(site_of(args.cameras, args.rate, hour_s, rng, not args.no_faults), hour_s, seed=hour)
        batch: list[Message] = []
        for items in embedded_frames(run, fps=SHOWN_FPS):
            moved = [_moved(item, hour, hour_s, int(shift_ids[item.camid])) for item in items]
            batch.append((moved, False))
            if not args.no_faults and copied.random() < DOUBLED:
                batch.append((moved, True))
            if len(batch) >= TICKS_AT_ONCE:
                yield batch
                batch = []
        yield batch
        np.maximum.at(shift_ids, run.tracklets.camid, run.tracklets.track_id + shift_ids[run.tracklets.camid])
        yield []  # the hour is over


def _moved(item: EmbeddedFrame, hour: int, hour_s: float, ids: int) -> EmbeddedFrame:
    tracks, vectors = item.tracks, item.embeddings
    return replace(
        item,
        frame_idx=item.frame_idx + round(hour * hour_s * FPS),
        time_s=item.time_s + hour * hour_s,
        tracks=Tracks(tracks.track_id + ids, tracks.xyxy, tracks.score),
        embeddings=Embeddings(vectors.track_id + ids, vectors.vector, vectors.quality),
        ended=item.ended + ids,
    )


def produce(pipe: Connection, args: argparse.Namespace) -> None:
    for batch in messages(args):
        pipe.send(batch)
    pipe.send(None)


def resident_mib() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Soak:
    """Fusion and sinks of a run without cameras."""

    def __init__(self, num_cams: int, folder: Path) -> None:
        self.names = [camera.id for camera in station(num_cams).cameras]
        config = FusionConfig(lateness_s=LATENESS_S, simultaneous_s=0.2 + 2 * SKEW_S)
        dim = station(num_cams).noise.appearance.dim
        factory = FuseFactory(config, (None,) * num_cams, frozenset(), dim, tuple(self.names), folder=folder)
        stage = factory()
        assert isinstance(stage, FuseStage) and isinstance(stage._reorder, Reorder)
        self.stage, self.reorder = stage, stage._reorder
        prepare_output(folder)
        self.sinks = open_sinks(OutputConfig(report=False), folder, self.names, video=False, fps=SHOWN_FPS)
        self.counts = Counts()
        self.fuse_s = self.sink_s = 0.0

    def step(self, items: list[EmbeddedFrame], copy: bool) -> None:
        before = dict(self.reorder.dropped)
        self.counts.take_in(items, copy)
        self._timed(lambda: self.stage(items))
        for item in items:  # a camera has one frame in a message, so that its rows are known
            was, now = before.get(item.camid), self.reorder.dropped.get(item.camid)
            if now is not None and now != was:
                self.counts.frames_dropped += 1
                self.counts.rows_dropped += len(item.tracks)

    def flush(self) -> None:
        self._timed(self.stage.flush)

    def _timed(self, call: Any) -> None:
        start = time.process_time()
        fused = call()
        middle = time.process_time()
        self.sinks.write(fused)
        self.fuse_s += middle - start
        self.sink_s += time.process_time() - middle
        self.counts.give_out(fused)

    def remembered(self) -> tuple[int, int]:
        """Identities and vectors that newcomers are compared with."""
        fuser: Any = self.stage._fuser
        return len(fuser._state.book), fuser._state.gallery.num_vectors


def run(args: argparse.Namespace, folder: Path) -> tuple[Soak, list[list[float]]]:
    soak = Soak(args.cameras, folder)
    receive, send = multiprocessing.Pipe(duplex=False)
    source = multiprocessing.get_context("spawn").Process(target=produce, args=(send, args), daemon=True)
    source.start()
    send.close()
    hours: list[list[float]] = []
    print("| hour | MiB | us/frame, fusion | us/frame, sinks | ms/tracklet | tracklets | events | identities known "
          "| vectors | dropped |\n|" + " --- |" * 10, flush=True)  # fmt: skip
    last = _figures(soak)
    with soak.sinks:
        while (batch := receive.recv()) is not None:
            for items, copy in batch:
                soak.step(items, copy)
            if not batch:
                gc.collect()
                now = _figures(soak)
                d = {key: now[key] - last[key] for key in now}
                row = [len(hours) + 1, resident_mib(), 1e6 * d["fuse_s"] / d["frames"], 1e6 * d["sink_s"] / d["frames"],
                       1e3 * (d["fuse_s"] + d["sink_s"]) / max(d["tracklets"], 1), d["tracklets"], d["events"],
                       *soak.remembered(), d["dropped"]]  # fmt: skip
                hours.append(row)
                last = now
                print("| " + " | ".join(f"{v:.2f}" if i == 4 else f"{v:,.0f}" for i, v in enumerate(row)) + " |",
                      flush=True)  # fmt: skip
        soak.flush()
        start = time.process_time()
    print(f"\nThe tables at the end took {time.process_time() - start:.1f} s of the processor.", flush=True)
    source.join()
    return soak, hours


def _figures(soak: Soak) -> dict[str, float]:
    counts = soak.counts
    return {
        "fuse_s": soak.fuse_s,
        "sink_s": soak.sink_s,
        "frames": counts.frames_in,
        "tracklets": counts.tracklets,
        "events": counts.events.total(),
        "dropped": counts.frames_dropped,
    }


def slope(hours: list[list[float]], column: int) -> float:
    """By least squares, per hour, over the second half: after four hours unseen an identity is forgotten."""
    half = hours[len(hours) // 2 :]
    return float(np.polyfit([row[0] for row in half], [row[column] for row in half], 1)[0]) if len(half) > 1 else 0.0


def sums(soak: Soak, folder: Path) -> list[tuple[str, int, int]]:
    """(what, expected, found): counters against each other and against the files."""
    counts = soak.counts
    dropped = sum(one.late + one.twice for one in soak.reorder.dropped.values())
    with (folder / "global_tracks.csv").open(newline="") as file:
        rows, ids, keys = 0, set(), set()
        for row in csv.DictReader(file):
            rows += 1
            ids.add(row["global_id"])
            keys.add((row["camera"], row["track_id"]))
    kinds: Counter[str] = Counter()
    with (folder / "events.jsonl").open() as file:
        kinds.update(json.loads(line)["kind"] for line in file)
    named = {kind: kinds[kind] for kind in sorted(counts.events)}
    with (folder / "identities.csv").open(newline="") as file:
        identities = list(csv.DictReader(file))
    resolved = resolve(read_events(folder / "events.jsonl", {}))
    decided = {decision.global_id for parts in resolved.values() for decision in parts}
    mot = sum(len(path.read_text().splitlines()) for path in (folder / "mot").iterdir())
    return [
        ("frames given = fused + dropped", counts.frames_in, counts.frames_out + dropped),
        ("frames dropped, two ways of counting", dropped, counts.frames_dropped),
        ("rows given = fused + of dropped frames", counts.rows_in, counts.rows_out + counts.rows_dropped),
        ("rows fused = rows of global_tracks.csv", counts.rows_out, rows),
        ("rows fused = lines of mot/", counts.rows_out, mot),
        ("rows fused = num_frames of identities.csv", counts.rows_out, sum(int(i["num_frames"]) for i in identities)),
        ("tracklets fused = tracklets in the table", counts.tracklets, len(keys)),
        ("ids in the table = lines of identities.csv", len(ids), len(identities)),
        ("created + split - merged = identities by the events",
         counts.events["create"] + counts.events["split"] - counts.events["merge"], len(decided)),
        *((f"events of kind {kind}", counts.events[kind], number) for kind, number in named.items()),
    ]  # fmt: skip


def check(folder: Path) -> Verdict:
    return verify(folder, SiteFacts(overlaps=frozenset()), Limits(clock_error_s=0.2 + 2 * SKEW_S))


def report(soak: Soak, hours: list[list[float]], folder: Path) -> bool:
    """Print what follows from the hours, the sums and the invariants -> whether all is well."""
    print(
        f"\nPer hour, over the second half: memory {slope(hours, 1):+.2f} MiB, fusion {slope(hours, 2):+.2f} us a "
        f"frame, {slope(hours, 4):+.4f} ms a tracklet."
    )
    print("\n| sum | expected | found | |\n| --- | --- | --- | --- |")
    good = True
    for what, expected, found in sums(soak, folder):
        good &= expected == found
        print(f"| {what} | {expected:,} | {found:,} | {'' if expected == found else '**differs**'} |")
    drops = soak.reorder.dropped.values()
    late, twice = sum(one.late for one in drops), sum(one.twice for one in drops)
    print(f"\nToo late: {late:,} frames; twice: {twice:,} of {soak.counts.copies:,} copies.")
    print("\n| invariant | checked | broken | |\n| --- | --- | --- | --- |")
    verdict = check(folder)
    for one in verdict.checks:
        note = one.skipped or "; ".join(one.examples[:2])
        print(f"| {one.name} | {one.num_checked:,} {one.unit} | {one.num_broken} | {note} |")
    return good and verdict.holds


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--hour-s", type=float, default=HOUR_S, help="length of an hour")
    parser.add_argument("--cameras", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.06, help="people who come to the site, per second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--output", type=Path, help="keep the files of the run in this folder")
    return parser.parse_args(argv)


def main() -> None:
    args = options()
    print(f"{date.today()}, Python {platform.python_version()}, {args.cameras} cameras, {args.hours} h of "
          f"{args.hour_s:g} s, {args.rate:g} people/s\n")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.output or Path(scratch, "out")
        soak, hours = run(args, folder)
        raise SystemExit(0 if report(soak, hours, folder) else 1)


if __name__ == "__main__":
    main()
