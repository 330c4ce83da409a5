"""How many bytes do edge boxes send to a fuser, and what does it take to write and read them?

    python benchmarks/message_sizes.py

Sizes are those of the JSON messages that boxes put into a Redis stream (docs/running-at-scale.md), one for each tick of
a box; what Redis and TCP add is not in them. First the parts of a message, then all of a simulated station.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from datetime import date

import numpy as np

from pipeline.simulate.ready_sites import station
from pipeline.simulate.run import simulate_site
from pipeline.simulate.stream import embedded_frames
from pipeline.transport.messages import TickMessage, decode_tick, encode_event, encode_tick
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Event, Tracks

NAMES = [f"camera-{n:03d}" for n in range(400)]
ZERO_S, TICK_S = 1_790_000_000.0, 0.2


def size(frames: Sequence[EmbeddedFrame]) -> int:
    return len(encode_tick(TickMessage(123_456_789, tuple(frames)), NAMES, ZERO_S, tick_s=TICK_S))


def frame(people: int, clips: int, dim: int, ended: int = 0) -> EmbeddedFrame:
    rng = np.random.default_rng(0)
    ids = np.arange(people + clips + ended, dtype=np.int64) + 12_345
    left_top = rng.uniform(0, 900, (people, 2))
    boxes = np.concatenate((left_top, left_top + rng.uniform(40, 200, (people, 2))), axis=1).astype(np.float32)
    tracks = Tracks(ids[:people], boxes, rng.uniform(0.5, 1, people).astype(np.float32))
    vector = rng.standard_normal((clips, dim)).astype(np.float32)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    quality = rng.uniform(0.5, 1, clips).astype(np.float32)
    told = Embeddings(ids[:clips], vector.reshape(clips, dim), quality)
    return EmbeddedFrame(7, 123_456, 12_345.6, tracks, told, ids[:ended], NO_PREVIEW, 1.0)


def main() -> None:
    print(f"{date.today()}, Python {platform.python_version()}\n")
    print("| part of a message | bytes |\n| --- | --- |")
    link = Event("link", 12_345.6, 4321, 7, 99, 17, *([0.123456] * 9))
    tick, empty = size([]), size([frame(0, 0, 256)])
    rows = {
        "a tick": tick,
        "+ a frame that shows nobody": empty - tick,
        "+ a person in it": (size([frame(20, 0, 256)]) - empty) // 20,
        "+ the end of a tracklet": (size([frame(0, 0, 256, 20)]) - empty) // 20,
        **{f"+ a clip's vector of {dim} numbers": (size([frame(0, 20, dim)]) - empty) // 20 for dim in (256, 512)},
        "an event of the fuser": len(encode_event(link, NAMES, ZERO_S)),
    }
    for name, number in rows.items():
        print(f"| {name} | {number} |")
    site = station(16, rate_per_s=0.3)
    run = simulate_site(site, 300.0, 1)
    sent = [(n, tuple(items)) for n, items in enumerate(embedded_frames(run, fps=None, empty_frames=True))]
    names = list(site.camera_names)
    began = time.process_time()
    coded = [encode_tick(TickMessage(n, items), names, ZERO_S, tick_s=TICK_S) for n, items in sent]
    wrote = time.process_time()
    for data in coded:
        decode_tick(data, {name: n for n, name in enumerate(names)}, dim=site.noise.appearance.dim, max_bytes=1 << 24)
    read = time.process_time()
    num_frames, num_rows = sum(len(i) for _, i in sent), sum(len(f.tracks) for _, i in sent for f in i)
    num_clips = sum(len(f.embeddings) for _, i in sent for f in i)
    total, num = sum(map(len, coded)), len(run.tracklets.track_id)
    per_camera = total / run.seconds / len(names)
    print(
        f"\nA station of {len(names)} cameras, {run.seconds:g} s: {num_frames:,} frames, {num_rows:,} boxes, "
        f"{num_clips:,} clips, {num:,} tracklets: {total / 1e6:.1f} MB, {per_camera:,.0f} bytes a camera and second, "
        f"{total / num / 1e3:.1f} KB a tracklet; {1e6 * (wrote - began) / num_frames:.0f} us a frame to write, "
        f"{1e6 * (read - wrote) / num_frames:.0f} us to read"
    )


if __name__ == "__main__":
    main()
