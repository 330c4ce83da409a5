"""`python -m pipeline associate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.mode import Mode
from pipeline.commands.terminal import follow, set_up_logging


def associate(
    tracklets: Annotated[
        Path,
        typer.Option(
            help="tracks per camera: a folder of MOTChallenge <camera>.txt, a CSV like global_tracks.csv, AI City text",
            show_default=False,
        ),
    ],
    embeddings: Annotated[
        Path | None,
        typer.Option(help="appearance vectors, .npz with camera, track_id, vector [and frame or time_s, quality]"),
    ] = None,
    cams: Annotated[
        Path | None, typer.Option(help="cams.yaml: overlaps, calibration, frame rates; its sources are not opened")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="pipeline.yaml, of which `fusion` counts [default: the one that CAMS names]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="overrule one setting; repeatable")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="offline: make the identities anew when all tracks are in (fusion.resolve=end)")
    ] = Mode.ONLINE,
    output: Annotated[Path, typer.Option(help="folder for the results")] = Path("out"),
    kind: Annotated[
        str | None, typer.Option("--format", help="crosscam, mot or aicity [default: found by looking]")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="frames per second of tracks without times")] = None,
    first_id: Annotated[int, typer.Option(min=0, max=1, help="where track ids begin; in results at 1")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress, only warnings and errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="also log what is done and why")] = False,
) -> None:
    """Give another tracker's tracks one identity per person over all cameras.

    Reads each camera's tracks (and, where you have them, an appearance vector or more per track), and writes what a
    run writes: global_tracks.csv, events.jsonl and the rest. Ids in different cameras mean nothing to each other.

        python -m pipeline associate --tracklets tracks/ --embeddings vectors.npz --fps 25 --output out

    docs/associate.md describes the files.
    """
    set_up_logging(verbose)
    from pipeline.associate import AssociateOptions
    from pipeline.associate import associate as work
    from pipeline.interchange.readers import READERS

    if kind is not None and kind not in READERS:
        raise typer.BadParameter(f"{kind!r}: want one of {', '.join(READERS)}", param_hint="--format")
    options = AssociateOptions(
        tracklets,
        output,
        embeddings,
        cams,
        config,
        settings=mode.settings(settings),
        kind=kind,
        fps=fps,
        first_id=first_id,
    )
    follow(lambda show, stop: work(options, show, stop), quiet=quiet)
