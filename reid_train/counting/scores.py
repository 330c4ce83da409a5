"""Errors of counts: over videos, and window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_train.counting.count import VideoCount


@dataclass(frozen=True, slots=True)
class CountScore:
    """Errors over videos; people, and for `wrae` a share of the true number."""

    mae: float
    rmse: float
    wrae: float  # NaN where a video shows nobody
    inflow_mae: float  # over all windows


def count_errors(
    true_num: npt.ArrayLike, predicted_num: npt.ArrayLike, num_frames: npt.ArrayLike
) -> tuple[float, float, float]:
    """(V,) counts and lengths of videos -> MAE, RMSE and WRAE = sum of (length share) * |error| / true number.

    Raises ValueError for no videos or arrays that are not aligned. WRAE is NaN where a video shows nobody.
    """
    true, predicted, length = (np.asarray(a, np.float64).ravel() for a in (true_num, predicted_num, num_frames))
    if not len(true) or not len(true) == len(predicted) == len(length):
        raise ValueError(f"count_errors: want aligned videos, got {len(true)}, {len(predicted)} and {len(length)}")
    error = np.abs(true - predicted)
    relative = np.divide(error, true, out=np.full_like(error, np.nan), where=true > 0)
    wrae = float((length / length.sum() * relative).sum())
    return float(error.mean()), float(np.sqrt(np.square(error).mean())), wrae


def score_counts(truth: Sequence[VideoCount], predicted: Sequence[VideoCount]) -> CountScore:
    """Score aligned videos. Raises ValueError where a video is cut into other windows than its truth."""
    for index, (one, other) in enumerate(zip(truth, predicted, strict=True)):
        if len(one.cnt_list) != len(other.cnt_list):
            windows = f"{len(other.cnt_list)} windows beside {len(one.cnt_list)}"
            raise ValueError(f"video {index}: {windows} in the truth; use the same interval, rate and length")
    numbers = ([v.video_num for v in truth], [v.video_num for v in predicted], [v.frame_num for v in truth])
    mae, rmse, wrae = count_errors(*numbers)
    inflow = [np.subtract(one.cnt_list, other.cnt_list) for one, other in zip(truth, predicted, strict=True)]
    errors = np.abs(np.concatenate(inflow))
    return CountScore(mae, rmse, wrae, float(errors.mean()) if len(errors) else 0.0)
