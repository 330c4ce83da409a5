"""From a source's own timestamps to seconds on the shared clock."""

from __future__ import annotations

import time

_JUMP_S = 1.0  # a recording whose times go back further than this begins anew (two recordings in one file)
_WINDOW_S = 10.0  # a live camera's clock is fitted to the wall clock over this long
_STEP_S = 1e-3  # the least distance of two frames of a live camera


class WallClock:
    """Seconds since 1970 that never step: the system's time at the start plus the monotonic clock since then."""

    def __init__(self, elapsed_s: float = 0.0) -> None:
        """elapsed_s: what `elapsed_s()` is to begin with, of a clock that goes with another one."""
        now_s = time.monotonic()
        self._start_s = now_s - elapsed_s
        self._zero_s = time.time() - now_s

    def now_s(self) -> float:
        return self._zero_s + time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds since this clock was made."""
        return time.monotonic() - self._start_s


class FileClock:
    """Times of a recording, strictly increasing from 0.

    Missing times are filled in at the nominal interval. Times that repeat or go back a little are moved behind the
    last one; when they go back by more than a second the recording is taken to begin anew there.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._shift_s = 0.0
        self._last_s: float | None = None
        self.num_missing = 0
        self.num_not_rising = 0

    def time_of(self, pts_s: float | None) -> float:
        """Time of the next frame; `pts_s` is its own timestamp, counted from the first one, None where missing."""
        follow_s = 0.0 if self._last_s is None else self._last_s + self._interval_s
        if pts_s is None:
            self.num_missing += 1
            time_s = follow_s
        else:
            time_s = pts_s + self._shift_s
            if self._last_s is not None and time_s <= self._last_s:
                self.num_not_rising += 1
                if time_s < self._last_s - _JUMP_S:
                    self._shift_s = follow_s - pts_s
                    time_s = follow_s
                else:
                    time_s = self._last_s + self._interval_s / 16
        self._last_s = time_s
        return time_s


class LiveClock:
    """Capture times of a live camera: its own timestamps hung on the wall clock.

    The stream's timestamps say how far frames lie apart, their arrival says where on the wall clock they lie. A
    frame cannot be captured after it arrived, so the stream is anchored at the least delay (arrival - pts) of the
    last 10 to 20 s: bursts at the start, network jitter and slow drift of the camera's clock do no harm. Each
    connection is anchored anew, so an outage counts with its true length. Times strictly increase for ever.
    With `fixed` the first frame's arrival is the anchor of the whole connection (a reader that holds the stream
    back makes later arrivals meaningless).
    """

    def __init__(self, *, fixed: bool, after_s: float = float("-inf")) -> None:
        """after_s: when the last frame was captured that somebody else has read of this camera."""
        self._fixed = fixed
        self._last_s = after_s
        self.connect()

    def connect(self) -> None:
        """A new connection begins."""
        self._least_s = self._older_least_s = float("inf")
        self._window_s = float("-inf")
        self._last_pts_s = float("-inf")

    def time_of(self, pts_s: float | None, arrival_s: float) -> float:
        """Capture time of the next frame on the scale of `arrival_s`; without `pts_s` it is the arrival."""
        time_s = arrival_s if pts_s is None else pts_s + self._anchor_s(pts_s, arrival_s)
        self._last_s = max(time_s, self._last_s + _STEP_S)
        return self._last_s

    def _anchor_s(self, pts_s: float, arrival_s: float) -> float:
        delay_s = arrival_s - pts_s
        if pts_s < self._last_pts_s - _JUMP_S:
            self.connect()  # the camera began to count anew
        self._last_pts_s = pts_s
        if self._fixed:
            self._least_s = delay_s if self._window_s == float("-inf") else self._least_s
            self._window_s = arrival_s
            return self._least_s
        if arrival_s - self._window_s > _WINDOW_S:
            self._older_least_s, self._least_s, self._window_s = self._least_s, delay_s, arrival_s
        self._least_s = min(self._least_s, delay_s)
        return min(self._older_least_s, self._least_s)


class Sampler:
    """Takes at most `max_fps` frames a second, evenly on average; takes all without it."""

    def __init__(self, max_fps: float | None) -> None:
        self._interval_s = 0.0 if max_fps is None else 1.0 / max_fps
        self._due_s = float("-inf")

    def takes(self, time_s: float) -> bool:
        """Whether the frame at `time_s` is taken; times come in rising order."""
        if time_s < self._due_s - 1e-6:
            return False
        if time_s > self._due_s + self._interval_s:  # at the start and after a gap
            self._due_s = time_s
        self._due_s += self._interval_s
        return True
