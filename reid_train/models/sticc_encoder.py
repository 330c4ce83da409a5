"""STICC's encoder: what a frame shows, read by self-attention and by a memory of parts, and exchanged between frames.

Both attentions of a frame read the same keys and values. The memory's slots are learned queries: slot m of every frame
looks for the same part wherever it stands, so frames complement each other slot by slot and need no alignment.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from reid_train.models.attention import fp32_softmax, join_heads, split_heads

KvSource: TypeAlias = Literal["shared", "self"]

DROPOUT = 0.1


class FrameCodes(NamedTuple):
    """What the encoder says of V frames. None stands for a branch that is switched off."""

    readouts: torch.Tensor  # (V, M, C) one vector per slot
    common: torch.Tensor | None  # (V, C) mean of the self-attended map
    attention: torch.Tensor | None  # (V, M, N) of the slots, averaged over heads


class CommonBranch(nn.Module):
    """Self-attention over the places of a frame on given keys and values, then a perceptron; both residual."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * channels)
        self.reduce = nn.Linear(2 * channels, channels)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor, normed: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """x, normed: (V, N, C); keys, values: (V, h, N, d) -> S (V, N, C)."""
        queries = split_heads(self.query(normed), self.num_heads)
        s = x + self.out(join_heads(functional.scaled_dot_product_attention(queries, keys, values)))
        hidden = self.dropout(functional.gelu(self.expand(self.norm(s))))
        out: torch.Tensor = s + self.dropout(self.reduce(hidden))
        return out


class SlotMemory(nn.Module):
    """M learned queries that read the parts of a frame. Without a query residual: an unseen part adds no constant."""

    def __init__(self, channels: int, num_slots: int, num_heads: int, std: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.slots = nn.Parameter(std * torch.randn(num_slots, channels))
        self.query = nn.Linear(channels, channels, bias=False)

    def forward(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """keys, values: (V, h, N, d) -> what the slots read (V, M, C), head-averaged attention (V, M, N)."""
        queries = split_heads(self.query(self.slots), self.num_heads)  # (h, M, d)
        weights = fp32_softmax(queries @ keys.transpose(-2, -1) * keys.shape[-1] ** -0.5, dim=-1)  # (V, h, M, N)
        return join_heads(weights.to(values.dtype) @ values), weights.mean(dim=1)


class FrameEncoder(nn.Module):
    """Everything that is done to a frame by itself.

    use_common, use_memory: the two branches. Without the memory, slot m is the mean of the m-th of M horizontal
    stripes. kv_source `self` lets the memory read keys and values of the self-attended map instead of the shared ones.
    """

    def __init__(
        self,
        channels: int,
        num_slots: int,
        num_heads: int,
        *,
        use_common: bool = True,
        use_memory: bool = True,
        kv_source: KvSource = "shared",
        memory_std: float = 0.02,
    ) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.num_heads = num_heads
        self.reads_common = kv_source == "self"
        self.norm = nn.LayerNorm(channels)
        # Stripes need no keys; without both branches nobody would.
        self.key = nn.Linear(channels, channels, bias=False) if use_common or use_memory else None
        self.value = nn.Linear(channels, channels, bias=False)
        self.common = CommonBranch(channels, num_heads) if use_common else None
        self.memory = SlotMemory(channels, num_slots, num_heads, memory_std) if use_memory else None
        self.out = nn.Linear(channels, channels, bias=False)
        self.out_norm = nn.LayerNorm(channels)

    def forward(self, feature_map: torch.Tensor) -> FrameCodes:
        """(V, C, h, w) -> codes of the V frames."""
        x = feature_map.flatten(2).transpose(1, 2)  # (V, N, C)
        normed = self.norm(x)
        keys, values = self._keys_values(normed)
        common = None
        if self.common is not None and keys is not None:
            s = self.common(x, normed, keys, values)
            common = s.mean(dim=1)
            if self.reads_common:
                keys, values = self._keys_values(self.norm(s))
        attention = None
        if self.memory is not None and keys is not None:
            read, attention = self.memory(keys, values)
        else:
            grid = values.transpose(-2, -1).reshape(feature_map.shape[0], -1, *feature_map.shape[2:])  # (V, C, h, w)
            read = functional.adaptive_avg_pool2d(grid, (self.num_slots, 1)).squeeze(3).transpose(1, 2)
        return FrameCodes(self.out_norm(self.out(read)), common, attention)

    def _keys_values(self, normed: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """(V, N, C) -> (V, h, N, d) each."""
        keys = None if self.key is None else split_heads(self.key(normed), self.num_heads)
        return keys, split_heads(self.value(normed), self.num_heads)


class SlotExchange(nn.Module):
    """Per slot, self-attention over the frames of a clip: same weights for all slots, no positions, residual."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.out_norm = nn.LayerNorm(channels)

    def forward(self, readouts: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(B, T, M, C), mask (B, T) -> (B, T, M, C); rows of masked frames are finite and mean nothing."""
        num_clips, num_frames, num_slots, channels = readouts.shape
        by_slot = readouts.transpose(1, 2).flatten(0, 1)  # (B * M, T, C)
        q, k, v = (split_heads(part, self.num_heads) for part in self.qkv(self.norm(by_slot)).chunk(3, dim=2))
        seen = None if mask is None else mask.repeat_interleave(num_slots, dim=0)[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        exchanged: torch.Tensor = self.out_norm(by_slot + self.out(join_heads(mixed)))
        return exchanged.reshape(num_clips, num_slots, num_frames, channels).transpose(1, 2)
