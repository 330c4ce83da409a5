"""The live figures of a run: what its cameras, stages and identities came to so far."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pipeline.ingest.status import CameraStatus
from pipeline.ingest.ticks import TickReader
from pipeline.live.figures import CameraFigures, NodeFigures, Snapshot
from pipeline.remote import Reader
from pipeline.report import Progress
from pipeline.runtime.build import Queued, Runner
from pipeline.types import FusedFrame

log = logging.getLogger(__name__)

LOOK_PERIOD_S = 0.1
"""How often `Watch.look` is to be called."""
_SHOW_PERIOD_S = 0.25
_MINUTE_S = 60.0


class CameraLog(Protocol):
    """Where it is noted what happens to cameras."""

    def log_camera(self, kind: str, camid: int, time_s: float, message: str = "") -> None: ...


class Watch:
    """Keeps the live figures of a run, shows them now and then, and records what happens to cameras."""

    def __init__(
        self,
        reader: Reader,
        sinks: CameraLog,
        show: Callable[[Progress], None],
        started: float,
        recordings: frozenset[int] = frozenset(),
    ) -> None:
        """recordings: camids of cameras that can be read again: what is told of them does not depend on when."""
        self._reader = reader
        self._recordings = recordings
        self._sinks = sinks
        self._show = show
        self._started = started
        self._shown = 0.0
        self._names = [status.name for status in reader.status()]
        self._states = dict.fromkeys(self._names, "connecting")
        self._live = [0] * len(self._states)
        self._last_ids = [0] * len(self._states)
        self._num_tracklets = [0] * len(self._states)
        self._num_identities = 0
        self._num_events: Counter[str] = Counter()
        self._merged_s: deque[float] = deque()  # when, within the last minute
        self._num_ticks = 0
        self._last_tick_s: float | None = None

    def follow(self, camera_names: Sequence[str]) -> None:
        """There may be more cameras from now on, names by camid; one that had gone may come back."""
        for name in camera_names[len(self._names) :]:
            for counts in (self._live, self._last_ids, self._num_tracklets):
                counts.append(0)
            self._states[name] = "connecting"
        self._names = list(camera_names)

    @property
    def num_tracklets(self) -> tuple[int, ...]:
        """Of each camera, so far."""
        return tuple(self._num_tracklets)

    def state(self) -> dict[str, Any]:
        """What `restore` needs in a run that goes on."""
        return {
            "states": dict(self._states),
            "broken": {status.name: status.num_broken for status in self._reader.status()},
            "last_ids": list(self._last_ids),
            "num_tracklets": list(self._num_tracklets),
            "num_identities": self._num_identities,
            "num_events": dict(self._num_events),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the one did whose `state` this was, which may have had fewer cameras."""
        self._states |= state["states"]
        more = [0] * (len(self._names) - len(state["last_ids"]))
        self._last_ids, self._num_tracklets = [*state["last_ids"], *more], [*state["num_tracklets"], *more]
        self._num_identities, self._num_events = state["num_identities"], Counter(state["num_events"])

    def introduce(self, frames: Sequence[FusedFrame]) -> None:
        """Record that recordings run, at their first frame."""
        for frame in frames:
            name = self._names[frame.camid]
            if frame.camid in self._recordings and self._states[name] == "connecting":
                self._states[name] = "running"
                self._sinks.log_camera("camera_running", frame.camid, frame.time_s)

    def say_goodbye(self) -> None:
        """Record how recordings have ended."""
        self._record([camera for camera in self._reader.status() if camera.camid in self._recordings])

    def miss(self, camid: int, from_s: float, to_s: float) -> None:
        """Record that a live camera was not read for a while, because the run was killed."""
        text = f"nothing was read from {from_s:.3f} s to {to_s:.3f} s: the run was cut off and gone on with"
        log.warning("camera %s: %s", self._names[camid], text)
        self._sinks.log_camera("camera_resumed", camid, to_s, text)

    def see(self, frames: Sequence[FusedFrame]) -> None:
        """Take in the results of a tick."""
        self._num_ticks, self._last_tick_s = self._num_ticks + 1, time.perf_counter()
        while self._merged_s and self._merged_s[0] < self._last_tick_s - _MINUTE_S:
            self._merged_s.popleft()
        for frame in frames:
            self._live[frame.camid] = len(frame.tracks)
            if len(frame.tracks):  # ids rise: what is above the highest so far is new
                new = frame.tracks.track_id > self._last_ids[frame.camid]
                self._num_tracklets[frame.camid] += int(new.sum())
                self._last_ids[frame.camid] = max(self._last_ids[frame.camid], int(frame.tracks.track_id.max()))
            for event in frame.events:
                self._num_events[event.kind] += 1
                if event.kind == "merge":
                    self._merged_s.append(self._last_tick_s)
                self._num_identities += (event.kind in ("create", "split")) - (event.kind == "merge")

    def figures(self, runner: Runner) -> Snapshot:
        """All there is to know of the run at this moment; from any thread."""
        now = time.perf_counter()
        status, times = self._reader.status(), runner.times()
        waiting = self._reader.waiting() if isinstance(self._reader, TickReader) else {}
        number: Counter[str] = Counter()
        nodes = []
        for node in times:
            nodes.append(NodeFigures(node.name, number[node.name], node.wall_s, node.num_items, node.sizes))
            number[node.name] += 1
        return Snapshot(
            wall_s=now - self._started,
            idle_s=None if self._last_tick_s is None else now - self._last_tick_s,
            cameras=tuple(
                CameraFigures(
                    camera.name,
                    camera.state,
                    num_frames=camera.num_frames,
                    num_dropped=camera.num_dropped,
                    num_broken=camera.num_broken,
                    num_reconnects=camera.num_reconnects,
                    fps=camera.fps,
                    lag_s=camera.lag_s,
                    num_people=self._live[camera.camid],
                    num_tracklets=self._num_tracklets[camera.camid],
                    num_waiting=waiting.get(camera.camid),
                )
                for camera in status
            ),
            nodes=tuple(nodes),
            num_ticks=self._num_ticks,
            num_identities=self._num_identities,
            num_merges=self._num_events["merge"],
            merges_per_minute=float(sum(merged_s >= now - _MINUTE_S for merged_s in list(self._merged_s))),
            num_splits=self._num_events["split"],
            num_restarts=len(runner.restarts()),
            waiting=runner.waiting() if isinstance(runner, Queued) else {},
        )

    def look(self) -> None:
        """Record what has changed, and show how things are if it is time to."""
        status = self._reader.status()
        self._record([one for one in status if one.camid not in self._recordings or one.state == "removed"])
        now = time.perf_counter()
        if now - self._shown >= _SHOW_PERIOD_S:
            self._shown = now
            self._show(Progress(status, tuple(self._live[: len(status)]), self._num_identities, now - self._started))

    def _record(self, cameras: Sequence[CameraStatus]) -> None:
        for camera in cameras:
            if camera.state not in ("connecting", self._states[camera.name]):
                self._states[camera.name] = camera.state
                if camera.state != "removed":  # which is told by who removed it
                    self._sinks.log_camera(f"camera_{camera.state}", camera.camid, camera.last_time_s, camera.message)
