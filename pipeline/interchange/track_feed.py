"""Another tracker's tracks of one camera as the frames that a fuser takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.interchange.spool import CameraSpool, SpoolFrame
from pipeline.interchange.vectors import CameraVectors, VectorFile
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Tracks


class TrackFeed:
    """The frames of one camera as the fuser takes them: its tracks, the vectors known by then, who has ended.

    After the last frame of a tracklet comes one more frame, without it, that says so; it is the camera's next frame
    or, where the next one has a gap before it, an empty one.
    """

    def __init__(self, camid: int, spooled: CameraSpool, vectors: VectorFile | None, first_id: int) -> None:
        self.camid = camid
        self.num_frames = spooled.num_frames
        self._spool = spooled
        self._file = vectors
        self._vectors = vectors.of(spooled, first_id) if vectors else None
        order = np.lexsort((spooled.track_id, spooled.last_frame))
        self._end_frame, self._end_id = spooled.last_frame[order], spooled.track_id[order]

    def __iter__(self) -> Iterator[EmbeddedFrame]:
        given = ended = 0
        before: SpoolFrame | None = None
        for frame in self._spool.frames():
            if before is not None and frame.frame > before.frame + 1 and self._until(ended, before.frame) > ended:
                stop = self._until(ended, before.frame)
                yield self._after(before, ended, stop)
                ended = stop
            stop, known = self._until(ended, frame.frame - 1), self._known(given, frame.frame)
            tracks = Tracks(frame.track_id, frame.xyxy, frame.score)
            yield self._message(frame.frame, frame.time_s, tracks, (given, known), (ended, stop))
            ended, given, before = stop, known, frame
        if before is not None:
            yield self._after(before, ended, len(self._end_id))

    def _until(self, start: int, frame: int) -> int:
        """How many tracklets have their last frame at `frame` or before."""
        return start + int(np.searchsorted(self._end_frame[start:], frame, side="right"))

    def _known(self, start: int, frame: int) -> int:
        if self._vectors is None:
            return 0
        return start + int(np.searchsorted(self._vectors.frame[start:], frame, side="right"))

    def _after(self, before: SpoolFrame, start: int, stop: int) -> EmbeddedFrame:
        time_s = before.time_s + (self._spool.step_s or 1e-3)
        return self._message(before.frame + 1, time_s, Tracks.empty(), (0, 0), (start, stop))

    def _message(
        self, frame: int, time_s: float, tracks: Tracks, given: tuple[int, int], ended: tuple[int, int]
    ) -> EmbeddedFrame:
        if self._file is None or self._vectors is None or given[0] == given[1]:
            embeddings = Embeddings.empty(self._file.dim if self._file else 1)
        else:
            part: CameraVectors = self._vectors
            embeddings = self._file.embeddings(part.track_id[slice(*given)], part.row[slice(*given)])
        return EmbeddedFrame(
            camid=self.camid,
            frame_idx=frame,
            time_s=time_s,
            tracks=tracks,
            embeddings=embeddings,
            ended=np.sort(self._end_id[slice(*ended)]),
            preview=NO_PREVIEW,
            preview_scale=1.0,
        )
