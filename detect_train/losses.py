"""What the network is to minimise: varifocal loss of the scores, GIoU loss of the boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from detect_train.assignment import assign_cells
from detect_train.data import People
from detect_train.model import corners

NEGATIVE_WEIGHT, FOCUS = 0.75, 2.0


def detection_loss(
    raw: Tensor, people: Sequence[People], cell_xy: Tensor, stride_px: Tensor, box_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Of a batch's raw output (B, A, 5). -> the loss and its parts."""
    xyxy = corners(raw[..., :4], cell_xy, stride_px)
    centre_px = (cell_xy + 0.5) * stride_px[:, None]
    score = raw[..., 4].detach().sigmoid()
    wanted, counts, found, true, weight = [], [], [], [], []
    for row, here in enumerate(people):
        boxes, ignored = (torch.from_numpy(x) for x in (here.xyxy, here.ignored_xyxy))
        targets = assign_cells(score[row], xyxy[row].detach(), centre_px, stride_px, boxes, ignored)
        answers = targets.person >= 0
        wanted.append(targets.score)
        counts.append(targets.counts)
        found.append(xyxy[row, answers])
        true.append(boxes[targets.person[answers]])
        weight.append(targets.score[answers])
    total = torch.cat(weight).sum().clamp(min=1.0)
    score_loss = varifocal(raw[..., 4], torch.stack(wanted), torch.stack(counts)) / total
    box_loss = (torch.cat(weight) * giou_loss(torch.cat(found), torch.cat(true))).sum() / total
    loss = score_loss + box_weight * box_loss
    return loss, {"score": float(score_loss.detach()), "box": float(box_loss.detach()), "cells": float(total)}


def varifocal(logit: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """Sum over the cells that count (Zhang et al., VarifocalNet, CVPR 2021, equation 2)."""
    score = logit.detach().sigmoid()
    weight = torch.where(wanted > 0, wanted, NEGATIVE_WEIGHT * score**FOCUS) * counts
    return (weight * functional.binary_cross_entropy_with_logits(logit, wanted, reduction="none")).sum()


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """(N,) one minus the generalised IoU (Rezatofighi et al., CVPR 2019) of boxes given by corners."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = sum((x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=1) for x in (a, b)) - shared
    return 1 - shared / (union + 1e-7) + (hull - union) / (hull + 1e-7)
