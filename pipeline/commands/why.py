"""`python -m pipeline why`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import out, reported_errors, set_up_logging, write_json


def why(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="output folder of a run")],
    what: Annotated[
        list[str], typer.Argument(metavar="GID | CAM:TRACK CAM:TRACK", help="an identity, or two tracklets")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the result to this file; - prints it in place of the text")
    ] = None,
) -> None:
    """Tell how an identity came to be, or why two tracklets are one person or two.

    For example:

        python -m pipeline why out 7
        python -m pipeline why out door:3 hall:12

    Every decision of the run is shown with the evidence it rested on: how alike they look, how long the person was
    unseen, how far apart they stood, who the runner-up was and by how much it fell short.

    Decisions are made again from these numbers, and it is said whether they come out the same. Where the run kept its
    tracklets (association.npz), they are also compared by what was known at the end, re-ranked similarity included.
    """
    set_up_logging(False)
    from pipeline.why import load_run, why_identity, why_pair
    from pipeline.why_text import identity_text, pair_text

    with reported_errors():
        run = load_run(folder)
        if len(what) == 1 and what[0].isdecimal():
            story = why_identity(run, int(what[0]))
            lines = identity_text(story)
        elif len(what) == 2:
            story = why_pair(run, *what)
            lines = pair_text(story)
        else:
            raise typer.BadParameter("want one identity, for example 7, or two tracklets, for example door:3 hall:12")
        if json_file:
            write_json(json_file, story)
    if json_file != Path("-"):
        for line in lines:
            out.print(line, highlight=False, markup=False, soft_wrap=True)
