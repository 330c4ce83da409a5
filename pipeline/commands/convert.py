"""`python -m pipeline convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.commands.terminal import out, reported_errors, set_up_logging

_KINDS = "crosscam, mot, aicity (2023 and 2024) or aicity2025"


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="folder or file of tracks")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="folder for crosscam and mot, file for aicity and aicity2025")
    ],
    to: Annotated[str, typer.Option("--to", help=_KINDS, show_default=False)],
    from_: Annotated[str | None, typer.Option("--from", help=f"{_KINDS} [default: found by looking]")] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="frames per second of tracks without times")] = None,
    ids: Annotated[
        Literal["global", "track"],
        typer.Option(help="which ids MOTChallenge and AI City get: one per person, or one per tracklet of its camera"),
    ] = "global",
) -> None:
    """Write tracks in another format: MOTChallenge, AI City 2023/24 and 2025, and the project's own CSV.

    For example:

        python -m pipeline convert out track1.txt --to aicity
        python -m pipeline convert their_tracks/ ours --to crosscam --fps 25

    What a format can not hold is refused or told: AI City 2025 wants calibrated cameras, the own CSV wants times.
    """
    set_up_logging(False)
    from pipeline.interchange.readers import READERS, frame_rates, kind_of, read_tracks
    from pipeline.interchange.rows import timed
    from pipeline.interchange.writers import WRITERS

    for option, kind in (("--from", from_), ("--to", to)):
        if kind is not None and kind not in READERS:
            raise typer.BadParameter(f"{kind!r}: want one of {', '.join(READERS)}", param_hint=option)
    with reported_errors():
        rows = read_tracks(source, from_ or kind_of(source))
        rates = {**(dict.fromkeys(rows.cameras, fps) if fps else {}), **frame_rates(source)}
        rows = timed(rows, rates)
        if ids == "track":
            rows = rows.with_columns(global_id=rows.track_id)
        for path in WRITERS[to](rows, target):
            out.print(str(path), highlight=False, markup=False, soft_wrap=True)
