"""How far into a recording nothing has to be decoded, because its pictures up to there have been seen before.

Pictures are counted, not looked for by their times: packets are read from the beginning and only their timestamps are
kept, which takes a hundredth of the time of decoding. So every later picture has the number and the time that it has
when all are decoded. Where a container or a codec leaves any doubt (missing or repeated timestamps, damaged packets,
pictures that refer to those before a key picture), nothing is passed over.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

_ONE_PACKET_ONE_PICTURE: Final = frozenset(("h264", "hevc", "mpeg4", "mjpeg"))


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """The pictures that need not be decoded: their timestamps in the order in which they are shown, and the very first
    of them. Decoding begins at the key picture of timestamp `begin`."""

    stamps: array[int]
    first: av.VideoFrame
    begin: int


class _Groups:
    """Timestamps by group of pictures, each from one key picture to the next. Holds the whole of what was read."""

    def __init__(self) -> None:
        self.stamps: array[int] = array("q")  # sorted within each group
        self.starts: list[int] = []  # place of each group's first picture
        self._group: list[int] = []

    def add(self, packet: Packet[VideoStream]) -> bool:
        """False where the count of pictures can not be trusted from here on."""
        stamp = packet.pts
        if stamp is None or packet.is_corrupt or packet.is_discard:
            return False
        if packet.is_keyframe:
            if not self.close():
                return False
            self.starts.append(len(self.stamps))
        elif not self.starts:
            return False
        self._group.append(stamp)
        return True

    def close(self) -> bool:
        """A group is whole; False where it is not wholly behind the one before."""
        group = sorted(self._group)
        if any(a == b for a, b in pairwise(group)):
            return False
        if group and group[0] != self._group[0]:
            return False  # a picture behind the key picture is shown before it: it may need those before
        if group and self.stamps and group[0] <= self.stamps[-1]:
            return False
        self.stamps.extend(group)
        self._group = []
        return True


def passed_over(path: str, num_pictures: int) -> Passed | None:
    """What of the first `num_pictures` of a video file need not be decoded; None where all have to be.

    The last two groups of pictures are always decoded: a decoder that begins at a key picture may need one of them.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            if stream.codec_context.name not in _ONE_PACKET_ONE_PICTURE:
                return None
            first, groups = None, _Groups()
            for packet in container.demux(stream):
                if packet.size == 0 and packet.pts is None:
                    break  # the end
                if first is None:
                    first = next(iter(packet.decode()), None)
                if not groups.add(packet):
                    return None
                if len(groups.stamps) > num_pictures:
                    break
            if not groups.close():
                return None
    except (FFmpegError, OSError, ValueError, IndexError):
        return None  # which whoever reads it will tell
    starts = [start for start in groups.starts if start <= num_pictures]
    if first is None or len(starts) < 3 or first.pts != groups.stamps[0]:
        return None
    begin, end = starts[-2:]
    if not _can_begin(path, groups.stamps[begin:end]):
        return None
    return Passed(groups.stamps[:begin], first, groups.stamps[begin])


def _can_begin(path: str, stamps: array[int]) -> bool:
    """Whether a decoder that begins with the group of these pictures gives all of them: not so where key pictures are
    mere points from which a picture builds up."""
    found: list[int | None] = []
    try:
        with av.open(path) as container:
            begun = False
            for packet in container.demux(container.streams.video[0]):
                begun = begun or packet.pts == stamps[0]
                if begun:
                    found.extend(frame.pts for frame in packet.decode())
                if len(found) >= len(stamps):
                    break
    except (FFmpegError, OSError, ValueError, EOFError):
        return False
    return found[: len(stamps)] == list(stamps)
