"""STICC's two decoders: relevance weighs slots into a detailed vector, memories condense them into an abstract one."""

from __future__ import annotations

import torch
from torch import nn

from reid_train.models.attention import fp32_softmax, frame_mean, frame_softmax


class DetailDecoder(nn.Module):
    """Relevance to what the slot shows on the whole weighs the frames, relevance to the person the slots."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = channels**-0.5
        self.frame_score = nn.Linear(channels, channels, bias=False)
        self.slot_score = nn.Linear(channels, channels, bias=False)

    def forward(self, slots: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(B, T, M, C), mask (B, T) -> (B, C)."""
        typical = self.frame_score(frame_mean(slots, mask)).unsqueeze(1)  # (B, 1, M, C)
        scores = (self.frame_score(slots) * typical).sum(dim=3) * self.scale  # (B, T, M)
        parts = (frame_softmax(scores, mask).unsqueeze(3) * slots).sum(dim=1)  # (B, M, C)
        whole = self.slot_score(parts.mean(dim=1, keepdim=True))
        scores = (self.slot_score(parts) * whole).sum(dim=2) * self.scale  # (B, M)
        detail: torch.Tensor = (fp32_softmax(scores, dim=1).unsqueeze(2) * parts).sum(dim=1)
        return detail


class ItemMemory(nn.Module):
    """L learned pairs of key and value, read by similarity."""

    def __init__(self, channels: int, num_items: int, std: float) -> None:
        super().__init__()
        self.scale = channels**-0.5
        self.keys = nn.Parameter(std * torch.randn(num_items, channels))
        self.values = nn.Parameter(std * torch.randn(num_items, channels))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(..., C) -> how well each row fits what it reads (...,), addressing weights (..., L)."""
        weights = fp32_softmax(x @ self.keys.T * self.scale, dim=-1)
        read = weights.to(x.dtype) @ self.values
        return (x * read).sum(dim=-1) * self.scale, weights


class AbstractionDecoder(nn.Module):
    """A structure memory condenses the slots of each frame, a temporal memory the frames."""

    def __init__(self, channels: int, num_items: int, std: float) -> None:
        super().__init__()
        self.structure = ItemMemory(channels, num_items, std)
        self.temporal = ItemMemory(channels, num_items, std)

    def forward(
        self, slots: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, T, M, C), mask (B, T) -> (B, 2C), addressing weights of structure (B, T, M, L) and time (B, T, L)."""
        scores, structure = self.structure(slots)
        frames = (fp32_softmax(scores, dim=2).unsqueeze(3) * slots).sum(dim=2)  # (B, T, C)
        scores, temporal = self.temporal(frames)
        condensed = (frame_softmax(scores, mask).unsqueeze(2) * frames).sum(dim=1)
        return torch.cat((frame_mean(frames, mask), condensed), dim=1), structure, temporal
