"""From tracklets to batches of tensors: the data sets for training and for scoring, and their loaders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from pipeline.types import Int64
from reid_train.data.clips import TEST_RULES, TRAIN_RULES
from reid_train.data.config import TestRule, TrainRule, TransformConfig
from reid_train.data.images import ImageReader
from reid_train.data.samplers import ClipKey, clip_rng
from reid_train.data.tracklet import LabelledTracklet
from reid_train.data.transforms import transform_clip

TrainItem = tuple[torch.Tensor, int, int]
ScoringItem = tuple[torch.Tensor, int]
TrainBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
ScoringBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PathTable:
    """The paths of many tracklets in two arrays, which worker processes share instead of copying."""

    def __init__(self, tracklets: Iterable[LabelledTracklet]) -> None:
        encoded = [[path.encode() for path in t.paths] for t in tracklets]
        self._first = np.cumsum([0, *(len(paths) for paths in encoded)], dtype=np.int64)
        self._start = np.cumsum([0, *(len(p) for paths in encoded for p in paths)], dtype=np.int64)
        self._text = np.frombuffer(b"".join(p for paths in encoded for p in paths), np.uint8)

    def __len__(self) -> int:
        return len(self._first) - 1

    def length(self, row: int) -> int:
        """Images of a tracklet."""
        return int(self._first[row + 1] - self._first[row])

    def paths(self, row: int, frames: Int64) -> list[str]:
        """The paths of some frames of a tracklet."""
        if not 0 <= row < len(self):
            raise IndexError(f"tracklet {row} of {len(self)}")
        at = self._first[row] + frames
        return [self._text[a:b].tobytes().decode() for a, b in zip(self._start[at], self._start[at + 1], strict=True)]


class ClipDataset(Dataset[TrainItem]):
    """Training clips. Item `ClipKey(row, epoch, position)` -> clip (T, 3, H, W) float32, pid, camid.

    A plain row number is taken as the item of epoch 0 at that position. Every worker process holds up to
    `cache_bytes` of decoded images. Raises ImageError for a missing or damaged image.
    """

    def __init__(
        self,
        tracklets: Sequence[LabelledTracklet],
        transform: TransformConfig,
        clip_length: int,
        *,
        rule: TrainRule = "rrs_floor",
        seed: int = 0,
        cache_bytes: int = 0,
    ) -> None:
        if rule not in TRAIN_RULES:
            raise ValueError(f"unknown rule {rule!r} for training clips; there are {', '.join(TRAIN_RULES)}")
        self._paths = PathTable(tracklets)
        self._pids = np.array([t.pid for t in tracklets], np.int64)
        self._camids = np.array([t.camid for t in tracklets], np.int64)
        self._transform, self._clip_length, self._rule, self._seed = transform, clip_length, rule, seed
        self._reader = ImageReader(transform.input_hw, transform.interpolation, cache_bytes)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: ClipKey | int) -> TrainItem:
        key = key if isinstance(key, ClipKey) else ClipKey(key, 0, key)
        rng = clip_rng(self._seed, key)
        frames = TRAIN_RULES[self._rule](self._paths.length(key.row), self._clip_length, rng)[0]
        clip = transform_clip(self._reader.clip(self._paths.paths(key.row, frames)), self._transform, rng)
        return clip, int(self._pids[key.row]), int(self._camids[key.row])


class ScoringClips(Dataset[ScoringItem]):
    """The clips by which tracklets are scored, without anything random. Item -> clip (T, 3, H, W), tracklet's row.

    `rows` (clips,) says which tracklet each clip belongs to, ascending: the mean over a tracklet's clips is its vector.
    """

    def __init__(
        self,
        tracklets: Sequence[LabelledTracklet],
        transform: TransformConfig,
        clip_length: int,
        *,
        rule: TestRule = "evenly",
        cache_bytes: int = 0,
    ) -> None:
        if rule not in TEST_RULES:
            raise ValueError(f"unknown rule {rule!r} for test clips; there are {', '.join(TEST_RULES)}")
        self._paths = PathTable(tracklets)
        self._transform = transform
        self._reader = ImageReader(transform.input_hw, transform.interpolation, cache_bytes)
        clips = [TEST_RULES[rule](len(t), clip_length) for t in tracklets]
        self.rows: Int64 = np.repeat(np.arange(len(clips)), [len(c) for c in clips]).astype(np.int64)
        lengths = [c.shape[1] for c in clips for _ in range(len(c))]
        self._start = np.cumsum([0, *lengths], dtype=np.int64)
        flat = [c.ravel() for c in clips]
        self._frames = (np.concatenate(flat) if flat else np.zeros(0)).astype(np.int32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ScoringItem:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        row = int(self.rows[index])
        frames = self._frames[self._start[index] : self._start[index + 1]].astype(np.int64)
        return transform_clip(self._reader.clip(self._paths.paths(row, frames)), self._transform), row


def collate_train(items: Sequence[TrainItem]) -> TrainBatch:
    """-> clips (N, T, 3, H, W) float32, pids (N,) int64, camids (N,) int64."""
    clips, pids, camids = zip(*items, strict=True)
    return _stacked(clips), torch.tensor(pids, dtype=torch.int64), torch.tensor(camids, dtype=torch.int64)


def collate_padded(items: Sequence[ScoringItem]) -> ScoringBatch:
    """-> clips (N, T, 3, H, W) with zeros behind shorter ones, mask (N, T) bool of the true frames, rows (N,) int64."""
    clips, rows = zip(*items, strict=True)
    lengths = torch.tensor([len(c) for c in clips])
    longest = int(lengths.max())
    mask = torch.arange(longest)[None] < lengths[:, None]
    if bool(mask.all()):
        padded = _stacked(clips)
    else:
        padded = clips[0].new_zeros((len(clips), longest, *clips[0].shape[1:]))
        for out, clip in zip(padded, clips, strict=True):
            out[: len(clip)] = clip
    return padded, mask, torch.tensor(rows, dtype=torch.int64)


def _stacked(clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """In a worker, stacked right in the memory that it shares with the training process."""
    stacked: torch.Tensor = default_collate(list(clips))
    return stacked


def train_loader(
    dataset: Dataset[TrainItem], batches: Sampler[list[ClipKey]], *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[TrainItem]:
    """Batches of `collate_train`, in the sampler's order whatever the workers. Draws nothing from torch's generator."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate_train,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(0),
    )


def scoring_loader(
    dataset: ScoringClips, *, batch_clips: int = 32, workers: int = 0, pin_memory: bool = False
) -> DataLoader[ScoringItem]:
    """All clips in order, in batches of `collate_padded`. Draws nothing from torch's generator."""
    return DataLoader(
        dataset,
        batch_size=batch_clips,
        shuffle=False,
        num_workers=workers,
        collate_fn=collate_padded,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(0),
    )
