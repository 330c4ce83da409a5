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
from typing import IO, Any, TypeAlias

import numpy as np

from pipeline.fusion.association_file import Knowledge
from pipeline.fusion.site_fuser import NearSite, SiteJob
from pipeline.fusion.travel_parts import Part
from pipeline.saved_state import VALUE_MODULES, load_state, save_state
from pipeline.types import (
    NO_PREVIEW,
    AnyArray,
    EmbeddedFrame,
    Embeddings,
    Event,
    Float64,
    FusedFrame,
    GlobalTracks,
    Int64,
    Tracks,
)

_Columns: TypeAlias = tuple[AnyArray, ...]
_Tick: TypeAlias = tuple[Int64, Float64, _Columns]
_Decided: TypeAlias = tuple[Int64, _Columns, tuple[tuple[Event, ...], ...]]

STATE_MODULES = *VALUE_MODULES, "pipeline.fusion."
"""Modules whose objects make up what a fuser remembers."""


class SiteLostError(RuntimeError):
    """The process of a site ended without having been asked to. The message names the site."""


class SiteProcess:
    """A `SiteFuser` in a process of its own, which is started when it is first asked. Used by one thread, but `sizes`.

    As a part of what a stage remembers it is written with the state of the other process.
    """

    def __init__(self, job: SiteJob) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._saved: bytes | None = None  # what the process is to begin with
        self._asked: tuple[EmbeddedFrame, ...] | None = None
        self._sizes: dict[str, int] = {}

    def begin(self, items: Sequence[EmbeddedFrame]) -> None:
        self._asked = tuple(items)
        if items:
            self._send("begin", _packed(items))

    def begin_flush(self) -> None:
        self._asked = None
        self._send("begin_flush")

    def frames(self) -> list[FusedFrame]:
        asked, self._asked = self._asked, None
        if asked == ():
            return []
        answer, self._sizes = self._receive()
        return list(answer) if asked is None else _fused(asked, answer)

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


def _packed(items: Sequence[EmbeddedFrame]) -> _Tick:
    """Frames without their pictures, as few arrays: each array on its own would cost more than what is in it."""
    heads = [(i.camid, i.frame_idx, len(i.tracks), len(i.embeddings), len(i.ended)) for i in items]
    tracks, clips = [i.tracks for i in items], [i.embeddings for i in items]
    columns = (
        *(np.concatenate([getattr(t, name) for t in tracks]) for name in ("track_id", "xyxy", "score")),
        *(np.concatenate([getattr(c, name) for c in clips]) for name in ("track_id", "vector", "quality")),
        np.concatenate([i.ended for i in items]),
    )
    return np.array(heads, np.int64), np.array([i.time_s for i in items]), columns


def _unpacked(tick: _Tick) -> list[EmbeddedFrame]:
    heads, times, columns = tick
    parts = [_split(column, heads[:, at]) for column, at in zip(columns, (2, 2, 2, 3, 3, 3, 4), strict=True)]
    return [
        EmbeddedFrame(camid, frame_idx, time_s, Tracks(*row[:3]), Embeddings(*row[3:6]), row[6], NO_PREVIEW, 1.0)
        for (camid, frame_idx, *_), time_s, row in zip(
            heads.tolist(), times.tolist(), zip(*parts, strict=True), strict=True
        )
    ]


def _decided(frames: Sequence[FusedFrame]) -> _Decided:
    """What a fuser has to say of the frames that it was asked of."""
    known = [frame.global_tracks for frame in frames]
    counts = np.array([(len(f.ground_xy), len(k)) for f, k in zip(frames, known, strict=True)], np.int64)
    names = "track_id", "global_id", "xyxy", "confidence"
    columns = (
        np.concatenate([frame.ground_xy for frame in frames]),
        *(np.concatenate([getattr(one, name) for one in known]) for name in names),
    )
    return counts, columns, tuple(frame.events for frame in frames)


def _fused(items: Sequence[EmbeddedFrame], decided: _Decided) -> list[FusedFrame]:
    counts, columns, events = decided
    parts = [_split(column, counts[:, at]) for column, at in zip(columns, (0, 1, 1, 1, 1), strict=True)]
    return [
        FusedFrame(
            *(item.camid, item.frame_idx, item.time_s, item.tracks, row[0], GlobalTracks(*row[1:])),
            *(events[at], item.preview, item.preview_scale),
        )
        for at, (item, row) in enumerate(zip(items, zip(*parts, strict=True), strict=True))
    ]


def _split(column: AnyArray, counts: Int64) -> list[AnyArray]:
    ends = np.cumsum(counts).tolist()
    return [column[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]


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

    def begin(self, tick: _Tick) -> _Decided:
        self.site.begin(_unpacked(tick))
        return _decided(self.site.frames())

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
