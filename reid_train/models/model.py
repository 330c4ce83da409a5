"""What every network of `reid_train` offers, and the shape checks and means over time that they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class ReidModel(Protocol):
    """Interface of the networks; each is a plain `nn.Module`.

    `clips` is (N, T, 3, H, W) float, RGB, normalised with ImageNet's mean and deviation, frames in order of time.
    `mask` is (N, T) bool, True = a real frame. Where `uses_mask` is False, padding must repeat real frames of the
    clip: the network looks at them, and at most weighs whole blocks by their share of real frames.
    """

    name: str
    dim: int
    """Length of the vectors of `embed`."""
    input_hw: tuple[int, int]
    """Height and width in pixels that the network was designed for."""
    clip_length: int
    """Frames of a clip in training."""
    frame_multiple: int
    """T must be a multiple of this."""
    uses_mask: bool

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Training outputs: `logits*` (N, num_pids), `feature*` (N, D) and what else `loss_terms` needs."""
        ...

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, dim), the vector that is compared at test time; call it in eval mode."""
        ...

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        """Named scalars, already weighted; the loss is their sum. `pids` is (N,) int64 in 0..num_pids-1."""
        ...

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """All trainable parameters, each in exactly one named group."""
        ...


def check_clips(clips: Tensor, frame_multiple: int, input_hw: tuple[int, int] | None = None) -> None:
    """Raise ValueError unless `clips` is (N, T, 3, H, W), T a multiple of `frame_multiple` and (H, W) = `input_hw`."""
    if clips.dim() != 5 or clips.shape[2] != 3:
        raise ValueError(f"clips must be (N, T, 3, H, W), got {tuple(clips.shape)}")
    num_frames, hw = clips.shape[1], (clips.shape[3], clips.shape[4])
    if num_frames == 0 or num_frames % frame_multiple:
        raise ValueError(
            f"clips have {num_frames} frames, the network needs a multiple of {frame_multiple}: "
            "sample that many frames or repeat the last one"
        )
    if input_hw is not None and hw != input_hw:
        raise ValueError(
            f"frames are {hw[0]} x {hw[1]} (height x width), the network was built for {input_hw[0]} x {input_hw[1]}: "
            "resize the crops or build it with input_hw"
        )


def masked_mean(features: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over dimension 1 of (N, T, D) where `mask` (N, T) is True (or by weight, if it is float) -> (N, D).

    A row whose mask is all False gives zeros.
    """
    if mask is None:
        return features.mean(dim=1)
    weight = mask.to(features.dtype).unsqueeze(-1)
    return (features * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(torch.finfo(features.dtype).tiny)


def block_weights(mask: Tensor | None, block_length: int) -> Tensor | None:
    """(N, T) frame mask -> (N, T / block_length) float share of real frames in each block; None stays None."""
    if mask is None:
        return None
    return mask.to(torch.float32).reshape(mask.shape[0], mask.shape[1] // block_length, block_length).mean(dim=-1)


def trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Parameters of `modules` that are to be trained, in order."""
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def bn_neck(dim: int) -> nn.BatchNorm1d:
    """BatchNorm1d with weight 1 and a bias that stays 0 (Luo et al., CVPR workshops 2019)."""
    neck = nn.BatchNorm1d(dim)
    neck.bias.requires_grad_(False)
    return neck
