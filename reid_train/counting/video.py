"""Counting from files: the pictures of a video, the tracks in it, and a network for the crops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from pipeline.evaluation.loaders import load_tracks
from pipeline.types import Float32, Float64, Int64, UInt8
from reid_train.counting.config import CountConfig
from reid_train.counting.count import Embed, VideoCount, count_tracks
from reid_train.counting.windows import PersonTrack, Piece
from reid_train.data.clips import all_frames
from reid_train.data.config import IMAGENET_MEAN, IMAGENET_STD, TEST_INTERPOLATION
from reid_train.data.images import RESAMPLING, read_image
from reid_train.data.source import images_in, natural_key
from reid_train.data.transforms import normalise
from reid_train.memory import keep_freed_memory
from reid_train.models.model import ReidModel

ReadFrame: TypeAlias = Callable[[int], UInt8]
"""0-based index -> (H, W, 3) RGB. Indices ascend from one window to the next and inside it."""

CROPS_AT_ONCE = 128


class CountError(ValueError):
    """The files do not fit together; the message names them and the remedy."""


class Pictures(Protocol):
    """The frames of a video, in the order in which they are asked for."""

    num_frames: int
    fps: float | None
    """As the file says; None for a folder of images."""

    def read(self, frame_idx: int) -> UInt8:
        """(H, W, 3) RGB. Indices must not descend."""
        ...


class _VideoPictures:
    """Frames of a video file, decoded one after the other."""

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        self._path, self._capture, self._next = path, capture, 0
        self._held: tuple[int, UInt8] | None = None
        self.num_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps: float | None = float(capture.get(cv2.CAP_PROP_FPS)) or None

    def read(self, frame_idx: int) -> UInt8:
        if self._held is not None and self._held[0] == frame_idx:
            return self._held[1]
        if frame_idx < self._next:
            raise CountError(f"{self._path}: frame {frame_idx} has passed; frames can be read forwards only")
        while self._next <= frame_idx:
            if not self._capture.grab():
                raise CountError(f"{self._path}: frame {frame_idx} is missing, it ends after {self._next} frames")
            self._next += 1
        decoded, image = self._capture.retrieve()
        if not decoded:
            raise CountError(f"{self._path}: frame {frame_idx} can not be decoded; the file is damaged")
        self._held = frame_idx, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        return self._held[1]


class _FolderPictures:
    """Image files of a folder in the order of the numbers in their names."""

    fps: float | None = None

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / name for name in sorted(images_in(folder), key=natural_key)]
        if not self._paths:
            raise CountError(f"{folder}: no images in this folder")
        self.num_frames = len(self._paths)

    def read(self, frame_idx: int) -> UInt8:
        return read_image(str(self._paths[frame_idx]))


@contextmanager
def open_pictures(path: Path) -> Iterator[Pictures]:
    """A video file, or a folder of images. Raises CountError where it can not be opened."""
    if path.is_dir():
        yield _FolderPictures(path)
        return
    if not path.is_file():
        raise CountError(f"{path}: no such video or folder of images")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise CountError(f"{path}: no video that can be decoded")
        yield _VideoPictures(path, capture)
    finally:
        capture.release()


def read_tracks(path: Path, *, truth: bool = False) -> tuple[PersonTrack, ...]:
    """Tracks of one camera, from MOTChallenge text or CSV (see `pipeline.evaluation.loaders`), by id.

    Of ground truth (`truth`) a track is a person. Raises CountError where the file speaks of several cameras, and
    `pipeline.evaluation.text.TableError` where it can not be read.
    """
    table = load_tracks(path, truth=truth)
    if len(table.cameras) > 1:
        raise CountError(f"{path}: tracks of {len(table.cameras)} cameras ({', '.join(table.cameras)}); give one")
    ids = table.identity if truth else table.track_id
    shift = int(len(ids) > 0 and ids.min() < 1)  # a file may number from 0
    order = np.lexsort((table.frame, ids))
    bounds = np.flatnonzero(np.diff(ids[order])) + 1
    return tuple(
        PersonTrack(int(ids[rows[0]]) + shift, table.frame[rows], table.xyxy[rows])
        for rows in np.split(order, bounds)
        if len(rows)
    )


def crop_embedder(model: nn.Module, read_frame: ReadFrame, *, device: torch.device | str = "cpu") -> Embed:
    """What `count_people` asks for vectors: cuts the crops of a window's pieces out and embeds them in one batch.

    `model` is put into eval mode and moved to `device`. A network with a mask sees the crops of a piece as one clip;
    another one sees clips of its own length that hold every crop, and their mean counts.
    """
    reid = cast(ReidModel, model.eval().to(device))
    if torch.device(device).type == "cpu":
        keep_freed_memory()
    interpolation = RESAMPLING[TEST_INTERPOLATION.get(reid.name, "bilinear")]

    def embed(pieces: Sequence[Piece]) -> Float32:
        crops = _crops(pieces, read_frame, reid.input_hw, interpolation)
        rows = [_clip_rows(reid, len(piece.frame_idx)) for piece in pieces]
        longest = max(row.shape[1] for row in rows)
        clips = [(crop[row], piece) for piece, (crop, at) in enumerate(zip(crops, rows, strict=True)) for row in at]
        step = max(CROPS_AT_ONCE // longest, 1)
        batches = [clips[start : start + step] for start in range(0, len(clips), step)]
        vectors = np.concatenate([_embed_batch(reid, [clip for clip, _ in batch], device) for batch in batches])
        owners = np.array([piece for _, piece in clips])
        return np.stack([vectors[owners == piece].mean(axis=0) for piece in range(len(pieces))])

    return embed


def count_video(
    model: nn.Module,
    video: Path,
    tracks: Path,
    *,
    fps: float | None = None,
    config: CountConfig | None = None,
    device: torch.device | str = "cpu",
) -> VideoCount:
    """Count the individuals of a video (file or folder of images) from the tracks that a tracker wrote.

    `fps` is the rate in real time; left out, what the file says. Raises CountError where neither says it, or where
    tracks go on after the video's last frame.
    """
    people = read_tracks(tracks)
    with open_pictures(video) as pictures:
        rate = fps or pictures.fps
        if rate is None:
            raise CountError(f"{video}: the frames per second are not known; give fps")
        last = max((int(track.frame_idx[-1]) for track in people), default=-1)
        if last >= pictures.num_frames:
            raise CountError(f"{tracks}: goes on to frame {last}, {video} has {pictures.num_frames} frames")
        embed = crop_embedder(model, pictures.read, device=device)
        return count_tracks(people, embed, num_frames=pictures.num_frames, fps=rate, config=config)


def _clip_rows(reid: ReidModel, num_crops: int) -> Int64:
    """(clips, T) which crops of a piece the network sees together."""
    if reid.uses_mask:
        return np.arange(num_crops)[None]
    return all_frames(num_crops, reid.clip_length)


def _embed_batch(reid: ReidModel, clips: Sequence[UInt8], device: torch.device | str) -> Float32:
    """Clips (T_i, H, W, 3) uint8 RGB -> (K, D), the shorter ones masked at their end."""
    longest = max(len(clip) for clip in clips)
    batch = torch.zeros(len(clips), longest, 3, *reid.input_hw)
    for row, clip in enumerate(clips):
        batch[row, : len(clip)] = normalise(clip, IMAGENET_MEAN, IMAGENET_STD)
    mask = None
    if any(len(clip) < longest for clip in clips):
        mask = torch.tensor([[place < len(clip) for place in range(longest)] for clip in clips], device=device)
    with torch.inference_mode():
        return np.asarray(reid.embed(batch.to(device), mask).float().cpu().numpy())


def _crops(
    pieces: Sequence[Piece], read_frame: ReadFrame, input_hw: tuple[int, int], interpolation: Image.Resampling
) -> list[UInt8]:
    """Per piece (K, H, W, 3) uint8 RGB; every frame is read once, in order."""
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        for row, frame in enumerate(piece.frame_idx.tolist()):
            wanted[frame].append((index, row))
    crops = [np.empty((len(piece.frame_idx), *input_hw, 3), np.uint8) for piece in pieces]
    for frame in sorted(wanted):
        image = read_frame(frame)
        for index, row in wanted[frame]:
            crops[index][row] = _cut(image, pieces[index].xyxy[row], input_hw, interpolation)
    return crops


def _cut(image: UInt8, xyxy: Float64, input_hw: tuple[int, int], interpolation: Image.Resampling) -> UInt8:
    """The box, cut to the picture (at its border at least one pixel), in the network's size."""
    height, width = image.shape[:2]
    left, top = (int(np.clip(np.floor(v), 0, limit - 1)) for v, limit in zip(xyxy[:2], (width, height), strict=True))
    right, bottom = int(np.clip(np.ceil(xyxy[2]), left + 1, width)), int(np.clip(np.ceil(xyxy[3]), top + 1, height))
    crop = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return np.asarray(crop.resize((input_hw[1], input_hw[0]), interpolation))
