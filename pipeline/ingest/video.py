"""Video files, network streams and capture devices, all through PyAV (FFmpeg)."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.logging
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.passing import Passed, passed_over
from pipeline.ingest.pixels import to_bgr
from pipeline.ingest.source import BrokenPictureError, Picture, SourceError
from pipeline.ingest.urls import mask_credentials
from pipeline.types import UInt8

# Formats that carry pictures only; FFmpeg makes times up for them, at 25 frames a second.
_WITHOUT_TIMES: Final = frozenset(
    "mjpeg mpjpeg h264 hevc h263 m4v mpegvideo vc1 av1 obu evc vvc cavsvideo rawvideo ingenient "  # noqa: SIM905
    "image2 image2pipe jpeg_pipe png_pipe bmp_pipe webp_pipe".split()
)
_PLAUSIBLE_FPS: Final = (0.05, 300.0)
_MAX_HELD_BACK: Final = 64


class VideoSource:
    """An open video. Times are true presentation timestamps; rotation metadata is applied."""

    def __init__(self, container: InputContainer, masked: str, config: IngestConfig, *, live: bool, threads: int):
        self._container = container
        self._masked = masked
        self._live = live
        self._read_timeout_s = config.read_timeout_s
        self._reformatter = VideoReformatter()
        self._stream = _video_stream(container, masked)
        self._stream.thread_count = threads
        # Frame threading holds back as many frames as there are threads: right for files, late for live pictures.
        self._stream.thread_type = "AUTO" if threads > 1 and not live else "SLICE"
        self._has_times = not frozenset(container.format.name.split(",")) & _WITHOUT_TIMES
        # AVI has the times of decoding only; FFmpeg's guess at presentation times fails where B-frames are.
        self._only_dts = container.format.name == "avi"
        self.nominal_fps = _nominal_fps(self._stream) if self._has_times or not live else None
        self.is_finite = container.duration is not None and container.duration > 0
        self.expected_frames = 0 if live and not self.is_finite else _expected_frames(container, self._stream)
        self.is_exact = self._stream.frames > 0
        self.duration_s = container.duration / 1e6 if self.is_finite and container.duration else 0.0
        self._passed: Passed | None = None
        self.warning = ""
        if not self._has_times and not live:
            fps = self.nominal_fps or 25.0
            self.warning = f"{masked} carries no times; taken as {fps:g} frames/s (set fps for this camera if not so)"

    def close(self) -> None:
        self._container.close()

    def pass_over(self, num_pictures: int) -> None:
        if not self._live and self._has_times and not self._only_dts:
            self._passed = passed_over(self._masked, num_pictures)

    def __iter__(self) -> Iterator[Picture]:
        first: int | None = None
        unit_s = self._stream.time_base or Fraction(1)
        if self._passed is not None:
            first = self._passed.stamps[0]
            yield Picture(0.0, lambda frame=self._passed.first: to_bgr(frame, self._reformatter))  # type: ignore[misc]
            for passed in self._passed.stamps[1:]:
                yield Picture(float((passed - first) * unit_s), _broken)
        for stamp, frame in self._in_order():
            if frame is None:
                yield Picture(None, _broken, is_broken=True)
                continue
            first = stamp if first is None else first
            pts_s = None if stamp is None or first is None else float((stamp - first) * unit_s)
            yield Picture(pts_s, lambda frame=frame: to_bgr(frame, self._reformatter))  # type: ignore[misc]

    def _in_order(self) -> Iterator[tuple[int | None, av.VideoFrame | None]]:
        """(timestamp, frame), and (None, None) in the place of each picture that is lost.

        Decoders report a broken packet late; which picture is missing is told by the timestamps that went in and
        did not come out.
        """
        sent: list[int] = []  # timestamps of packets whose picture has not come yet; a heap
        num_lost = last = 0
        for packet_stamp, frames in self._decoded():
            if packet_stamp is not None:
                heapq.heappush(sent, packet_stamp)
            num_lost += frames is None
            for frame in frames or ():
                stamp = self._stamp(frame, last)
                while sent and stamp is not None and sent[0] <= stamp:
                    if heapq.heappop(sent) < stamp and num_lost:
                        num_lost -= 1
                        yield None, None
                yield stamp, frame
                last = last if stamp is None else stamp
            if len(sent) > _MAX_HELD_BACK:
                heapq.heappop(sent)
                if num_lost:
                    num_lost -= 1
                    yield None, None
        for _ in range(num_lost):
            yield None, None

    def _stamp(self, frame: av.VideoFrame, last: int) -> int | None:
        if self._live and not self._has_times:
            return None
        if not self._only_dts:
            return frame.pts
        return last + 1 if frame.dts is None else frame.dts  # the decoder gives the last few without

    def _decoded(self) -> Iterator[tuple[int | None, list[av.VideoFrame] | None]]:
        """For each packet its timestamp and the frames that came out, None on an error. Raises SourceError when
        reading fails."""
        last_s = time.monotonic()
        packets = self._container.demux(self._stream)
        begin = None if self._passed is None else self._passed.begin
        while True:
            try:
                packet = next(packets)
                if begin is not None and packet.pts != begin:
                    continue
                begin = None
            except (StopIteration, EOFError):
                return
            except FFmpegError as error:
                raise SourceError(f"{self._masked} broke off: {reason(error, self._read_timeout_s)}") from None
            stamp = packet.dts if self._only_dts else packet.pts
            try:
                # A packet cut off or damaged in a file is no whole picture; a live decoder makes the best of it.
                frames = None if packet.is_corrupt and not self._live else packet.decode()
            except EOFError:
                return
            except FFmpegError:
                frames = None
            yield stamp, frames
            if frames:
                last_s = time.monotonic()
            elif self._live and time.monotonic() - last_s > self._read_timeout_s:
                raise SourceError(f"{self._masked} sends data, but no picture for {self._read_timeout_s:g} s")


def open_file(source: str, config: IngestConfig, *, threads: int) -> VideoSource:
    """Open a video file. Raises SourceError where it is missing, empty, or no video."""
    path = Path(source)
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}; check the camera's source")
    if path.stat().st_size == 0 and path.is_file():
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"{path} is no readable video: {reason(error, 0)}; is it whole, and does a player show it?"
        ) from None
    return _video(container, str(path), config, live=False, threads=threads)


def open_stream(source: str, config: IngestConfig, *, threads: int) -> VideoSource:
    """Connect to a URL. Raises SourceError, free of credentials, where nothing answers."""
    av.logging.set_level(None)  # FFmpeg's own log lines show the URL with its password
    options = {"analyzeduration": "2000000"}  # microseconds; enough for every camera, and not the default's 5 s
    if source.lower().startswith(("rtsp:", "rtsps:")):
        options |= {"rtsp_transport": config.rtsp_transport, "allowed_media_types": "video"}
    masked = mask_credentials(source)
    try:
        container = av.open(source, options=options, timeout=(config.open_timeout_s, config.read_timeout_s))
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"cannot open {masked}: {reason(error, config.open_timeout_s)}") from None
    return _video(container, masked, config, live=True, threads=threads)


def open_v4l2(number: str, config: IngestConfig, *, threads: int) -> VideoSource:
    """Open a Video4Linux device by its number."""
    path = Path(f"/dev/video{number}")
    if not path.exists():
        raise SourceError(f"no capture device {number} ({path} does not exist); is the camera plugged in?")
    try:
        container = av.open(str(path), format="v4l2", timeout=(config.open_timeout_s, config.read_timeout_s))
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"cannot open capture device {number}: {reason(error, config.open_timeout_s)}; does another program use it?"
        ) from None
    return _video(container, f"device {number}", config, live=True, threads=threads)


def reason(error: Exception, timeout_s: float) -> str:
    """What went wrong, in words and without the address that FFmpeg's errors carry."""
    if isinstance(error, av.error.ExitError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, FFmpegError):
        return str(error.strerror or type(error).__name__)
    if isinstance(error, OSError):
        return str(error.strerror or type(error).__name__)
    return mask_credentials(str(error))


def _video(container: InputContainer, masked: str, config: IngestConfig, *, live: bool, threads: int) -> VideoSource:
    try:
        return VideoSource(container, masked, config, live=live, threads=threads)
    except SourceError:
        container.close()
        raise


def _video_stream(container: InputContainer, masked: str) -> VideoStream:
    """The first video stream that is no cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise SourceError(f"{masked} holds no video that can be decoded; check the camera's source")


def _nominal_fps(stream: VideoStream) -> float | None:
    """FFmpeg's best guess where it is plausible: for a variable rate this is the rate of its dense parts."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and _PLAUSIBLE_FPS[0] <= rate <= _PLAUSIBLE_FPS[1]:
            return float(rate)
    return None


def _expected_frames(container: InputContainer, stream: VideoStream) -> int:
    """Number of frames by the container's index, else by duration and average rate; 0 where it does not tell."""
    if stream.frames > 0:
        return stream.frames
    if container.duration and stream.average_rate:
        return round(container.duration / 1e6 * float(stream.average_rate))
    return 0


def _broken() -> UInt8:
    raise BrokenPictureError("a picture is damaged")
