"""`python -m pipeline forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import EXIT_FAILED, err, out, reported_errors, set_up_logging


def forget(
    global_id: Annotated[int, typer.Argument(metavar="GID", min=1, help="the identity, as in identities.csv")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of a finished run", show_default=False)],
) -> None:
    """Remove a person from all files of a run: rows, events, vectors, pictures. Prints what is left of them: nothing.

        python -m pipeline forget 17 --output out

    All numbers that the person had go (identities that were merged into this one). Tables and report.html are made
    anew from what remains; identities of others and their numbers stay as they are. Contact sheets and other pictures
    in the folder are removed, whoever they show. What can not be edited is named: mosaic.mp4 shows the person still
    until you delete it, and so do the cameras' own recordings, copies of the folder, and messages in Redis.

    Exit code 0: the scan finds nothing any more. 1: it does.
    """
    set_up_logging(False)
    from pipeline.forget import forget as forget_person

    with reported_errors():
        done = forget_person(output, global_id)
    for trace in done.traces:
        note = f"  ({trace.note})" if trace.note else ""
        name = trace.path.relative_to(output)
        out.print(
            f"{trace.num_before:8} -> {trace.num_after}  {name}{note}", highlight=False, markup=False, soft_wrap=True
        )
    for path, what in done.left:
        err.print(f"{path.relative_to(output)}: {what}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    ids = ", ".join(map(str, done.global_ids))
    verdict = "is gone from all files that were looked into" if done.is_gone else "is NOT gone"
    out.print(f"identity {ids}, {done.num_tracklets} tracklets: {verdict}", highlight=False, soft_wrap=True)
    if not done.is_gone:
        raise typer.Exit(EXIT_FAILED)
