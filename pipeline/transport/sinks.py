"""Sinks that send: tracklets of an edge box to a central fuser, and events to whoever listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.transport.config import RedisConfig
from pipeline.transport.messages import TickMessage, encode_event, encode_tick
from pipeline.transport.redis_streams import StreamWriter
from pipeline.types import EmbeddedFrame, Embeddings, FusedFrame, Tracks

_IDS_PER_TICK = 16  # no camera begins so many tracks in every tick between two starts


class TrackletSink:
    """Sends each tick of an edge box, without pixels; at the end it says that there is no more.

    `tick_s` and `clock_zero_s` are the tick reader's: boxes that agree on both can be fused as one site.

    A box with live cameras that is started anew numbers its tracks from 1 again, and who fuses must not take them for
    those before. So with `live` all ids are raised by a number that rises with the time of the start.
    """

    def __init__(
        self,
        client: Any,
        edge: str,
        config: RedisConfig,
        camera_names: Sequence[str],
        *,
        tick_s: float,
        clock_zero_s: float | None,
        live: bool = False,
    ) -> None:
        self.stream = config.tracklet_stream(edge)
        self.writer = StreamWriter(client, self.stream, config)
        self._camera_names = tuple(camera_names)
        self._tick_s = tick_s
        self._clock_zero_s = clock_zero_s
        self._live = live
        self._raise_ids: int | None = None
        self._last_index = -1

    def write(self, index: int, frames: Sequence[EmbeddedFrame]) -> None:
        """The frames of tick `index`, the tick reader's; indices rise."""
        self._send(TickMessage(index, tuple(frames)))

    def flush(self, frames: Sequence[EmbeddedFrame]) -> None:
        """What the stages gave at their end."""
        self._send(TickMessage(self._last_index + 1, tuple(frames), "flush"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._send(TickMessage(self._last_index + 1, (), "end"))
        self.writer.close()

    def _send(self, message: TickMessage) -> None:
        self._last_index = message.index
        if self._raise_ids is None:
            self._raise_ids = message.index * _IDS_PER_TICK if self._live else 0
        if self._raise_ids:
            message = replace(message, frames=tuple(_raised(frame, self._raise_ids) for frame in message.frames))
        event_ms = max(0, round(((self._clock_zero_s or 0.0) + message.index * self._tick_s) * 1000))
        self.writer.send(
            event_ms,
            1 + message.index % 1000,
            encode_tick(message, self._camera_names, self._clock_zero_s, tick_s=self._tick_s),
        )


def _raised(frame: EmbeddedFrame, by: int) -> EmbeddedFrame:
    tracks, clips = frame.tracks, frame.embeddings
    return replace(
        frame,
        tracks=Tracks(tracks.track_id + by, tracks.xyxy, tracks.score),
        embeddings=Embeddings(clips.track_id + by, clips.vector, clips.quality),
        ended=frame.ended + by,
    )


class Writer(Protocol):
    """Sends messages to a server, in order; keeps some while that is away, and never waits for it."""

    num_sent: int
    num_repeated: int
    num_dropped: int

    @property
    def num_waiting(self) -> int: ...

    def send(self, event_ms: int, number: int, message: bytes) -> None:
        """Add a message of this event time, the `number`th of it."""
        ...

    def tend(self) -> None:
        """Called now and then: send what waits, if the server is there."""
        ...

    def close(self) -> bool:
        """Send what waits, if it does not take too long -> whether all has been sent."""
        ...


class EventSink:
    """Sends the events of a run; a sink like those that write files."""

    def __init__(self, writer: Writer, camera_names: Sequence[str], *, clock_zero_s: float | None) -> None:
        self.writer = writer
        self._camera_names = tuple(camera_names)
        self._clock_zero_s = clock_zero_s
        self._last_ms = 0
        self._number = 0

    def follow(self, camera_names: Sequence[str]) -> None:
        """The cameras of the run have changed; names by camid."""
        self._camera_names = tuple(camera_names)

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """The frames of one tick; their events are numbered within it."""
        self.writer.tend()
        if not frames:
            return
        event_ms = max(0, round(((self._clock_zero_s or 0.0) + max(frame.time_s for frame in frames)) * 1000))
        if event_ms > self._last_ms:
            self._last_ms, self._number = event_ms, 0
        for frame in frames:
            for event in frame.events:
                self._number += 1
                self.writer.send(
                    self._last_ms, self._number, encode_event(event, self._camera_names, self._clock_zero_s)
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
