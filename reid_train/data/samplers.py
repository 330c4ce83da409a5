"""Which tracklets make the batches of an epoch: pure functions of a seed and the epoch, and the sampler that asks them.

An item of a batch is a `ClipKey`, from which the data set seeds the item's own generator. So a clip depends on the
seed, the epoch and its place in the epoch alone: not on the number of workers, nor on where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from pipeline.types import Int64
from reid_train.data.config import SamplerConfig

BATCHES_STREAM = 0  # keeps the draws of batches apart from those of clips
CLIPS_STREAM = 1


class ClipKey(NamedTuple):
    """One item of an epoch: which tracklet, in which epoch, and where in the epoch."""

    row: int
    epoch: int
    position: int


def clip_rng(seed: int, key: ClipKey) -> np.random.Generator:
    """The generator of one item."""
    return np.random.default_rng((CLIPS_STREAM, seed, key.epoch, key.position, key.row))


def identity_batches(
    pids: Sequence[int], num_ids: int, per_id: int, rng: np.random.Generator, *, replace: bool = False,
    neighbours: int = 1,
) -> list[Int64]:  # fmt: skip
    """P people x K tracklets, every person once; the last, smaller batch is dropped. Rows of one person are adjacent.

    `neighbours` people with consecutive numbers stay together, cut at another place every time. `replace` draws a
    person's tracklets with replacement (STE-NVAN), else only where there are fewer than K (PSTA).
    """
    rows_of = _rows_of(pids)
    people = _in_runs(len(rows_of), neighbours, rng)
    batches = []
    for start in range(0, len(people) - num_ids + 1, num_ids):
        groups = [_draw(rows_of[p], per_id, rng, replace=replace) for p in people[start : start + num_ids]]
        batches.append(np.concatenate(groups))
    return batches


def chunk_batches(pids: Sequence[int], num_ids: int, per_id: int, rng: np.random.Generator) -> list[Int64]:
    """Every tracklet about once: a person's tracklets are shuffled and cut into groups of K, the rest of them dropped;
    all groups are shuffled and P make a batch, so that a person may stand in one twice (STAFormer).

    People with fewer than K tracklets have one group, drawn with replacement. The last, smaller batch is dropped.
    """
    groups: list[Int64] = []
    for rows in _rows_of(pids):
        if len(rows) < per_id:
            groups.append(_draw(rows, per_id, rng, replace=True))
            continue
        shuffled = rng.permutation(rows)
        groups.extend(shuffled[: len(rows) // per_id * per_id].reshape(-1, per_id))
    order = rng.permutation(len(groups)).tolist()
    return [
        np.concatenate([groups[g] for g in order[start : start + num_ids]])
        for start in range(0, len(order) - num_ids + 1, num_ids)
    ]


def shuffled_batches(num_rows: int, batch_size: int, rng: np.random.Generator) -> list[Int64]:
    """Every row once in random order (st-ReID); the last batch may be smaller, but not a single row, which batch
    normalisation can not take: that one is dropped."""
    order = rng.permutation(num_rows).astype(np.int64)
    batches = [order[start : start + batch_size] for start in range(0, num_rows, batch_size)]
    return batches[:-1] if len(batches[-1]) == 1 < batch_size else batches


def epoch_batches(pids: Sequence[int], config: SamplerConfig, seed: int, epoch: int) -> list[Int64]:
    """The batches of an epoch, rows into `pids`. Raises ValueError where the data are too few for a single batch."""
    rng = np.random.default_rng((BATCHES_STREAM, seed, epoch))
    size = config.num_ids * config.per_id
    if config.name == "shuffled":
        batches = shuffled_batches(len(pids), size, rng) if len(pids) else []
    elif config.name == "chunk":
        batches = chunk_batches(pids, config.num_ids, config.per_id, rng)
    else:
        replace = config.name == "identity_replacement"
        batches = identity_batches(
            pids, config.num_ids, config.per_id, rng, replace=replace, neighbours=config.neighbours
        )
    if not batches:
        raise ValueError(
            f"{len(pids)} training tracklets of {len(set(pids))} people are too few for one batch of {config.num_ids} "
            f"people x {config.per_id} tracklets ({config.name}); give a smaller data.sampler.num_ids"
        )
    return batches


class ClipBatches(Sampler[list[ClipKey]]):
    """A batch sampler: `set_epoch` before each epoch; `first_batch` skips what a resumed run has done already.

    With several ranks, rank r takes every num_ranks-th batch from r on, and all of them the same number.
    """

    def __init__(
        self, pids: Sequence[int], config: SamplerConfig, seed: int, *, rank: int = 0, num_ranks: int = 1
    ) -> None:
        if not 0 <= rank < num_ranks:
            raise ValueError(f"rank {rank} of {num_ranks} ranks")
        self._pids, self._config, self._seed = tuple(pids), config, seed
        self._rank, self._num_ranks = rank, num_ranks
        self._epoch = self._first = 0
        self.num_batches = len(epoch_batches(self._pids, config, seed, 0)) // num_ranks  # of a whole epoch, this rank
        if self.num_batches == 0:
            raise ValueError(f"fewer batches in an epoch than the {num_ranks} ranks; give a smaller num_ids or fewer")

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """The next iteration gives the batches of `epoch` from `first_batch` on (counted on this rank)."""
        if not 0 <= first_batch <= self.num_batches:
            raise ValueError(f"batch {first_batch} of an epoch of {self.num_batches} batches")
        self._epoch, self._first = epoch, first_batch

    def __len__(self) -> int:
        return self.num_batches - self._first

    def __iter__(self) -> Iterator[list[ClipKey]]:
        epoch = self._epoch
        batches = epoch_batches(self._pids, self._config, self._seed, epoch)
        starts = np.cumsum([0, *(len(b) for b in batches)]).tolist()
        mine = range(self._rank, self.num_batches * self._num_ranks, self._num_ranks)
        for number in mine[self._first :]:
            rows = batches[number].tolist()
            yield [ClipKey(row, epoch, starts[number] + i) for i, row in enumerate(rows)]


def _rows_of(pids: Sequence[int]) -> list[Int64]:
    """Rows of each person, people in ascending order."""
    labels = np.asarray(pids, np.int64)
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [rows.astype(np.int64) for rows in np.split(order, cuts)] if len(order) else []


def _in_runs(count: int, length: int, rng: np.random.Generator) -> list[int]:
    """0 to count-1 in random order, but in runs of `length`; the first and last run may be shorter."""
    if length == 1:
        return [int(person) for person in rng.permutation(count)]
    cuts = np.arange(int(rng.integers(1, length + 1)), count, length)
    runs = np.split(np.arange(count), cuts)
    return [int(person) for run in rng.permutation(len(runs)) for person in runs[run]]


def _draw(rows: Int64, count: int, rng: np.random.Generator, *, replace: bool) -> Int64:
    return rng.choice(rows, count, replace=replace or len(rows) < count)
