"""Losses that the published systems share: pure functions of features and labels, each a scalar.

Half-precision inputs are computed in float32. STAFormer's and STICC's own losses stand in `losses_staformer.py` and
`losses_sticc.py`. Everywhere N is the number of rows in the batch, C the number of people, D the feature's length.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Distance = Literal["euclidean", "cosine"]


def smoothed_cross_entropy(logits: Tensor, pids: Tensor, epsilon: float = 0.1) -> Tensor:
    """Mean cross entropy against the target (1 - epsilon) * onehot + epsilon / C.

    logits (N, C) any float; pids (N,) int64 in 0..C-1; epsilon 0 is the plain cross entropy.
    Source: Szegedy et al. 2016, section 7.
    """
    return functional.cross_entropy(_full(logits), pids, label_smoothing=epsilon)


def batch_hard_triplet(
    features: Tensor, pids: Tensor, *, margin: float | None = 0.3, distance: Distance = "euclidean"
) -> Tensor:
    """Mean over anchors of max(0, d_ap - d_an + margin): the farthest row of the same pid against the nearest other.

    features (N, D); pids (N,) int64. `margin=None` is the soft margin log(1 + exp(d_ap - d_an)). "euclidean" is
    sqrt(sum of squared differences + 1e-12), "cosine" is minus the cosine. An anchor counts among its own positives,
    and an anchor without any negative adds 0, so a batch of one pid costs nothing. Source: Hermans et al. 2017.
    """
    features = _full(features)
    if distance == "cosine":
        features = functional.normalize(features, dim=1)
    same = pids[:, None] == pids[None, :]
    farthest, nearest = _hardest(features.detach(), same, distance)
    positive, negative = features.index_select(0, farthest), features.index_select(0, nearest)
    gap = _between(features, positive, distance) - _between(features, negative, distance)
    cost = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    return torch.where(same.all(dim=1), torch.zeros_like(cost), cost).mean()


def center_loss(features: Tensor, centers: Tensor, pids: Tensor) -> Tensor:
    """Half the mean squared Euclidean distance of each row to the centre of its pid.

    features (N, D); centers (C, D), learned; pids (N,) int64. Source: Wen et al. 2016, equation 2, as a mean.
    """
    return 0.5 * (_full(features) - _full(centers)[pids]).square().sum(dim=1).mean()


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


@torch.no_grad()
def _hardest(features: Tensor, same: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """Rows of the farthest positive and the nearest negative of each anchor, (N,) int64 each.

    Mining needs no gradient: the distances of the chosen pairs are computed anew, in N x D and not N x N x D memory.
    """
    if distance == "cosine":
        matrix = -(features @ features.T)
    else:
        matrix = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    farthest = matrix.masked_fill(~same, float("-inf")).argmax(dim=1)
    nearest = matrix.masked_fill(same, float("inf")).argmin(dim=1)
    return farthest, nearest


def _between(one: Tensor, other: Tensor, distance: Distance) -> Tensor:
    """Distance of each row of `one` to the same row of `other`, (N,)."""
    if distance == "cosine":
        return -(one * other).sum(dim=1)
    return ((one - other).square().sum(dim=1) + 1e-12).sqrt()
