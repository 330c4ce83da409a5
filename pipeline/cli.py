"""The command line: `python run_pipeline.py`, and `python -m pipeline run | evaluate | recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.commands.associate import associate
from pipeline.commands.convert import convert
from pipeline.commands.forget import forget
from pipeline.commands.mode import Mode
from pipeline.commands.report import report
from pipeline.commands.sheet import sheet
from pipeline.commands.simulate import simulate
from pipeline.commands.sites import sites
from pipeline.commands.terminal import EXIT_INTERRUPTED, err, out, reported_errors, say_stopping, set_up_logging
from pipeline.commands.transitions import transitions
from pipeline.commands.verify import verify
from pipeline.commands.why import why
from pipeline.stop_on_signal import StopOnSignal

app = typer.Typer(
    name="crosscam",
    help="Multi-camera person tracking: video of many cameras in, one identity per person out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_RUN_HELP = """Track people through the cameras of CAMS and give each one identity.

The smallest cams.yaml:

    cameras:
      - {id: door, source: door.mp4}
      - {id: hall, source: "rtsp://${USER}:${PASSWORD}@10.0.0.7/stream1"}

Detector and ReID network come with the project. Others are named in pipeline.yaml or by a setting:

    python run_pipeline.py --cams cams.yaml --set detect.model=yolox_nano.onnx --set reid.model=osnet.onnx

Every key of cams.yaml and pipeline.yaml is explained in docs/configuration.md. Ctrl-C ends the run
cleanly: what was read is finished and all files are whole; a second Ctrl-C gives up at once. A run that
was killed goes on with `--resume DIR`, DIR being its output folder; no row is lost or doubled. SIGHUP reads
CAMS again while the run goes: cameras that are new are added, those that are gone removed.

Exit codes: 0 done, 1 a stage or the output failed, 2 bad configuration, 3 no camera could be read,
130 ended by Ctrl-C.
"""


def run_command(
    cams: Annotated[Path | None, typer.Option(help="the cameras: cams.yaml", show_default=False)] = None,
    config: Annotated[
        Path | None, typer.Option(help="how to work on them: pipeline.yaml [default: the one that CAMS names]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="overrule one setting, e.g. track.max_lost_s=3; repeatable"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="folder for the results [default: out]")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="go on with the run in DIR, which was killed: same cameras and settings unless given again; "
            "recordings are read from where it was, live cameras from now",
            show_default=False,
        ),
    ] = None,
    video: Annotated[bool, typer.Option("--video", help="also write mosaic.mp4, all cameras with identities")] = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="stop after this much footage (seconds on the cameras' clock)")
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(help="offline: make the identities anew when all footage is in (fusion.resolve=end)"),
    ] = Mode.ONLINE,
    runtime: Annotated[
        str,
        typer.Option(
            metavar="inline|processes|ray|FILE",
            help="where the work is done: threads of one process, a process per group of cameras, a Ray cluster, or "
            "a file as in configs/runtimes; the results are the same",
        ),
    ] = "inline",
    workers: Annotated[
        int | None, typer.Option(min=1, help="groups of cameras worked on side by side [default: one per core]")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join: auto, or ray://host:10001 [default: one of its own]")
    ] = None,
    live_port: Annotated[
        int | None,
        typer.Option("--live", metavar="PORT", min=0, max=65535, help="serve /health and /metrics on 127.0.0.1:PORT"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress, only warnings and errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="also log what is done and why")] = False,
) -> None:
    set_up_logging(verbose)
    from pipeline.app import run  # the libraries behind it take a moment that `--help` need not
    from pipeline.asked import resumed_options
    from pipeline.console import Display, print_report
    from pipeline.report import RunOptions

    where = runtime, workers, ray_address, live_port
    with reported_errors():
        if resume is not None:
            if output not in (None, resume) or max_seconds is not None:
                raise typer.BadParameter("--output and --max-seconds are those of the run that is gone on with")
            given = mode.settings(settings)
            options = resumed_options(resume, cams=cams, config=config, settings=given, video=video, where=where)
        elif cams is None:
            raise typer.BadParameter("want --cams, the file with the cameras, or --resume")
        else:
            options = RunOptions(
                cams, output or Path("out"), config, mode.settings(settings), video, max_seconds, *where
            )
    stop = StopOnSignal(say_stopping)
    with reported_errors(), stop, Display(out, quiet=quiet) as display:
        result = run(options, display.show, stop.is_set)
    if not quiet:
        print_report(out, result)
    if result.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
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


@app.command()
def recover(
    folder: Annotated[Path, typer.Argument(help="output folder of a run that was killed, or its unfinished-N folder")],
) -> None:
    """Make whole tables from the .partial files that a killed run left behind."""
    set_up_logging(False)
    from pipeline.sinks.recovery import recover as recover_files

    with reported_errors():
        for path in recover_files(folder):
            out.print(path, highlight=False)


@app.command()
def settings() -> None:
    """Print every key of cams.yaml and pipeline.yaml with its default and meaning, as Markdown."""
    from pipeline.reference import settings_reference

    print(settings_reference(), end="")


def main() -> None:
    """`crosscam` and `python -m pipeline`."""
    app()


def main_run() -> None:
    """`python run_pipeline.py`."""
    only = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    only.command(help=_RUN_HELP)(run_command)
    only()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        out.print(f"crosscam {__version__}", highlight=False)
        raise typer.Exit


app.command("run", help=_RUN_HELP)(run_command)
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
