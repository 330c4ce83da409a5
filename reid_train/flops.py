"""How much a network computes: multiply-accumulates of a forward pass, counted operation by operation on no data."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reid_train.models.model import ReidModel


def clip_macs(model: nn.Module, num_frames: int | None = None) -> int:
    """Multiply-accumulates of `embed` on one clip (matrix products, convolutions, attention; half of the FLOPs).

    `num_frames` None: the network's clip length. Nothing is computed: shapes alone go through a copy without values.
    """
    reid = cast(ReidModel, model)
    frames = reid.clip_length if num_frames is None else num_frames
    shapes = copy.deepcopy(model).to("meta").eval()
    clip = torch.empty((1, frames, 3, *reid.input_hw), device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        cast(ReidModel, shapes).embed(clip)
    return int(counter.get_total_flops()) // 2


def num_parameters(model: nn.Module) -> int:
    """All of them, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())
