"""Learning rate over the epochs: warm-up, then steps or a cosine. One pure function, one small configuration."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings


class ScheduleConfig(Settings):
    """The factor on every learning rate, epochs counted from 0."""

    kind: Literal["step", "cosine"] = Field(
        "step", description="step: times gamma at every milestone; cosine: half a wave down to final_factor"
    )
    milestones: tuple[int, ...] = Field((), description="step: the first epochs that have the lower rate, ascending")
    gamma: float = Field(0.1, gt=0, le=1, description="step: factor at each milestone")
    final_factor: float = Field(0.01, ge=0, le=1, description="cosine: factor that the last epoch runs down to")
    warmup_epochs: float = Field(0, ge=0, description="epochs over which the rate rises linearly to its full value")
    warmup_start: float = Field(0.01, gt=0, le=1, description="factor at the start of the warm-up")
    warming_factors: dict[str, float] = Field(
        {}, description="further factor, by parameter group, as long as the warm-up lasts"
    )
    per: Literal["epoch", "step"] = Field(
        "epoch", description="epoch: constant within an epoch, as published recipes have it; step: changes every step"
    )

    @model_validator(mode="after")
    def _milestones_ascend(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or any(m < 1 for m in self.milestones):
            raise ValueError(f"milestones must be ascending epochs from 1 on, got {list(self.milestones)}")
        if self.kind == "cosine" and self.milestones:
            raise ValueError("milestones belong to kind: step; remove them or choose that kind")
        if any(factor < 0 for factor in self.warming_factors.values()):
            raise ValueError("warming_factors must not be negative")
        return self


def lr_factor(schedule: ScheduleConfig, epoch: float, num_epochs: int, group: str = "") -> float:
    """Factor on the base rate of a parameter group at a time in epochs (2.5: half through the third epoch).

    step: gamma ** (number of milestones <= epoch); cosine: from 1 at the end of the warm-up to `final_factor` at
    `num_epochs`. While epoch < warmup_epochs that is multiplied by start * (1 - e / W) + e / W.
    """
    if schedule.per == "epoch":
        epoch = math.floor(epoch)
    if schedule.kind == "step":
        factor = schedule.gamma ** sum(milestone <= epoch for milestone in schedule.milestones)
    else:
        length = max(num_epochs - schedule.warmup_epochs, 1e-9)
        done = min(max((epoch - schedule.warmup_epochs) / length, 0.0), 1.0)
        factor = schedule.final_factor + (1 - schedule.final_factor) * 0.5 * (1 + math.cos(math.pi * done))
    if epoch < schedule.warmup_epochs:
        risen = epoch / schedule.warmup_epochs
        factor *= schedule.warmup_start * (1 - risen) + risen
        factor *= schedule.warming_factors.get(group, 1.0)
    return factor
