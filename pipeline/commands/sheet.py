"""`python -m pipeline sheet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import err, out, reported_errors, set_up_logging


def sheet(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="output folder of a run")],
    global_id: Annotated[int, typer.Argument(metavar="GID", min=1, help="the identity")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the picture [default: DIR/sheet-GID.png]")
    ] = None,
    per_tracklet: Annotated[int, typer.Option("--per-tracklet", "-n", min=1, max=40, help="pictures of each")] = 6,
    cams: Annotated[
        Path | None, typer.Option(help="cams.yaml, whose sources are read again [default: the one of the run]")
    ] = None,
) -> None:
    """Show an identity: pictures of each of its tracklets, cut from the footage, in one PNG.

    For example:

        python -m pipeline sheet out 7

    The files or folders of pictures that the run read must still be there; live cameras can not be read again.
    Each source is read from its beginning to the last picture that is wanted.
    """
    set_up_logging(False)
    from pipeline.sheet import contact_sheet

    with reported_errors():
        target = output or folder / f"sheet-{global_id}.png"
        result = contact_sheet(folder, global_id, target, cams=cams, per_tracklet=per_tracklet)
    out.print(str(result.path), highlight=False, markup=False, soft_wrap=True)
    if result.num_missing:
        err.print(f"{result.num_missing} pictures could not be read again", style="yellow", highlight=False)
