"""The command line: `python run_pipeline.py`, and `python -m pipeline run | evaluate | ...`; a file per command."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline import __version__
from pipeline.commands.associate import associate
from pipeline.commands.convert import convert
from pipeline.commands.evaluate import evaluate
from pipeline.commands.forget import forget
from pipeline.commands.recover import recover
from pipeline.commands.report import report
from pipeline.commands.run import RUN_HELP, run
from pipeline.commands.settings import settings
from pipeline.commands.sheet import sheet
from pipeline.commands.simulate import simulate
from pipeline.commands.sites import sites
from pipeline.commands.terminal import out
from pipeline.commands.transitions import transitions
from pipeline.commands.verify import verify
from pipeline.commands.why import why

app = typer.Typer(
    name="crosscam",
    help="Multi-camera person tracking: video of many cameras in, one identity per person out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """`crosscam` and `python -m pipeline`."""
    app()


def main_run() -> None:
    """`python run_pipeline.py`."""
    only = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    only.command(help=RUN_HELP)(run)
    only()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        out.print(f"crosscam {__version__}", highlight=False)
        raise typer.Exit


app.command("evaluate")(evaluate)
app.command("recover")(recover)
app.command("settings")(settings)
app.command("run", help=RUN_HELP)(run)
app.add_typer(simulate, name="simulate")
app.add_typer(transitions, name="transitions")
app.command("associate")(associate)
app.command("verify")(verify)
app.command("convert")(convert)
app.command("why")(why)
app.command("report")(report)
app.command("sheet")(sheet)
app.command("forget")(forget)
app.command("sites")(sites)
