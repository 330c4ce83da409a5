"""Where a run meets other machines: cameras that are edge boxes' to read, and events that others listen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.cameras import Camera
from pipeline.config import PipelineConfig
from pipeline.ingest.items import OpenFeed
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.live.figures import StreamFigures
from pipeline.reid.build import build_embedder
from pipeline.runtime.chain import FLUSH
from pipeline.transport.boxes import BoxReader
from pipeline.transport.config import TransportConfig, box_of
from pipeline.transport.redis_streams import StreamWriter, connect
from pipeline.transport.sinks import EventSink, Writer
from pipeline.types import FusedFrame
from pipeline.yaml_file import ConfigError

Reader = TickReader | BoxReader


def open_reader(
    config: PipelineConfig,
    cameras: Sequence[Camera],
    specs: Sequence[CameraSpec],
    *,
    base_dir: Path,
    max_seconds: float | None,
    open_feed: OpenFeed,
) -> Reader:
    """What reads the cameras, or what listens to the boxes that do; not open yet. Raises ConfigError."""
    transport = config.transport
    if transport.sources == "cameras":
        away = [camera.name for camera in cameras if box_of(camera.source) is not None]
        if away:
            raise ConfigError(
                f"camera {away[0]}: source: it is a box's to read; set transport.sources: redis, or name a video"
            )
        return TickReader(
            specs,
            config.ingest,
            max_seconds=max_seconds,
            clock_zero_s=transport.clock_zero_s,
            open_feed=open_feed,
        )
    if config.ingest.tick_s is None:
        raise ConfigError("ingest.tick_s: has to be set where tracklets come from boxes, to the same as on the boxes")
    dim = build_embedder(config.reid, base_dir).dim
    try:
        return BoxReader(
            transport, specs, dim=dim, tick_s=config.ingest.tick_s, flush_index=FLUSH, max_seconds=max_seconds
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


class Senders:
    """The sinks that send events elsewhere, as one."""

    def __init__(self, sinks: Sequence[tuple[str, EventSink]]) -> None:
        self._sinks = tuple(sinks)
        self._stack = ExitStack()

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """Send the events of one tick. Raises TransportError where a server refuses them."""
        for _, sink in self._sinks:
            sink.write(frames)

    def follow(self, camera_names: Sequence[str]) -> None:
        """The cameras of the run have changed; names by camid."""
        for _, sink in self._sinks:
            sink.follow(camera_names)

    def figures(self) -> tuple[StreamFigures, ...]:
        return tuple(stream_figures(name, sink.writer) for name, sink in self._sinks)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for _, sink in self._sinks:
                stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def open_senders(config: TransportConfig, camera_names: Sequence[str], clock_zero_s: float | None) -> Senders:
    """What `transport.sinks` names, for a run that fuses. Raises ValueError where a client is missing."""
    return Senders(
        [(name, EventSink(WRITERS[name](config), camera_names, clock_zero_s=clock_zero_s)) for name in config.sinks]
    )


def stream_figures(name: str, writer: Writer) -> StreamFigures:
    """What a sender has done so far."""
    return StreamFigures(
        name,
        num_sent=writer.num_sent,
        num_repeated=writer.num_repeated,
        num_dropped=writer.num_dropped,
        num_waiting=writer.num_waiting,
    )


def box_figures(reader: Reader) -> tuple[StreamFigures, ...]:
    """What boxes have sent so far, nothing where cameras are read here."""
    if not isinstance(reader, BoxReader):
        return ()
    waiting = reader.waiting()
    return tuple(
        StreamFigures(f"box:{name}", num_waiting=waiting[name], refused=tuple(sorted(refused.items())))
        for name, refused in reader.refused().items()
    )


def _redis(config: TransportConfig) -> Writer:
    return StreamWriter(connect(config.redis), config.redis.event_stream, config.redis)


def _mqtt(config: TransportConfig) -> Writer:
    from pipeline.transport.mqtt import MqttWriter

    return MqttWriter(config.mqtt)


def _kafka(config: TransportConfig) -> Writer:
    from pipeline.transport.kafka import KafkaWriter

    return KafkaWriter(config.kafka)


WRITERS: dict[str, Callable[[TransportConfig], Writer]] = {"redis": _redis, "mqtt": _mqtt, "kafka": _kafka}
