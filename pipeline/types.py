"""Every value that flows between rooms, and nothing else.

Each value is a frozen struct of aligned arrays: row `i` of every array speaks of the same thing. Arrays are
checked once, when the value is made, and are read-only views from then on. Boxes are `xyxy` in pixels of the
camera's (cropped) image; times are seconds on the clock that all cameras share.

    Frame -> DetectedFrame -> TrackedFrame -> EmbeddedFrame -> FusedFrame

`camid` is the 0-based place of the camera in cams.yaml; only the sinks turn it into the camera's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Int64: TypeAlias = npt.NDArray[np.int64]
UInt8: TypeAlias = npt.NDArray[np.uint8]
AnyArray: TypeAlias = npt.NDArray[Any]
BoolMask: TypeAlias = npt.NDArray[np.bool_]
RowIndex: TypeAlias = slice | npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]


def _own(value: Any, name: str, **columns: tuple[type[np.generic], tuple[int | None, ...]]) -> int:
    """Check the named array fields of `value`, replace each by a read-only view, return the number of rows.

    `columns` maps a field to its dtype and the shape behind the row axis, `None` standing for any size.
    Raises ValueError naming `name` and the field where a shape does not fit or the rows are not aligned.
    """
    num_rows: int | None = None
    for column, (dtype, tail) in columns.items():
        given = getattr(value, column)
        is_right = type(given) is np.ndarray and given.dtype.type is dtype  # most are, and this is called a lot
        array = given if is_right else np.asarray(given, dtype)
        got_tail = array.shape[1:]
        fits = array.ndim == 1 + len(tail) and (
            got_tail == tail or all(want in (None, got) for want, got in zip(tail, got_tail, strict=True))
        )
        if not fits:
            want_shape = ", ".join(["N", *("*" if t is None else str(t) for t in tail)])
            raise ValueError(f"{name}.{column}: want shape ({want_shape}), got {array.shape}")
        if num_rows is not None and len(array) != num_rows:
            raise ValueError(f"{name}.{column}: {len(array)} rows beside {num_rows} in the other columns")
        num_rows = len(array)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        if array is not given:
            object.__setattr__(value, column, array)
    return num_rows or 0


def _rebuild(value: Any) -> tuple[type[Any], tuple[Any, ...]]:
    """Pickle by way of the constructor, so that arrays are read-only again on the other side."""
    return type(value), tuple(getattr(value, f.name) for f in fields(value))


def _image(value: Any, name: str, column: str) -> None:
    image = getattr(value, column)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{name}.{column}: want (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.flags.writeable:
        view = image.view()
        view.flags.writeable = False
        object.__setattr__(value, column, view)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera. `frame_idx` counts from 0 in its source, dropped frames included."""

    camid: int
    frame_idx: int
    time_s: float
    image: UInt8  # (H, W, 3) BGR

    def __post_init__(self) -> None:
        _image(self, "Frame", "image")

    __reduce__ = _rebuild

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class HeldFrame:
    """A frame whose picture stays where it was read, until a worker there makes it a `Frame`.

    `where` is what the runtime finds the pictures of one source by; `place` is this camera's among them.
    """

    camid: int
    frame_idx: int
    time_s: float
    size_hw: tuple[int, int]
    where: Any
    place: int

    def whole(self, pictures: Sequence[UInt8]) -> Frame:
        """The frame with its picture."""
        return Frame(self.camid, self.frame_idx, self.time_s, pictures[self.place])


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of the wanted classes in one frame, in no promised order."""

    xyxy: Float32  # (N, 4)
    score: Float32  # (N,) in [0, 1]

    def __post_init__(self) -> None:
        _own(self, "Detections", xyxy=(np.float32, (4,)), score=(np.float32, ()))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: RowIndex) -> Detections:
        return Detections(self.xyxy[rows], self.score[rows])

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The confirmed tracks visible in one frame."""

    track_id: Int64  # (N,) >= 1, never reused in a camera
    xyxy: Float32  # (N, 4)
    score: Float32  # (N,) of the detection

    def __post_init__(self) -> None:
        _own(self, "Tracks", track_id=(np.int64, ()), xyxy=(np.float32, (4,)), score=(np.float32, ()))

    @classmethod
    def empty(cls) -> Self:
        return cls(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.track_id)

    def __getitem__(self, rows: RowIndex) -> Tracks:
        return Tracks(self.track_id[rows], self.xyxy[rows], self.score[rows])

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Crops to be embedded together, K clips of T crops each.

    A clip of fewer than T crops repeats them in turn up to T; `num_crops` says how many are its own.
    `quality` in (0, 1] says how well the crops show the person.
    """

    track_id: Int64  # (K,)
    image: UInt8  # (K, T, h, w, 3) BGR
    num_crops: Int64  # (K,) 1..T
    quality: Float32  # (K,)

    def __post_init__(self) -> None:
        _own(
            self,
            "Clips",
            track_id=(np.int64, ()),
            image=(np.uint8, (None, None, None, 3)),
            num_crops=(np.int64, ()),
            quality=(np.float32, ()),
        )

    @classmethod
    def empty(cls, clip_length: int, height_px: int, width_px: int) -> Self:
        image = np.zeros((0, clip_length, height_px, width_px, 3), np.uint8)
        return cls(np.zeros(0, np.int64), image, np.zeros(0, np.int64), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.track_id)

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """One vector per clip."""

    track_id: Int64  # (K,)
    vector: Float32  # (K, D) of unit norm
    quality: Float32  # (K,)

    def __post_init__(self) -> None:
        _own(
            self,
            "Embeddings",
            track_id=(np.int64, ()),
            vector=(np.float32, (None,)),
            quality=(np.float32, ()),
        )

    @classmethod
    def empty(cls, dim: int) -> Self:
        return cls(np.zeros(0, np.int64), np.zeros((0, dim), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.track_id)

    def __getitem__(self, rows: RowIndex) -> Embeddings:
        return Embeddings(self.track_id[rows], self.vector[rows], self.quality[rows])

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class GlobalTracks:
    """The tracks of one frame that have an identity by now, a subset of the frame's tracks in their order."""

    track_id: Int64  # (N,)
    global_id: Int64  # (N,) >= 1, never reused
    xyxy: Float32  # (N, 4)
    confidence: Float32  # (N,) of the identity, in [0, 1]

    def __post_init__(self) -> None:
        _own(
            self,
            "GlobalTracks",
            track_id=(np.int64, ()),
            global_id=(np.int64, ()),
            xyxy=(np.float32, (4,)),
            confidence=(np.float32, ()),
        )

    @classmethod
    def empty(cls) -> Self:
        no_id = np.zeros(0, np.int64)
        return cls(no_id, no_id, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.track_id)

    __reduce__ = _rebuild


EventKind: TypeAlias = Literal["create", "link", "merge", "split", "close"]


@dataclass(frozen=True, slots=True)
class Event:
    """A change of identities, with the evidence it rests on. The final tables follow from tracklets and events.

    create  the tracklet (`camid`, `track_id`) founds `global_id`
    link    the tracklet joins `global_id`
    merge   all tracklets of `other_id` become `global_id`; `other_id` is never used again
    split   from `time_s` on, up to its next split, the tracklet is `global_id` and not `other_id`: its tracker
            slipped to somebody else
    close   `global_id` accepts no more tracklets

    `camid` is -1 and `track_id` 0 where no tracklet is concerned; `other_id` is 0 where no second identity is.
    For create and link `other_id` is the runner-up (0: none) and `margin` how much better the choice was than it.
    Numbers without meaning for a kind are NaN.
    """

    kind: EventKind
    time_s: float
    global_id: int
    camid: int = -1
    track_id: int = 0
    other_id: int = 0
    confidence: float = float("nan")  # in [0, 1]
    similarity: float = float("nan")  # cosine of the appearance vectors
    ground_m: float = float("nan")  # distance on the floor, metres
    gap_s: float = float("nan")  # seconds since the identity was last seen
    margin: float = float("nan")
    appearance: float = float("nan")  # the parts of the evidence, log-odds in nats
    travel: float = float("nan")
    motion: float = float("nan")
    floor: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """One person's path through one camera, with its mean appearance."""

    camid: int
    track_id: int
    frame_idx: Int64  # (T,)
    time_s: Float64  # (T,)
    xyxy: Float32  # (T, 4)
    vector: Float32  # (D,) of unit norm

    def __post_init__(self) -> None:
        _own(
            self,
            "Tracklet",
            frame_idx=(np.int64, ()),
            time_s=(np.float64, ()),
            xyxy=(np.float32, (4,)),
        )
        _own(self, "Tracklet", vector=(np.float32, ()))

    def __len__(self) -> int:
        return len(self.frame_idx)

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFrame:
    frame: Frame
    detections: Detections

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """What is left of a frame once tracked: the full image ends here, only crops and a small preview go on.

    `ended` holds the tracks that can not come back; their last clip is in `clips`, now or earlier.
    `preview` is the picture scaled down for the video sink, or (0, 0, 3) where no video is wanted;
    `preview_scale` is preview pixels per camera pixel.
    """

    camid: int
    frame_idx: int
    time_s: float
    tracks: Tracks
    clips: Clips
    ended: Int64  # (E,)
    preview: UInt8  # (h, w, 3) BGR
    preview_scale: float

    def __post_init__(self) -> None:
        _own(self, "TrackedFrame", ended=(np.int64, ()))
        _image(self, "TrackedFrame", "preview")

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFrame:
    """A `TrackedFrame` whose clips have become vectors."""

    camid: int
    frame_idx: int
    time_s: float
    tracks: Tracks
    embeddings: Embeddings
    ended: Int64  # (E,)
    preview: UInt8  # (h, w, 3) BGR
    preview_scale: float

    def __post_init__(self) -> None:
        _own(self, "EmbeddedFrame", ended=(np.int64, ()))
        _image(self, "EmbeddedFrame", "preview")

    __reduce__ = _rebuild


@dataclass(frozen=True, slots=True, eq=False)
class FusedFrame:
    """A frame with identities: every visible track, those of them that have an identity by now, and what changed.

    `events` are those of the whole tick, in their order, on its first frame.
    `ground_xy` is where each row of `tracks` stands on the floor, NaN where the camera is not calibrated.
    """

    camid: int
    frame_idx: int
    time_s: float
    tracks: Tracks
    ground_xy: Float64  # (N, 2) metres
    global_tracks: GlobalTracks
    events: tuple[Event, ...]
    preview: UInt8  # (h, w, 3) BGR
    preview_scale: float

    def __post_init__(self) -> None:
        _own(self, "FusedFrame", ground_xy=(np.float64, (2,)))
        _image(self, "FusedFrame", "preview")
        if len(self.ground_xy) != len(self.tracks):
            raise ValueError(f"FusedFrame.ground_xy: {len(self.ground_xy)} rows for {len(self.tracks)} tracks")

    __reduce__ = _rebuild


NO_PREVIEW: UInt8 = np.zeros((0, 0, 3), np.uint8)
NO_PREVIEW.flags.writeable = False
