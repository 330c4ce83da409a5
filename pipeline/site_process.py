"""A process for each site's fuser, so that sites work side by side (`fusion.site_processes`).

The fuse stage starts them and talks with them through pipes: one request, one answer. A process ends when its pipe
does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Any, TypeAlias

import numpy as np

from pipeline.fusion.association_file import Knowledge
from pipeline.fusion.site_fuser import NearSite, SiteJob
from pipeline.fusion.travel_parts import Part
from pipeline.saved_state import load_state, save_state
from pipeline.types import (
    NO_PREVIEW,
    EmbeddedFrame,
    Embeddings,
    Event,
    Float64,
    FusedFrame,
    GlobalTracks,
    Tracks,
)

_Empty: TypeAlias = tuple[int, int, float, int]  # camid, frame_idx, time_s, length of vectors
_Decided: TypeAlias = tuple[Float64, GlobalTracks, tuple[Event, ...]]

STATE_MODULES = "pipeline.types", "pipeline.settings", "pipeline.geometry.", "pipeline.fusion."
"""Modules whose objects make up what a fuser remembers."""


class SiteLostError(RuntimeError):
    """The process of a site ended without having been asked to. The message names the site."""


class SiteProcess:
    """A `SiteFuser` in a process of its own, which is started when it is first asked. Used by one thread, but `sizes`.

    As a part of what a stage remembers it is written with the state of the other process.
    """

    def __init__(self, job: SiteJob, saved: bytes | None = None) -> None:
        """saved: the state that the process is to begin with."""
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._saved = saved
        self._asked: tuple[EmbeddedFrame, ...] | None = None
        self._sizes: dict[str, int] = {}

    def begin(self, items: Sequence[EmbeddedFrame]) -> None:
        self._asked = tuple(items)
        self._send("begin", [_short(item) for item in items])

    def begin_flush(self) -> None:
        self._asked = None
        self._send("begin_flush")

    def frames(self) -> list[FusedFrame]:
        answer, self._sizes = self._receive()
        asked, self._asked = self._asked, None
        return list(answer) if asked is None else [_fused(*pair) for pair in zip(asked, answer, strict=True)]

    def learned(self) -> Part:
        part: Part = self._ask("learned")
        return part

    def knowledge(self, cameras: Sequence[str]) -> Knowledge:
        knowledge: Knowledge = self._ask("knowledge", list(cameras))
        return knowledge

    def sizes(self) -> dict[str, int]:
        """As of the last answer."""
        return dict(self._sizes)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def __getstate__(self) -> dict[str, Any]:
        saved = self._ask("state") if self._process else self._saved
        return {"_job": self._job, "_process": None, "_saved": saved, "_asked": None, "_sizes": self._sizes}

    def __del__(self) -> None:
        self.close()

    def _ask(self, method: str, *args: Any) -> Any:
        self._send(method, *args)
        return self._receive()[0]

    def _send(self, method: str, *args: Any) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            self._send("build", self._job, self._saved)
            self._receive()
            self._saved = None
        try:
            assert self._process.stdin is not None
            pickle.dump((method, args), self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError as error:
            raise self._lost() from error

    def _receive(self) -> Any:
        assert self._process is not None and self._process.stdout is not None
        try:
            failure, trace, *answer = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise self._lost() from error
        if failure is not None:
            failure.add_note(f"In the process of site {self._job.name}:\n{trace}")
            raise failure
        return answer

    def _lost(self) -> SiteLostError:
        process, self._process = self._process, None
        code = process.wait() if process is not None else None
        return SiteLostError(
            f"the process of fusion.sites.{self._job.name} has ended (exit code {code}); what it knew is in the run's "
            "journal: go on with --resume"
        )


def _short(item: EmbeddedFrame) -> _Empty | EmbeddedFrame:
    """What a fuser has to know of a frame: no picture, and of one in which nothing is, that there was one."""
    if len(item.tracks) or len(item.embeddings) or len(item.ended):
        return replace(item, preview=NO_PREVIEW, preview_scale=1.0)
    return item.camid, item.frame_idx, item.time_s, item.embeddings.vector.shape[1]


def _whole(short: _Empty | EmbeddedFrame) -> EmbeddedFrame:
    if isinstance(short, EmbeddedFrame):
        return short
    camid, frame_idx, time_s, dim = short
    nothing = Tracks.empty(), Embeddings.empty(dim), np.zeros(0, np.int64)
    return EmbeddedFrame(camid, frame_idx, time_s, *nothing, NO_PREVIEW, 1.0)


def _decided(frame: FusedFrame) -> _Decided | None:
    """What a fuser has to say of a frame, nothing where it has nothing to say."""
    if len(frame.tracks) or frame.events:
        return frame.ground_xy, frame.global_tracks, frame.events
    return None


def _fused(item: EmbeddedFrame, decided: _Decided | None) -> FusedFrame:
    ground_xy, global_tracks, events = decided or (np.zeros((0, 2)), GlobalTracks.empty(), ())
    about = item.camid, item.frame_idx, item.time_s, item.tracks
    return FusedFrame(*about, ground_xy, global_tracks, events, item.preview, item.preview_scale)


def main() -> None:
    """What the process does: answer until nobody asks any more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints is no answer
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for who asks
    _serve(requests, answers)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    server = _Server()
    while True:
        try:
            method, args = pickle.load(requests)
        except EOFError:
            return
        reply: tuple[Exception | None, str, Any, dict[str, int]]
        try:
            reply = (None, "", getattr(server, method)(*args), server.sizes())
        except Exception as error:
            reply = (_sendable(error), traceback.format_exc(), None, {})
        try:
            pickle.dump(reply, answers, protocol=5)
            answers.flush()
        except BrokenPipeError:
            return


class _Server:
    """The site of this process."""

    def __init__(self) -> None:
        self._site: NearSite | None = None

    def build(self, job: SiteJob, saved: bytes | None) -> None:
        self._site = NearSite(job) if saved is None else load_state(saved, STATE_MODULES)

    def sizes(self) -> dict[str, int]:
        return self.site.sizes()

    @property
    def site(self) -> NearSite:
        if self._site is None:
            raise RuntimeError("nothing was built yet")
        return self._site

    def begin(self, items: list[_Empty | EmbeddedFrame]) -> list[_Decided | None]:
        self.site.begin([_whole(item) for item in items])
        return [_decided(frame) for frame in self.site.frames()]

    def begin_flush(self) -> list[FusedFrame]:
        self.site.begin_flush()
        return self.site.frames()

    def learned(self) -> Part:
        return self.site.learned()

    def knowledge(self, cameras: list[str]) -> Knowledge:
        return self.site.knowledge(cameras)

    def state(self) -> bytes:
        return save_state(self.site)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # any class may fail in any way here; the text serves instead
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
