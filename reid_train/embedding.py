"""From tracklets to one vector each: the clips of a test rule through a network, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.types import Float32
from reid_train.config import Recipe
from reid_train.data.clips import TEST_RULES
from reid_train.data.config import TestRule
from reid_train.data.loading import ScoringClips, scoring_loader
from reid_train.data.tracklet import LabelledTracklet
from reid_train.memory import keep_freed_memory
from reid_train.models.model import ReidModel

Show = Callable[[int, int], None]  # clips done, clips in all


def embed_tracklets(
    model: nn.Module,
    tracklets: Sequence[LabelledTracklet],
    recipe: Recipe,
    *,
    clips: TestRule | None = None,
    workers: int | None = None,
    precision: str = "fp32",
    show: Show = lambda done, total: None,
) -> Float32:
    """(num, D) float32: the mean of the vectors of each tracklet's clips, as the test part of `recipe` cuts them.

    The vectors are those of `model.embed`, not normalised, on the device where the network is; "bf16" computes them in
    mixed precision. `clips` overrules the rule, `workers` the number of reading processes. At most one batch of clips
    is held beside the result. The network is left in the mode it was in. Raises ValueError where it can not take the
    rule's clips, and ImageError for a missing or damaged image.
    """
    reid = cast(ReidModel, model)
    rule = clips or recipe.test.clips
    dataset = ScoringClips(
        tracklets,
        recipe.test_transform,
        recipe.test_clip_length,
        rule=rule,
        cache_bytes=recipe.data.cache_mb * 1_000_000,
    )
    _check_fits(reid, recipe, rule)
    device = next(model.parameters()).device
    if device.type == "cpu":
        keep_freed_memory()
    loader = scoring_loader(
        dataset,
        batch_clips=recipe.test.batch_clips,
        workers=recipe.data.workers if workers is None else workers,
        pin_memory=device.type == "cuda",
    )
    total = np.zeros((len(tracklets), reid.dim), np.float32)
    done = 0
    with _evaluating(model):
        for batch, mask, rows in loader:
            vectors = embed_clips(model, batch, mask, precision=precision)
            np.add.at(total, rows.numpy(), vectors)
            done += len(rows)
            show(done, len(dataset))
    counts = np.bincount(dataset.rows, minlength=len(tracklets)).astype(np.float32)
    total /= np.maximum(counts, 1)[:, None]
    if (bad := np.flatnonzero(~np.isfinite(total).all(axis=1))).size:
        raise ValueError(
            f"{reid.name}: the vector of {tracklets[int(bad[0])].paths[0]} is not finite (and {len(bad) - 1} more); "
            "the weights are damaged, or mixed precision overflows: compute in fp32"
        )
    return total


def embed_clips(model: nn.Module, clips: Tensor, mask: Tensor | None = None, *, precision: str = "fp32") -> Float32:
    """(N, D) vectors of a batch of clips (N, T, 3, H, W), wherever it lies; `mask` (N, T) is True at real frames.

    Call it with the network in eval mode. A mask without padding is not passed on.
    """
    device = next(model.parameters()).device
    if mask is not None and bool(mask.all()):
        mask = None
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        moved = clips.to(device, non_blocking=True)
        vectors = cast(ReidModel, model).embed(moved, None if mask is None else mask.to(device, non_blocking=True))
    return np.asarray(vectors.float().cpu().numpy(), np.float32)


def _check_fits(model: ReidModel, recipe: Recipe, rule: TestRule) -> None:
    if rule not in TEST_RULES:
        raise ValueError(f"unknown rule {rule!r} for test clips; there are {', '.join(TEST_RULES)}")
    if tuple(model.input_hw) != tuple(recipe.transform.input_hw):
        raise ValueError(
            f"{model.name} was built for {model.input_hw[0]} x {model.input_hw[1]} (height x width), the recipe's "
            f"transform.input_hw is {list(recipe.transform.input_hw)}; give the recipe that the network was trained by"
        )
    if rule == "whole" and not (model.uses_mask and model.frame_multiple == 1):
        raise ValueError(f"{model.name} can not take clips of any length (test.clips=whole); try evenly or all_frames")
    if rule != "whole" and recipe.test_clip_length % model.frame_multiple:
        raise ValueError(
            f"test clips of {recipe.test_clip_length} frames; {model.name} needs a multiple of {model.frame_multiple}: "
            "set test.clip_length"
        )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
