"""How each camera is doing, readable from any thread at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.urls import mask_credentials

CameraState: TypeAlias = Literal["connecting", "running", "reconnecting", "ended", "failed", "stopped", "removed"]

_FOR_GOOD = ("failed", "removed")


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A snapshot of one camera.

    `num_frames` were delivered, `num_dropped` given up because the pipeline was slower than the camera,
    `num_broken` could not be decoded. `expected_frames` is what the container promises (0: unknown).
    `fps` is nominal for recordings and measured for live cameras (0: unknown yet). `last_time_s` is the capture time
    of the last delivered frame on the shared clock (0 while there is none), `lag_s` how old that frame was when
    delivered (0 for recordings). `message` is the last warning or error, free of credentials.
    """

    camid: int
    name: str
    state: CameraState = "connecting"
    num_frames: int = 0
    num_dropped: int = 0
    num_broken: int = 0
    expected_frames: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    last_time_s: float = 0.0
    lag_s: float = 0.0
    num_reconnects: int = 0
    message: str = ""


class StatusBoard:
    """Owns the status of every camera; each change replaces a frozen snapshot under a lock."""

    def __init__(self, specs: Sequence[CameraSpec]) -> None:
        self._lock = threading.Lock()
        self._status = {s.camid: CameraStatus(s.camid, s.name) for s in sorted(specs, key=lambda s: s.camid)}

    def snapshot(self) -> tuple[CameraStatus, ...]:
        with self._lock:
            return tuple(self._status[camid] for camid in sorted(self._status))

    def __getitem__(self, camid: int) -> CameraStatus:
        with self._lock:
            return self._status[camid]

    def set(self, camids: Iterable[int], **changes: Any) -> None:
        """Set fields of the named cameras; a `message` is masked. One that has failed or was removed stays so."""
        if "message" in changes:
            changes["message"] = mask_credentials(changes["message"])
        with self._lock:
            for camid in camids:
                if self._status[camid].state not in _FOR_GOOD:
                    self._status[camid] = replace(self._status[camid], **changes)

    def add(self, spec: CameraSpec) -> None:
        """One camera more; counts of one that was removed go on."""
        with self._lock:
            old = self._status.get(spec.camid, CameraStatus(spec.camid, spec.name))
            self._status[spec.camid] = replace(old, state="connecting", message="", fps=0.0, lag_s=0.0)

    def remove(self, camids: Iterable[int]) -> None:
        """These cameras are no longer read."""
        with self._lock:
            for camid in camids:
                self._status[camid] = replace(self._status[camid], state="removed", message="", fps=0.0, lag_s=0.0)

    def stop(self) -> None:
        """The reader is closed: cameras that were still running have been stopped."""
        with self._lock:
            for camid, status in self._status.items():
                if status.state == "running":
                    self._status[camid] = replace(status, state="stopped")

    def count(self, camids: Iterable[int], *, dropped: int = 0, broken: int = 0, reconnects: int = 0) -> None:
        with self._lock:
            for camid in camids:
                old = self._status[camid]
                self._status[camid] = replace(
                    old,
                    num_dropped=old.num_dropped + dropped,
                    num_broken=old.num_broken + broken,
                    num_reconnects=old.num_reconnects + reconnects,
                )

    def delivered(self, camid: int, *, time_s: float, lag_s: float, width: int, height: int) -> None:
        with self._lock:
            old = self._status[camid]
            self._status[camid] = replace(
                old, num_frames=old.num_frames + 1, last_time_s=time_s, lag_s=lag_s, width=width, height=height
            )
