"""`python -m pipeline evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import err, out, reported_errors, set_up_logging


def evaluate(
    gt: Annotated[
        Path,
        typer.Option(
            help="true tracks: a cams.yaml whose cameras name `ground_truth`, a table like global_tracks.csv, "
            "a MOTChallenge gt.txt, or a folder of <camera>.txt",
            show_default=False,
        ),
    ],
    pred: Annotated[
        Path, typer.Option(help="tracks to score: global_tracks.csv or a folder of <camera>.txt", show_default=False)
    ],
    iou: Annotated[float, typer.Option(min=0.01, max=1.0, help="overlap from which a box is right")] = 0.5,
    ceiling: Annotated[
        bool, typer.Option("--ceiling", help="also score the same tracklets without and with perfect association")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write all figures to this file")] = None,
) -> None:
    """Score tracks per camera and over all cameras: IDF1, HOTA, MOTA, identity switches, precision, recall.

    The last row has one identity mapping over all cameras: a person needs the same id everywhere.
    """
    set_up_logging(False)
    from pipeline.evaluation.scores import association_ceiling, render, score, without_association
    from pipeline.sinks.run_json import write_json_atomically
    from pipeline.truth import load_truth_and_prediction

    with reported_errors():
        truth, prediction = load_truth_and_prediction(gt, pred)
        scores = score(truth, prediction, iou)
        payload = scores.to_dict()
        for warning in scores.warnings:
            err.print(f"warning: {warning}", style="yellow", highlight=False)
        out.print(render(scores, str(pred)))
        if ceiling:
            without = without_association(truth, prediction, iou)
            perfect = association_ceiling(truth, prediction, iou)
            out.print(render(without, "the same tracklets, none associated"))
            out.print(render(perfect, "the same tracklets, perfectly associated"))
            payload |= {"without_association": without.to_dict(), "association_ceiling": perfect.to_dict()}
        if json_file:
            write_json_atomically(json_file, payload)
