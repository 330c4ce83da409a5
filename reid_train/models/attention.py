"""What the attention of STAFormer and STICC is made of; frames that a mask leaves out weigh exactly nothing."""

from __future__ import annotations

import torch

from reid_train.models.model import masked_mean


def split_heads(x: torch.Tensor, num_heads: int) -> torch.Tensor:
    """(..., N, C) -> (..., h, N, C / h)."""
    return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads).transpose(-3, -2)


def join_heads(x: torch.Tensor) -> torch.Tensor:
    """(..., h, N, d) -> (..., N, h * d)."""
    return x.transpose(-3, -2).flatten(-2)


def fp32_softmax(scores: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax in at least single precision, whatever the precision of the scores."""
    return scores.softmax(dim=dim, dtype=torch.promote_types(scores.dtype, torch.float32))


def frame_softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Scores (B, T, ...) -> weights over T, in single precision; exactly 0 where `mask` (B, T) is False."""
    if mask is not None:
        spread = mask.reshape(*mask.shape, *(1 for _ in scores.shape[2:]))
        scores = scores.masked_fill(~spread, -torch.inf)
    return fp32_softmax(scores, dim=1)


def frame_mean(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, T, ...) -> (B, ...), the mean over the frames where `mask` (B, T) is True."""
    return masked_mean(x.flatten(2), mask).reshape(x.shape[:1] + x.shape[2:])
