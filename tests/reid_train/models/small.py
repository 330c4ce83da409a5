"""Small forms of the networks and weights that make every part of them matter, for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from reid_train.models import build_model

TINY = (1, 1, 1, 1)
OPTIONS: dict[str, dict[str, Any]] = {
    "psta": {"input_hw": (32, 32), "blocks": TINY},
    "ste_nvan": {"input_hw": (32, 16), "blocks": TINY, "stripes": 2},
    "nvan": {"input_hw": (32, 16), "blocks": TINY},
    "ste_nvan_baseline": {"input_hw": (32, 16), "blocks": TINY},
    "staformer": {"input_hw": (64, 64), "blocks": TINY, "num_layers": 1},
    "sticc": {
        "backbone": "light",
        "input_hw": (64, 32),
        "channels": 32,
        "num_slots": 4,
        "num_items": 6,
        "num_heads": 4,
    },
    "st_reid": {"input_hw": (96, 16), "blocks": TINY},
    "light": {"input_hw": (64, 32), "pretrained": False, "dim": 64, "hidden": 96, "stripes": 4},
}


def small_model(name: str, num_pids: int = 4, *, seed: int = 0, **options: Any) -> nn.Module:
    """A small network in eval mode whose batch norms are not neutral."""
    torch.manual_seed(seed)
    model = build_model(name, num_pids, **{**OPTIONS[name], **options})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.weight.requires_grad:
                nn.init.uniform_(module.weight, 0.6, 1.4)
                nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def small_clips(model: nn.Module, num_clips: int, num_frames: int, *, seed: int = 0) -> torch.Tensor:
    """Random clips (num_clips, num_frames, 3, H, W) of the model's size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_clips, num_frames, 3, *model.input_hw, generator=generator)
