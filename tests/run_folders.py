"""Folders as a run leaves them, for the tests of the tools that read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.sinks.run_json import write_json_atomically
from pipeline.sinks.tables import TableSink
from pipeline.types import Event
from tests.sinks.frames import fused_frame

NAMES = ("door", "hall")


def small_run(folder: Path, *, ground: bool = False, run: Mapping[str, Any] | None = None) -> Path:
    """Two cameras at 10 frames/s. Identity 1 is door:1, hall:1 (walked) and door:3, whose identity 3 was merged into 1;
    identity 2 is door:2, split at 2.5 s into 4. Somebody whom nobody decided on is hall:7."""
    events: dict[int, list[Event]] = {
        4: [
            Event("create", 0.4, 1, 0, 1, confidence=1.0),
            Event("create", 0.4, 2, 0, 2, 1, confidence=0.9, similarity=0.2, margin=4.5),
        ],
        40: [Event("link", 4.0, 1, 1, 1, 2, confidence=0.8, similarity=0.81, gap_s=1.5, margin=6.25)],
        62: [Event("create", 6.2, 3, 0, 3, 1, confidence=0.6, margin=0.3)],
        64: [Event("split", 2.5, 4, 0, 2, 2, confidence=0.7, ground_m=3.0)],
        66: [Event("merge", 6.6, 1, other_id=3, confidence=0.95, similarity=0.9)],
        70: [Event("close", 7.0, 2)],
    }
    with TableSink(folder, NAMES) as sink:
        for frame in range(80):
            at_door = [t for t, first, last in ((1, 0, 20), (2, 0, 39), (3, 60, 70)) if first <= frame <= last]
            at_hall = [t for t, first, last in ((1, 35, 55), (7, 10, 12)) if first <= frame <= last]
            place = {t: (0.1 * frame, float(t)) for t in (1, 2, 3)} if ground else None
            sink.write(
                [
                    fused_frame(0, frame, track_ids=at_door, events=events.get(frame, ()), ground=place),
                    fused_frame(1, frame, track_ids=at_hall, ground=place),
                ]
            )
        sink.events.log_camera("camera_failed", 1, 7.9, "no answer within 10 s")
    if run is not None:
        write_json_atomically(folder / "run.json", run)
    return folder
