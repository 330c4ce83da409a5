"""Which cells answer for which person: task-aligned assignment (Feng et al., TOOD, ICCV 2021, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TOP_CELLS = 10
SCORE_POWER, IOU_POWER = 0.5, 4.0  # alignment = score ** 0.5 * IoU ** 4
EPS = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Of one picture: per cell the wanted score, the person answered for (-1: nobody), and whether the cell counts."""

    score: Tensor  # (A,) 0..1
    person: Tensor  # (A,) int64
    counts: Tensor  # (A,) bool


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """(A, B) intersection over union of boxes given by corners."""
    left_top = torch.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (right_bottom - left_top).clamp(min=0).prod(dim=2)
    areas = [(x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=1) for x in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared + EPS)


def assign_cells(
    score: Tensor, xyxy: Tensor, centre_px: Tensor, stride_px: Tensor, people: Tensor, ignored: Tensor
) -> Targets:
    """score (A,), boxes (A, 4) and cell centres (A, 2), strides (A,); people (P, 4), regions to ignore (R, 4).

    Cells whose centre lies in a person's box (made at least two strides wide and high) may answer; the ten best
    aligned do. The best aligned cell is to score the person's best IoU, the others in proportion. A cell that could
    answer for two people does so for the one its box overlaps more.
    """
    num_cells = len(score)
    person = torch.full((num_cells,), -1, dtype=torch.int64)
    counts = ~_inside(centre_px, ignored).any(dim=0)
    if not len(people):
        return Targets(torch.zeros(num_cells), person, counts)
    half = (people[:, 2:] - people[:, :2]) / 2
    middle = (people[:, 2:] + people[:, :2]) / 2
    reach = torch.maximum(half[:, None], stride_px[None, :, None])  # (P, A, 2)
    may = ((centre_px[None] - middle[:, None]).abs() < reach).all(dim=2)
    iou = pair_iou(people, xyxy)
    alignment = score[None].clamp(min=EPS) ** SCORE_POWER * iou**IOU_POWER * may
    best, index = alignment.topk(min(TOP_CELLS, num_cells), dim=1)
    chosen = torch.zeros_like(may).scatter_(1, index, best > EPS)
    crowded = chosen.sum(dim=0) > 1
    if crowded.any():
        winner = (iou * chosen).argmax(dim=0)
        chosen[:, crowded] = False
        chosen[winner[crowded], crowded] = True
    aligned, overlap = alignment * chosen, iou * chosen
    wanted = aligned * (overlap.amax(1, keepdim=True) / aligned.amax(1, keepdim=True).clamp(min=EPS))
    answers = chosen.any(dim=0)
    person[answers] = chosen.int().argmax(dim=0)[answers]
    return Targets(wanted.amax(dim=0), person, counts | answers)


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(R, A) whether a point lies in a box."""
    after = (points[None] > boxes[:, None, :2]).all(dim=2)
    return after & (points[None] < boxes[:, None, 2:]).all(dim=2)
