"""The H.264 file. While it grows it is an MP4 in fragments, playable up to the last one even if the run is killed;
when it is whole it is repacked, without encoding anew, into a plain MP4 that starts at once when streamed."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from pipeline.sinks.files import OutputError, closing_path, naming, output_error, publish
from pipeline.types import UInt8

logger = logging.getLogger(__name__)

VIDEO_FILE = "mosaic.mp4"
_CLOCK = Fraction(1, 1000)  # times in the file, seconds
_LONGEST_GAP_S = 3600.0
_FRAGMENT_S = 2.0
_BT709 = 1


class Recording:
    """An MP4 that is being written. All pictures have one size, with even sides."""

    def __init__(self, path: Path, size: tuple[int, int], *, fps: float, crf: int) -> None:
        """`size` (width, height) px; `fps` is the usual rate, each picture brings its own time."""
        self.path = path
        self._step = max(1, round(1 / (fps * _CLOCK)))
        self._first_s: float | None = None
        self._last_s = 0.0
        self._last_pts = -1
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
            self._container = av.open(str(path), "w", format="mp4", options=options)
            self._stream = self._add_stream(size, fps, crf)

    def add(self, image: UInt8, time_s: float) -> None:
        """Append one picture (H, W, 3) BGR, shown from `time_s` on. Raises OutputError.

        Times that do not grow are moved on by a millisecond; a gap of more than an hour is cut to one.
        """
        if self._first_s is None:
            self._first_s = self._last_s = time_s
        self._first_s += max(0.0, time_s - self._last_s - _LONGEST_GAP_S)
        self._last_s = time_s
        self._last_pts = max(self._last_pts + 1, round((time_s - self._first_s) / _CLOCK))
        with _naming(self.path):
            bgr = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame = bgr.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base, frame.duration = self._last_pts, _CLOCK, self._step
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file under its temporary name. Raises OutputError."""
        with _naming(self.path):
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def _add_stream(self, size: tuple[int, int], fps: float, crf: int) -> VideoStream:
        rate = Fraction(fps).limit_denominator(1001)
        if "libx264" in av.codecs_available:
            options = {"crf": str(crf), "preset": "veryfast", "bf": "0"}
            stream = self._container.add_stream("libx264", rate=rate, options=options)
        else:
            logger.warning("no libx264 in this PyAV; the video is MPEG-4 part 2, larger and less sharp")
            stream = self._container.add_stream("mpeg4", rate=rate, options={"qscale": "4"})
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = _CLOCK
        context.gop_size = max(1, round(_FRAGMENT_S * fps))
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        return stream


def finish_recording(partial: Path, final: Path) -> None:
    """Repack the recording `partial`, whole or cut off, as `final`, and remove it. Raises OutputError."""
    closing = closing_path(final)
    try:
        _repack(partial, closing)
    except (OSError, av.FFmpegError, ValueError, IndexError) as error:
        closing.unlink(missing_ok=True)
        raise OutputError(f"{partial}: cannot be made into {final.name}: {error}") from error
    publish(closing, final)
    with naming(partial):
        os.unlink(partial)


def _repack(source: Path, target: Path) -> None:
    with av.open(str(source)) as read:
        stream = read.streams.video[0]
        with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as written:
            copy = written.add_stream_from_template(stream)
            try:
                for packet in read.demux(stream):
                    if packet.dts is not None:
                        packet.stream = copy
                        written.mux(packet)
            except av.InvalidDataError:
                logger.warning("%s: the end is cut off", source)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of the file and of the encoder into an OutputError that names `path`."""
    try:
        with naming(path):
            yield
    except av.FFmpegError as error:
        raise output_error(path, OSError(error.errno, error.strerror)) from error
