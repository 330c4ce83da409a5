"""mosaic.mp4: all cameras side by side with labelled people, and a floor map where cameras are calibrated."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.sinks.config import OutputConfig
from pipeline.sinks.files import OutputError, ends_well, partial_path
from pipeline.sinks.floor_map import FloorMap
from pipeline.sinks.mosaic import Mosaic
from pipeline.sinks.recording import VIDEO_FILE, Recording, finish_recording
from pipeline.types import FusedFrame

logger = logging.getLogger(__name__)


class VideoSink:
    """Draws and encodes one picture per tick, shown at the tick's own time. One instance per run and folder."""

    def __init__(
        self,
        folder: Path,
        camera_names: Sequence[str],
        *,
        fps: float,
        floor_bounds_m: tuple[float, float, float, float] | None,
        config: OutputConfig,
    ) -> None:
        """`fps` ticks per second; `floor_bounds_m` (xmin, ymin, xmax, ymax), None where no camera is calibrated."""
        if not fps > 0:
            raise ValueError(f"video: want a positive number of ticks per second, got {fps}")
        floor = None
        if floor_bounds_m is not None:
            floor = FloorMap(floor_bounds_m, len(camera_names), trail_s=config.trail_s)
        self._mosaic = Mosaic(
            camera_names,
            max_size=(config.video_width_px, config.video_height_px),
            stale_s=config.stale_s,
            floor=floor,
        )
        self._path = folder / VIDEO_FILE
        self._fps = fps
        self._crf = config.video_crf
        self._recording: Recording | None = None

    def follow(self, camera_names: Sequence[str], shown: Sequence[int]) -> None:
        """The cameras of the run have changed: names by camid, and the camids of those that are there."""
        self._mosaic.follow(camera_names, shown)

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """Add the picture of one tick. A tick without any preview (the end of a run) adds none. Raises OutputError."""
        if not any(frame.preview.size for frame in frames):
            return
        time_s = max(frame.time_s for frame in frames)
        image = self._mosaic.draw(frames, time_s)
        if self._recording is None:
            size = image.shape[1], image.shape[0]
            self._recording = Recording(partial_path(self._path), size, fps=self._fps, crf=self._crf)
        self._recording.add(image, time_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            if kind is None:
                logger.warning("%s: not written, no camera gave a picture", self._path)
        elif ends_well(kind):
            recording.close()
            finish_recording(recording.path, self._path)
        else:
            with contextlib.suppress(OutputError):
                recording.close()
