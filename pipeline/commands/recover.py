"""`python -m pipeline recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import out, reported_errors, set_up_logging


def recover(
    folder: Annotated[Path, typer.Argument(help="output folder of a run that was killed, or its unfinished-N folder")],
) -> None:
    """Make whole tables from the .partial files that a killed run left behind."""
    set_up_logging(False)
    from pipeline.sinks.recovery import recover as recover_files

    with reported_errors():
        for path in recover_files(folder):
            out.print(path, highlight=False)
