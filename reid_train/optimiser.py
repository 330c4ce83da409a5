"""The optimiser with a rate per parameter group, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.yaml_file import ConfigError, near_miss
from reid_train.config import OptimiserConfig
from reid_train.schedules import ScheduleConfig, lr_factor


def build_optimiser(
    groups: Mapping[str, list[nn.Parameter]], config: OptimiserConfig, schedule: ScheduleConfig, device: torch.device
) -> torch.optim.Optimizer:
    """An optimiser over the named groups of a network; each of its groups knows its `name` and its `base_lr`.

    A named group is split where vectors (biases, norms) have rules of their own. Raises ConfigError for a factor
    whose group the network does not have.
    """
    for key, factors in (
        ("optimiser.lr_factors", config.lr_factors),
        ("schedule.warming_factors", schedule.warming_factors),
    ):
        for name in factors:
            if name not in groups:
                raise ConfigError(f"{key}.{name}: the network has no such group{near_miss(name, list(groups))}")
    rows: list[dict[str, Any]] = []
    for name, parameters in groups.items():
        base_lr = config.lr * config.lr_factors.get(name, 1.0)
        matrices = [p for p in parameters if p.dim() > 1]
        vectors = [p for p in parameters if p.dim() <= 1]
        vector_lr = base_lr * config.bias_lr_factor
        vector_decay = config.weight_decay if config.decay_vectors else 0.0
        if (vector_lr, vector_decay) == (base_lr, config.weight_decay):
            matrices, vectors = list(parameters), []
        rows.append({"params": matrices, "base_lr": base_lr, "weight_decay": config.weight_decay, "name": name})
        rows.append({"params": vectors, "base_lr": vector_lr, "weight_decay": vector_decay, "name": name})
    rows = [{**row, "lr": row["base_lr"]} for row in rows if row["params"]]
    fused = True if device.type == "cuda" else None
    if config.name == "sgd":
        return torch.optim.SGD(rows, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(rows, lr=config.lr, fused=fused)


def set_rates(optimiser: torch.optim.Optimizer, schedule: ScheduleConfig, epoch: float, num_epochs: int) -> None:
    """Give every group its learning rate at a time in epochs."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * lr_factor(schedule, epoch, num_epochs, group["name"])


class MovingAverage:
    """Exponential moving average of a network's weights and buffers: average += (1 - decay) * (now - average).

    The decay starts at 1/11 and approaches its full value, min(decay, (1 + n) / (10 + n)) after n updates, so that
    the first, random weights are soon forgotten. Counters are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.average = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    def load(self, average: Mapping[str, Tensor], num_updates: int) -> None:
        """Go on from an average that was stored. Raises KeyError where one is missing."""
        for key, value in self.average.items():
            value.copy_(average[key])
        self.num_updates = num_updates

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """While it lasts, the network has the averaged weights."""
        now = {key: value.detach().clone() for key, value in model.state_dict().items()}
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(now)
