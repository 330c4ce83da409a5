"""All figures of a result against ground truth, per camera and over all cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.evaluation.clear import Clear, clear_mot
from pipeline.evaluation.hota import Hota, hota
from pipeline.evaluation.identity import Identity, identity
from pipeline.evaluation.overlaps import Overlaps, chain, overlaps
from pipeline.evaluation.tables import TrackTable, numbered
from pipeline.evaluation.tracklets import no_association, true_association

ALL_CAMERAS = "all cameras"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The figures of one sequence of frames."""

    name: str
    num_frames: int  # that hold a true or a predicted box
    num_truth_boxes: int
    num_truth_ids: int
    num_pred_boxes: int
    num_pred_ids: int
    identity: Identity
    hota: Hota
    clear: Clear

    def figures(self) -> dict[str, float | int | str]:
        """Flat, by name, as they go into a file."""
        return {
            "name": self.name,
            "idf1": self.identity.idf1,
            "idp": self.identity.idp,
            "idr": self.identity.idr,
            "hota": self.hota.hota,
            "deta": self.hota.det_a,
            "assa": self.hota.ass_a,
            "detre": self.hota.det_re,
            "detpr": self.hota.det_pr,
            "assre": self.hota.ass_re,
            "asspr": self.hota.ass_pr,
            "loca": self.hota.loc_a,
            "mota": self.clear.mota,
            "precision": self.clear.precision,
            "recall": self.clear.recall,
            "switches": self.clear.num_switches,
            "tp": self.clear.num_matched,
            "fn": self.clear.num_missed,
            "fp": self.clear.num_false,
            "idtp": self.identity.num_right,
            "idfn": self.identity.num_missed,
            "idfp": self.identity.num_false,
            "frames": self.num_frames,
            "truth_boxes": self.num_truth_boxes,
            "truth_ids": self.num_truth_ids,
            "pred_boxes": self.num_pred_boxes,
            "pred_ids": self.num_pred_ids,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """One row per camera of the ground truth, in its order, and one over all of them under one identity mapping."""

    iou: float
    cameras: tuple[ScoreRow, ...]
    overall: ScoreRow
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "iou": self.iou,
            "overall": self.overall.figures(),
            "cameras": [row.figures() for row in self.cameras],
            "warnings": list(self.warnings),
        }


def score(truth: TrackTable, pred: TrackTable, iou: float = 0.5) -> Scores:
    """Compare a result with ground truth. `iou` is the overlap from which a box is right, for all but HOTA.

    Cameras are compared by name and frames by number. The row over all cameras chains them, in the truth's order,
    into one sequence: a person needs the same predicted identity everywhere, and a person whose identity changes
    from one camera to the next costs a switch. Only cameras of the ground truth are scored; one that is missing in
    the result counts as all missed, with a warning. Raises ValueError where no camera is in both.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}, want a value in (0, 1]")
    if len(pred) and not set(truth.cameras) & set(pred.cameras):
        raise ValueError(
            f"no camera is in both: the ground truth has {', '.join(truth.cameras) or 'none'}, "
            f"the result has {', '.join(pred.cameras)}; name them alike"
        )
    parts = [overlaps(truth.of_camera(camera), pred.of_camera(camera)) for camera in truth.cameras]
    rows = tuple(_row(camera, part, iou) for camera, part in zip(truth.cameras, parts, strict=True))
    return Scores(iou, rows, _row(ALL_CAMERAS, chain(parts), iou), _warnings(truth, pred))


def association_ceiling(truth: TrackTable, pred: TrackTable, iou: float = 0.5) -> Scores:
    """The scores of the same tracklets under their true identities (`true_association`)."""
    return score(truth, true_association(truth, pred, iou), iou)


def without_association(truth: TrackTable, pred: TrackTable, iou: float = 0.5) -> Scores:
    """The scores of the same tracklets, each an identity of its own (`no_association`)."""
    return score(truth, no_association(pred), iou)


def render(scores: Scores, title: str = "") -> Table:
    """A table to print, 80 columns wide for short camera names. IDSW are switches; people are true / predicted."""
    caption = f"at IoU {scores.iou:g}; HOTA, DetA and AssA over IoU 0.05 to 0.95"
    table = Table(title=title or None, caption=caption, box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("Camera", overflow="fold")
    shares = ("idf1", "idp", "idr", "hota", "deta", "assa", "mota", "precision", "recall")
    heads = ("IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA", "MOTA", "Prec", "Rec")
    for head in (*heads, "IDSW", "People"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in (*scores.cameras, scores.overall):
        if row is scores.overall:
            table.add_section()
        figures = row.figures()
        table.add_row(
            row.name,
            *(f"{figures[name]:.3f}" for name in shares),
            str(row.clear.num_switches),
            f"{row.num_truth_ids}/{row.num_pred_ids}",
            style="bold" if row is scores.overall else None,
        )
    return table


def _row(name: str, pairs: Overlaps, iou: float) -> ScoreRow:
    return ScoreRow(
        name,
        pairs.num_slots,
        len(pairs.truth_id),
        len(np.unique(pairs.truth_id)),
        len(pairs.pred_id),
        len(np.unique(pairs.pred_id)),
        identity(pairs, iou),
        hota(pairs),
        clear_mot(pairs, iou),
    )


def _warnings(truth: TrackTable, pred: TrackTable) -> tuple[str, ...]:
    absent = [camera for camera in truth.cameras if camera not in pred.cameras]
    found = [f"camera {camera!r} is not in the result: all of its people count as missed" for camera in absent]
    beyond = [camera for camera in pred.cameras if camera not in truth.cameras]
    found += [f"camera {camera!r} has no ground truth and is not scored" for camera in beyond]
    for camera in truth.cameras:
        rows = pred.of_camera(camera)
        _, first, count = np.unique(numbered(rows.frame, rows.identity), return_index=True, return_counts=True)
        if (count > 1).any():
            row = int(first[np.argmax(count > 1)])
            found.append(
                f"camera {camera!r}: identity {rows.identity[row]} stands twice in frame {rows.frame[row]} "
                f"({int((count - 1).sum())} such boxes in all); at most one of them can be right"
            )
    return tuple(found)
