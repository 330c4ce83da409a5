"""A network of a few thousand weights and a data set of coloured people, for tests of the loop.

As a program it trains: `python -m tests.reid_train.tiny RECIPE OUTPUT [--resume]`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_train.config import Recipe
from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.models import MODELS

HW = (16, 8)


class Tiny(nn.Module):
    """Mean of convolved frames, batch norm (or none), dropout, classifier."""

    name = "tiny"
    dim = 8
    input_hw: tuple[int, int]
    clip_length = 2
    frame_multiple = 1
    uses_mask = False

    def __init__(
        self,
        num_pids: int,
        *,
        dropout: float = 0.3,
        use_norm: bool = True,
        slow_s: float = 0.0,
        input_hw: tuple[int, int] = HW,
    ) -> None:
        super().__init__()
        self.input_hw = (input_hw[0], input_hw[1])
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8) if use_norm else nn.Identity())
        self.neck = nn.BatchNorm1d(8) if use_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(8, num_pids)
        self.unused = nn.Parameter(torch.zeros(3))  # as some published networks have them
        self._slow_s = slow_s

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        if self._slow_s:
            time.sleep(self._slow_s)
        feature = self._pooled(clips)
        return {"feature": feature, "logits": self.classifier(self.dropout(self.neck(feature)))}

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        embedding: Tensor = self.neck(self._pooled(clips))
        return embedding

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": smoothed_cross_entropy(outputs["logits"], pids),
            "triplet": batch_hard_triplet(outputs["feature"], pids, margin=0.3),
        }

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        head = [self.unused, *self.neck.parameters(), *self.classifier.parameters()]
        return {"backbone": list(self.backbone.parameters()), "head": head}

    def _pooled(self, clips: Tensor) -> Tensor:
        maps = torch.relu(self.backbone(clips.flatten(0, 1)))
        return maps.mean(dim=(2, 3)).unflatten(0, (-1, clips.shape[1])).mean(dim=1)


def register() -> None:
    MODELS["tiny"] = Tiny


def write_people(root: Path, num_people: int = 6, num_images: int = 4) -> Path:
    """`root/<person>/c<camera>_<n>.png`, two cameras, every person of one colour with some noise."""
    rng = np.random.default_rng(0)
    for person in range(1, num_people + 1):
        folder = root / f"{person:03d}"
        folder.mkdir(parents=True)
        colour = rng.integers(20, 235, 3)
        for camera in (1, 2):
            for number in range(1, num_images + 1):
                pixels = np.clip(colour + rng.normal(0, 20, (*HW, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"c{camera}_{number}.png")
    return root


def tiny_recipe(root: Path, **parts: dict[str, Any]) -> Recipe:
    """A recipe of 3 batches an epoch; `parts` change single keys, e.g. training={"epochs": 1}."""
    recipe: dict[str, dict[str, Any]] = {
        "model": {"name": "tiny"},
        "data": {
            "name": "tracklet_folder", "root": str(root), "options": {"num_folds": 2}, "clip_length": 2, "workers": 0,
            "sampler": {"name": "shuffled", "num_ids": 1, "per_id": 2},
        },
        "transform": {"input_hw": HW, "erasing": {}},
        "optimiser": {"lr": 0.02},
        "training": {"epochs": 2, "evaluate_epochs": 0, "tensorboard": False},
    }  # fmt: skip
    return Recipe.model_validate({name: recipe.get(name, {}) | parts.get(name, {}) for name in {**recipe, **parts}})


def main(arguments: list[str]) -> None:
    from reid_train.config import load_recipe
    from reid_train.train import train

    torch.set_num_threads(1)
    register()
    train(load_recipe(Path(arguments[0])), Path(arguments[1]), resume="--resume" in arguments, device="cpu")


if __name__ == "__main__":
    main(sys.argv[1:])
