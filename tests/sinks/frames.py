"""Made-up results of a run, for the tests of the sinks."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.types import NO_PREVIEW, Event, FusedFrame, GlobalTracks, Tracks, UInt8


def fused_frame(
    camid: int = 0,
    frame_idx: int = 0,
    *,
    time_s: float | None = None,
    track_ids: Sequence[int] = (),
    known: dict[int, int] | None = None,
    events: Sequence[Event] = (),
    ground: dict[int, tuple[float, float]] | None = None,
    boxes: dict[int, tuple[float, float, float, float]] | None = None,
    preview: UInt8 = NO_PREVIEW,
    preview_scale: float = 0.5,
    confidence: float = 0.75,
) -> FusedFrame:
    """A frame whose tracks stand side by side; `known` gives identities by track, `ground` places, `boxes` xyxy."""
    ids = np.asarray(track_ids, np.int64)
    xyxy = np.stack([40.0 * ids, 20.0 + 0 * ids, 40.0 * ids + 30, 100.5 + 0 * ids], axis=1).astype(np.float32)
    xy = np.full((len(ids), 2), np.nan)
    for row, track_id in enumerate(track_ids):
        xyxy[row] = (boxes or {}).get(track_id, xyxy[row])
        xy[row] = (ground or {}).get(track_id, xy[row])
    decided = [row for row, track_id in enumerate(track_ids) if track_id in (known or {})]
    return FusedFrame(
        camid=camid,
        frame_idx=frame_idx,
        time_s=frame_idx / 10 if time_s is None else time_s,
        tracks=Tracks(ids, xyxy, np.full(len(ids), 0.9, np.float32)),
        ground_xy=xy,
        global_tracks=GlobalTracks(
            track_id=ids[decided],
            global_id=np.array([(known or {})[track_ids[row]] for row in decided], np.int64),
            xyxy=xyxy[decided],
            confidence=np.full(len(decided), confidence, np.float32),
        ),
        events=tuple(events),
        preview=preview,
        preview_scale=preview_scale,
    )


def picture(width: int = 160, height: int = 90, grey: int = 110) -> UInt8:
    image = np.full((height, width, 3), grey, np.uint8)
    image[::8, ::8] += 20
    return image


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
