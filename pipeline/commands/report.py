"""`python -m pipeline report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.terminal import out, reported_errors, set_up_logging


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="output folder of a run")],
) -> None:
    """Make report.html anew from the files of a run: one page that opens in any browser, without a network.

    It shows how the cameras did, how many people there were over time, where each identity was, who walked from where
    to where and how long that took, and which identities are least certain. A run writes it at its end, unless
    pipeline.yaml says `output: {report: false}`.
    """
    set_up_logging(False)
    from pipeline.sinks.report.page import write_report

    with reported_errors():
        out.print(str(write_report(folder)), highlight=False, markup=False, soft_wrap=True)
