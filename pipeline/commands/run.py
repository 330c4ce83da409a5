"""`python run_pipeline.py`, and `python -m pipeline run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.mode import Mode
from pipeline.commands.terminal import follow, reported_errors, set_up_logging

RUN_HELP = """Track people through the cameras of CAMS and give each one identity.

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


def run(
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
    from pipeline.asked import resumed_options  # the libraries behind it take a moment that `--help` need not
    from pipeline.report import RunOptions

    where = runtime, workers, ray_address, live_port
    given = mode.settings(settings)
    with reported_errors():
        if resume is not None:
            if output not in (None, resume) or max_seconds is not None:
                raise typer.BadParameter("--output and --max-seconds are those of the run that is gone on with")
            options = resumed_options(resume, cams=cams, config=config, settings=given, video=video, where=where)
        elif cams is None:
            raise typer.BadParameter("want --cams, the file with the cameras, or --resume")
        else:
            options = RunOptions(cams, output or Path("out"), config, given, video, max_seconds, *where)
    from pipeline.app import run as work

    follow(lambda show, stop: work(options, show, stop), quiet=quiet)
