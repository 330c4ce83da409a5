"""The sinks of a run, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.sinks.config import OutputConfig
from pipeline.sinks.final import Windows
from pipeline.sinks.rotation import PERIODS_S, Rotation
from pipeline.sinks.sink import Sink
from pipeline.sinks.tables import TableSink
from pipeline.sinks.video import VideoSink
from pipeline.types import FusedFrame


class Sinks:
    """Several sinks behind one `write`. Each is closed whatever happens to the others."""

    def __init__(self, tables: TableSink, others: Sequence[Sink] = ()) -> None:
        self._tables = tables
        self._sinks: tuple[Sink, ...] = (tables, *others)
        self._stack = ExitStack()

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """Give one tick to every sink, the tables first. Raises OutputError."""
        for sink in self._sinks:
            sink.write(frames)

    def follow(self, camera_names: Sequence[str], shown: Sequence[int]) -> None:
        """The cameras of the run have changed: names by camid, and the camids of those that are there. Called before
        the first frame of a camera that is new; from any thread."""
        self._tables.follow(camera_names)
        for sink in self._sinks:
            if isinstance(sink, VideoSink):
                sink.follow(camera_names, shown)

    def settle(self) -> dict[str, int]:
        """Write the tables through to the disk -> the bytes of each file, for `open_sinks`. Raises OutputError."""
        return self._tables.settle()

    def log_camera(self, kind: str, camid: int, time_s: float, message: str = "") -> None:
        """Note in events.jsonl that something happened to a camera (`camera_failed`, `camera_reconnected`,
        `camera_ended`, ...). `message` must hold no credentials; `time_s` is NaN where not known. Thread-safe."""
        self._tables.events.log_camera(kind, camid, time_s, message)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for sink in reversed(self._sinks):  # the last to be entered, the tables, is the first to be closed
                stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def open_sinks(
    config: OutputConfig,
    folder: Path,
    camera_names: Sequence[str],
    *,
    video: bool,
    fps: float,
    floor_bounds_m: tuple[float, float, float, float] | None = None,
    resumable: bool = False,
    kept: Mapping[str, int] | None = None,
    clock_zero_s: float | None = None,
) -> Sinks:
    """The sinks that write into `folder`, which `prepare_output` has made ready; `camera_names` by camid.

    `fps` is ticks per second; `floor_bounds_m` (xmin, ymin, xmax, ymax) of the floor map, None for no map.
    `resumable` leaves `.partial` files for `remove_partials`; `kept` goes on with those of a run that was killed.
    `clock_zero_s`: seconds since 1970 where the clock is 0, if known. Raises OutputError where the folder does not take
    files.
    """
    others: list[Sink] = []
    if video:
        others.append(VideoSink(folder, camera_names, fps=fps, floor_bounds_m=floor_bounds_m, config=config))
    windows = Windows(config.count_window_s, config.visit_gap_s)
    rotation = None
    if config.rotate != "never":
        keep = config.retention_s, config.retention_bytes
        rotation = Rotation(PERIODS_S[config.rotate], clock_zero_s or 0.0, *keep)
    tables = TableSink(
        folder,
        camera_names,
        mot=config.mot,
        windows=windows,
        resumable=resumable,
        kept=kept,
        rotation=rotation,
    )
    return Sinks(tables, others)
