"""The loss terms that only STICC has: slots that look at different parts, and memories all of whose items are used."""

from __future__ import annotations

import torch
from torch.nn import functional

_TINY = 1e-12


def slot_diversity(attention: torch.Tensor) -> torch.Tensor:
    """Mean cosine between the attention of different slots of a frame: 0 where no two look at the same place.

    attention: (V, M, N), non-negative, averaged over heads. -> scalar in [0, 1]; 0 for a single slot.
    """
    num_slots = attention.shape[1]
    if num_slots < 2:
        return attention.new_zeros(())
    rows = functional.normalize(attention, dim=2)
    cosine = rows @ rows.transpose(1, 2)  # (V, M, M)
    apart = ~torch.eye(num_slots, dtype=torch.bool, device=attention.device)
    return cosine[:, apart].mean()


def memory_usage(weights: torch.Tensor) -> torch.Tensor:
    """How far the average use of a memory's items is from even: the divergence KL(mean use || even use).

    weights: (R, L) addressing weights, rows summing to 1. -> scalar in [0, log L]; 0 where all items are used alike.
    """
    mean = weights.mean(dim=0)
    return (mean * (mean.clamp(min=_TINY) * len(mean)).log()).sum()
