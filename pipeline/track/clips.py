"""The crops of a tracklet that are worth embedding: large, sharp, uncovered, uncut, and spread over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.geometry.boxes import clip_to, covered_share
from pipeline.track.config import ClipConfig
from pipeline.types import Clips, Float32, Float64, Int64, Tracks, UInt8

_TRIALS_PER_SPAN = 3  # crops looked at per span of time, beside those that promise to be much better
_MUCH_BETTER = 1.2
_CUT = 0.5  # what a box cut off by the picture's border is worth
_BORDER_PX = 2.0
_BORDER_HEIGHTS = 0.02
_BLUR_WEIGHT = 0.5  # what a crop without any edge is worth
_HALF_SHARP = 0.05  # change between neighbouring pixels, in standard deviations, of a crop that is half sharp
_ROUNDING_S = 1e-6


@dataclass(slots=True)
class _Shelf:
    """The crops of one track since its last clip: settled ones of good quality, and the best of the present span."""

    crops: list[UInt8] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    best: UInt8 | None = None
    best_quality: float = 0.0
    best_promise: float = 0.0
    span_start_s: float | None = None  # of the first good crop in it
    next_trial_s: float = -np.inf
    num_clips: int = 0

    def settle(self) -> None:
        """End the span: its best crop is kept."""
        if self.best is not None:
            self.crops.append(self.best)
            self.qualities.append(self.best_quality)
        self.best, self.best_quality, self.best_promise = None, 0.0, 0.0
        self.span_start_s, self.next_trial_s = None, -np.inf

    def release(self, clip_length: int) -> tuple[UInt8, int, float]:
        """(T, h, w, 3) the settled crops, repeated in turn up to T, how many there are, and their mean quality."""
        num_crops = len(self.crops)
        image = np.stack([self.crops[i % num_crops] for i in range(clip_length)])
        quality = float(np.mean(self.qualities))
        self.crops, self.qualities = [], []
        self.num_clips += 1
        return image, num_crops, quality


class ClipCollector:
    """Collects the clips of one camera's tracks. Holds at most `clip_length` crops a track, until it is finished.

    Time is cut into spans per track, and of each span the best crop is kept. A span begins with its first crop of at
    least `min_quality` and lasts `spacing_s`, which grows with every clip the track has yielded: an identity is known
    soon, and who stands around for an hour costs little.

    config: see `ClipConfig`. clip_length: T, crops in a clip. input_hw: (height, width) in px that crops are
    stretched to.
    """

    def __init__(self, config: ClipConfig, clip_length: int, input_hw: tuple[int, int]) -> None:
        if clip_length < 1 or min(input_hw) < 1:
            raise ValueError(f"clips need at least one crop and one pixel, got {clip_length} of {input_hw}")
        self._config = config
        self._clip_length = clip_length
        self._height_px, self._width_px = input_hw
        self._shelves: dict[int, _Shelf] = {}

    def update(self, image: UInt8, tracks: Tracks, time_s: float) -> Clips:
        """Look at the tracks of a frame -> the clips that became ready, in the order of the tracks.

        image: (H, W, 3) BGR, not kept. tracks: those visible in it, boxes in its pixels.
        """
        if len(tracks) == 0:
            return self._clips([], [])
        height_px, width_px = image.shape[:2]
        boxes = clip_to(tracks.xyxy, width_px, height_px)
        promises = promise(tracks, width_px, height_px, self._config.full_height_px).tolist()
        ready = []
        for row, track_id in enumerate(tracks.track_id.tolist()):
            shelf = self._shelves.get(track_id)
            if shelf is None:
                shelf = self._shelves[track_id] = _Shelf()
            spacing_s = self._spacing_s(shelf.num_clips)
            if shelf.span_start_s is not None and time_s - shelf.span_start_s >= spacing_s - _ROUNDING_S:
                shelf.settle()
                if len(shelf.crops) >= self._wanted(shelf.num_clips):
                    ready.append((track_id, shelf.release(self._clip_length)))
            if promises[row] > shelf.best_quality and (
                time_s >= shelf.next_trial_s - _ROUNDING_S or promises[row] > _MUCH_BETTER * shelf.best_promise
            ):
                shelf.next_trial_s = time_s + spacing_s / _TRIALS_PER_SPAN
                self._try(shelf, image, boxes[row], promises[row], time_s)
        return self._clips([t for t, _ in ready], [clip for _, clip in ready])

    def finish(self, track_ids: Int64) -> Clips:
        """Forget tracks that have ended -> their last clips, for those with good crops since their last clip.

        A track that never had a clip gets one of whatever there is, padded by repetition. Ids that are unknown, or
        of whom no pixel was ever in the picture, yield nothing.
        """
        last = []
        for track_id in track_ids.tolist():
            shelf = self._shelves.pop(track_id, None)
            if shelf is None:
                continue
            if shelf.span_start_s is not None or (not shelf.crops and shelf.num_clips == 0):
                shelf.settle()
            if shelf.crops:
                last.append((track_id, shelf.release(self._clip_length)))
        return self._clips([t for t, _ in last], [clip for _, clip in last])

    def num_crops(self) -> int:
        """How many crops are held at present, over all tracks."""
        return sum(len(shelf.crops) + (shelf.best is not None) for shelf in self._shelves.values())

    def _spacing_s(self, num_clips: int) -> float:
        # Bounded exponent: a track may yield clips for months.
        return min(
            self._config.spacing_s * self._config.spacing_growth ** min(num_clips, 64), self._config.max_spacing_s
        )

    def _wanted(self, num_clips: int) -> int:
        return min(self._config.first_clip_crops, self._clip_length) if num_clips == 0 else self._clip_length

    def _try(self, shelf: _Shelf, image: UInt8, box: Float32, promised: float, time_s: float) -> None:
        """Cut out a crop, and put it on the shelf if it is the best of its span."""
        left, top = np.floor(box[:2]).astype(int).tolist()
        right, bottom = np.ceil(box[2:]).astype(int).tolist()
        if right - left < 1 or bottom - top < 1:
            return
        shrinks = bottom - top > 2 * self._height_px and right - left > 2 * self._width_px
        crop = np.asarray(
            cv2.resize(
                image[top:bottom, left:right],
                (self._width_px, self._height_px),
                interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,  # by area is six times slower
            ),
            np.uint8,
        )
        quality = max(promised * (_BLUR_WEIGHT + (1 - _BLUR_WEIGHT) * sharpness(crop)), 1e-6)
        if quality <= shelf.best_quality:
            return
        shelf.best, shelf.best_quality, shelf.best_promise = crop, quality, promised
        if shelf.span_start_s is None and quality >= self._config.min_quality:
            shelf.span_start_s = time_s

    def _clips(self, track_ids: Iterable[int], clips: Sequence[tuple[UInt8, int, float]]) -> Clips:
        if not clips:
            return Clips.empty(self._clip_length, self._height_px, self._width_px)
        return Clips(
            track_id=np.array(list(track_ids), np.int64),
            image=np.stack([image for image, _, _ in clips]),
            num_crops=np.array([num for _, num, _ in clips], np.int64),
            quality=np.array([quality for _, _, quality in clips], np.float32),
        )


def promise(tracks: Tracks, width_px: int, height_px: int, full_height_px: float) -> Float64:
    """(N,) in (0, 1]: the best quality that a crop can have, judged by the boxes alone.

    The product of the detection's score, of the square root of the height (up to `full_height_px`), of the square of
    the share that no one nearer covers, and of a constant where the picture's border cuts the box.
    """
    xyxy = tracks.xyxy.astype(np.float64)
    height = xyxy[:, 3] - xyxy[:, 1]
    margin = np.maximum(_BORDER_PX, _BORDER_HEIGHTS * height)
    cut = (xyxy[:, :2].min(axis=1) < margin) | (xyxy[:, 2] > width_px - margin) | (xyxy[:, 3] > height_px - margin)
    size = np.sqrt(np.clip(height / full_height_px, 0, 1))
    free = (1 - covered_share(xyxy)) ** 2
    value = np.clip(tracks.score, 0, 1) * size * free * np.where(cut, _CUT, 1.0)
    return np.maximum(value, 1e-6)


def sharpness(crop: UInt8) -> float:
    """In [0, 1): how fast a crop (h, w, 3) changes from pixel to pixel, measured by its own contrast.

    The mean change along x and y over the standard deviation, so that dark and pale people are judged alike.
    """
    if min(crop.shape[:2]) < 2:
        return 0.0
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    contrast = float(cv2.meanStdDev(grey)[1][0, 0])
    if contrast < 1.0:
        return 0.0
    across = cv2.norm(grey[:, 1:], grey[:, :-1], cv2.NORM_L1)
    along = cv2.norm(grey[1:], grey[:-1], cv2.NORM_L1)
    ratio = (across + along) / (2 * grey.size * contrast)
    return float(ratio**2 / (ratio**2 + _HALF_SHARP**2))


def join_clips(*parts: Clips) -> Clips:
    """All clips in one value, in order; the parts must agree on T, h and w."""
    filled = [part for part in parts if len(part)] or [parts[0]]
    if len(filled) == 1:
        return filled[0]
    return Clips(
        track_id=np.concatenate([part.track_id for part in filled]),
        image=np.concatenate([part.image for part in filled]),
        num_crops=np.concatenate([part.num_crops for part in filled]),
        quality=np.concatenate([part.quality for part in filled]),
    )
