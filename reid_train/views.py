"""Features of a frozen backbone, computed once for a few changed views of every image; the head alone learns from them.

A backbone that does not learn gives the same features for the same pixels. So each image is changed (mirrored,
distorted, erased) `data.views` times, what the backbone sees is kept, and a step of training costs a hundredth of one
through the backbone: thousands of steps, on a CPU, as many people need them. What is lost is the endless variety.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe
from reid_train.data.clips import TRAIN_RULES
from reid_train.data.images import ImageReader
from reid_train.data.loading import TrainItem
from reid_train.data.samplers import ClipKey, clip_rng
from reid_train.data.tracklet import ReidSplit
from reid_train.data.transforms import transform_clip
from reid_train.models.light import Light

VIEWS_STREAM = 2  # keeps the draws of views apart from those of batches and clips
_BATCH = 32

log = logging.getLogger(__name__)


class ViewClips(Dataset[TrainItem]):
    """Training clips as features. Item `ClipKey` -> (T, F) float32, pid, camid; of each image one view at random."""

    def __init__(self, split: ReidSplit, recipe: Recipe, features: npt.NDArray[np.float16]) -> None:
        lengths = [len(t) for t in split.train]
        self._features, self._lengths = features, lengths
        self._first = np.cumsum([0, *lengths])
        self._pids = [t.pid for t in split.train]
        self._camids = [t.camid for t in split.train]
        self._clip_length, self._rule = recipe.data.clip_length, recipe.data.rule
        self._seed = recipe.training.seed

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, key: ClipKey | int) -> TrainItem:
        key = key if isinstance(key, ClipKey) else ClipKey(key, 0, key)
        rng = clip_rng(self._seed, key)
        frames = TRAIN_RULES[self._rule](self._lengths[key.row], self._clip_length, rng)[0]
        views = rng.integers(0, self._features.shape[1], len(frames))
        clip = torch.from_numpy(self._features[self._first[key.row] + frames, views].astype(np.float32))
        return clip, self._pids[key.row], self._camids[key.row]


def frozen_views(
    model: torch.nn.Module, split: ReidSplit, recipe: Recipe, *, show: Callable[[int, int], None] | None = None
) -> npt.NDArray[np.float16]:
    """(images, views, F) what the frozen backbone sees in `data.views` changed views of every training image.

    A view hangs on the seed, its number and its image's alone. `show` is told how many are done, of how many. Raises
    ConfigError for a network whose backbone learns.
    """
    if not isinstance(model, Light) or any(p.requires_grad for p in model.backbone.parameters()):
        raise ConfigError(
            "data.views: only light with model.options.freeze_backbone: true learns from views; "
            "leave it out where the backbone learns"
        )
    device = next(model.parameters()).device
    paths = [path for tracklet in split.train for path in tracklet.paths]
    reader = ImageReader(recipe.transform.input_hw, recipe.transform.interpolation)
    num_views, other = recipe.data.views, recipe.data.views_distortion
    changed_otherwise = recipe.transform.model_copy(update={"distortion": other} if other else {})
    features = np.zeros((len(paths), num_views, model.standardise.num_features), np.float16)
    was_training = model.training
    model.eval()
    for begin in range(0, len(paths), _BATCH):
        images = [reader.clip([path]) for path in paths[begin : begin + _BATCH]]
        for view in range(num_views):
            seeds = [(VIEWS_STREAM, recipe.training.seed, view, begin + row) for row in range(len(images))]
            changed = [
                transform_clip(image, changed_otherwise if view % 2 else recipe.transform, np.random.default_rng(seed))
                for image, seed in zip(images, seeds, strict=True)
            ]
            batch = torch.cat(changed).to(device).contiguous(memory_format=_layout(recipe))
            with (
                torch.inference_mode(),
                torch.autocast(device.type, torch.bfloat16, enabled=recipe.training.precision == "bf16"),
            ):
                seen = model.stripe_features(batch).float().cpu().numpy()
            features[begin : begin + len(images), view] = np.clip(seen, -65000, 65000)
        if show:
            show(min(begin + _BATCH, len(paths)), len(paths))
    model.train(was_training)
    return features


def _layout(recipe: Recipe) -> Any:
    return torch.channels_last if recipe.training.channels_last else torch.contiguous_format


def log_progress() -> Callable[[int, int], None]:
    """For `frozen_views`: a line of the log at every tenth."""
    told = [0]

    def show(done: int, total: int) -> None:
        if done * 10 // total > told[0]:
            told[0] = done * 10 // total
            log.info("views: %d of %d images", done, total)

    return show
