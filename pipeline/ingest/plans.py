"""How each source of a reader is read: which cameras share one, where the clock has its zero, and the plan of each."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ingest.build import LIVE, SourceKind, locate
from pipeline.ingest.clock import WallClock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.items import FeedPlan
from pipeline.ingest.spec import CameraSpec

logger = logging.getLogger(__name__)


class ChangeError(ValueError):
    """Cameras that can not be added while others are being read. The message names the camera and why."""


@dataclass(frozen=True, slots=True)
class Playback:
    """How recordings are played, settled when a reader starts: in real time as soon as one camera is live, or with the
    policy `drop_oldest`, else as fast as ticks are taken. `paced_from_s` is the time on the shared clock at which they
    begin to be played; None where nobody waits for the clock."""

    any_live: bool = False
    paced_from_s: float | None = None


def group_by_source(specs: Sequence[CameraSpec]) -> list[tuple[CameraSpec, ...]]:
    """Cameras that share a decoder: the same source, and the same times. In the order of their first camid."""
    groups: dict[object, list[CameraSpec]] = {}
    for spec in sorted(specs, key=lambda s: s.camid):
        key = (locate(spec.source), spec.fps, spec.start_time_s, spec.offset_s)
        groups.setdefault(key, []).append(spec)
    return [tuple(group) for group in groups.values()]


def clock_zero_of(groups: Sequence[tuple[CameraSpec, ...]], wall: WallClock) -> float | None:
    """Seconds since 1970 at which `Frame.time_s` is 0: the earliest `start_time_s` of the recordings that have one,
    else the present if a camera is live, else None (every recording starts at 0)."""
    recorded = [g[0] for g in groups if locate(g[0].source)[0] not in LIVE]
    starts_s = [s.start_time_s for s in recorded if s.start_time_s is not None]
    for spec in recorded if starts_s else ():
        if spec.start_time_s is None:
            logger.warning("camera %s has no start_time; taken as the earliest of the others", spec.name)
    if starts_s:
        return min(starts_s)
    return wall.now_s() if len(recorded) < len(groups) else None


def plans_at_start(
    groups: Sequence[tuple[CameraSpec, ...]], config: IngestConfig, clock_zero_s: float
) -> tuple[Playback, list[FeedPlan]]:
    """How the cameras that are there from the start are read: one plan for each of `group_by_source`."""
    kinds = [locate(group[0].source) for group in groups]
    any_live = any(kind in LIVE for kind, _ in kinds)
    zeros_s = [
        group[0].offset_s - clock_zero_s
        if kind in LIVE
        else group[0].offset_s + (0.0 if group[0].start_time_s is None else group[0].start_time_s - clock_zero_s)
        for group, (kind, _) in zip(groups, kinds, strict=True)
    ]
    recorded_s = [z for z, (kind, _) in zip(zeros_s, kinds, strict=True) if kind not in LIVE]
    paced_from_s = min(recorded_s, default=0.0) if any_live or config.policy == "drop_oldest" else None
    threads = _threads(config, len(groups))
    plans = [
        FeedPlan(
            kind=kind,
            address=address,
            specs=group,
            zero_s=zero_s,
            paced_from_s=None if kind in LIVE else paced_from_s,
            dropping=_drops(kind, config),
            threads=threads,
        )
        for group, (kind, address), zero_s in zip(groups, kinds, zeros_s, strict=True)
    ]
    return Playback(any_live, paced_from_s), plans


def plan_of_added(
    spec: CameraSpec,
    config: IngestConfig,
    playback: Playback,
    *,
    clock_zero_s: float,
    now_s: float,
    elapsed_s: float,
    num_others: int,
    last: tuple[int, float] | None,
) -> FeedPlan:
    """How a camera is read that comes while others are being read; a recording begins now, whatever its start_time.

    now_s: the present on the shared clock. elapsed_s: since the reader started. num_others: sources that are read.
    last: frame_idx and time_s of the last frame, where there was a camera of that id. Raises ChangeError.
    """
    kind, address = locate(spec.source)
    is_live, again = kind in LIVE, last is not None
    if is_live and not playback.any_live:
        raise ChangeError(
            f"camera {spec.name}: it is live, but this run reads recordings; start another run for live cameras"
        )
    if not is_live and again:
        raise ChangeError(
            f"camera {spec.name}: there was a camera of that id; a recording that is added needs a new one"
        )
    last_idx, last_s = last or (-1, float("-inf"))
    return FeedPlan(
        kind=kind,
        address=address,
        specs=(spec,),
        zero_s=spec.offset_s - clock_zero_s if is_live else now_s,
        paced_from_s=None if is_live or playback.paced_from_s is None else now_s - elapsed_s,
        dropping=_drops(kind, config),
        threads=_threads(config, num_others + 1),
        first_idx=last_idx + 1,
        after_s=last_s,
    )


def _drops(kind: SourceKind, config: IngestConfig) -> bool:
    return config.policy == "drop_oldest" or (kind in LIVE and config.policy == "auto")


def _threads(config: IngestConfig, num_sources: int) -> int:
    """Decoding threads of one of so many sources."""
    return config.decode_threads or max(1, (os.cpu_count() or 1) // max(1, num_sources))
