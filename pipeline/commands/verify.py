"""`python -m pipeline verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from pipeline.commands.terminal import EXIT_FAILED, out, reported_errors, set_up_logging, write_json

if TYPE_CHECKING:
    from pipeline.verify import Verdict


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="folder of a run, or tracks: CSV like global_tracks.csv, MOTChallenge text, AI City text",
        ),
    ],
    cams: Annotated[
        Path | None, typer.Option(help="cams.yaml: which cameras overlap, least travel times, frame rates")
    ] = None,
    no_overlaps: Annotated[bool, typer.Option("--no-overlaps", help="no two cameras look at one place")] = False,
    kind: Annotated[
        str | None, typer.Option("--format", help="crosscam, mot, aicity or aicity2025 [default: found by looking]")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="frames per second of tracks without times")] = None,
    clock_error_s: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="how much the cameras' clocks may differ, seconds [default: what the run was told: "
            "fusion.simultaneous_s, and fusion.handover_s where a tracker hangs on; else 0]",
        ),
    ] = None,
    max_speed_m_s: Annotated[float, typer.Option(min=0.1, help="nobody moves faster, metres per second")] = 10.0,
    ground_slack_m: Annotated[float, typer.Option(min=0.0, help="error of a place on the floor, metres")] = 3.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the result to this file; - prints it in place of the text")
    ] = None,
) -> None:
    """Check identities for what can not be: one person in two places, an id used twice, a change without its event.

    Works on the folder of a run and on the tracks of any other system:

        python -m pipeline verify out
        python -m pipeline verify their_tracks/ --fps 25 --cams cams.yaml

    Exit code 0: everything that could be checked holds. 1: something does not; the first offending rows are named.
    """
    set_up_logging(False)
    from pipeline.interchange.readers import READERS
    from pipeline.verify import Limits, SiteFacts, site_facts, tolerances
    from pipeline.verify import verify as check

    if kind is not None and kind not in READERS:
        raise typer.BadParameter(f"{kind!r}: want one of {', '.join(READERS)}", param_hint="--format")
    with reported_errors():
        folder = path if path.is_dir() else path.parent
        facts = site_facts(cams, folder)
        if no_overlaps and not cams:
            facts = SiteFacts(overlaps=frozenset(), min_travel_s=facts.min_travel_s, fps=facts.fps)
        clock_s, handover_s = tolerances(folder) if clock_error_s is None else (clock_error_s, 0.0)
        limits = Limits(clock_s, handover_s, max_speed_m_s, ground_slack_m)
        verdict = check(path, facts, limits, kind=kind, fps=fps)
        if json_file:
            write_json(json_file, verdict.to_dict())
    if json_file != Path("-"):
        _show(verdict)
    if not verdict.holds:
        raise typer.Exit(EXIT_FAILED)


def _show(verdict: Verdict) -> None:
    out.print(
        f"{verdict.path}: {verdict.num_rows} rows, {verdict.num_identities} identities, {verdict.num_cameras} cameras",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for check in verdict.checks:
        state, style = ("skipped", "dim") if check.skipped else ("holds", "green") if check.holds else ("BROKEN", "red")
        times = "" if check.holds else f"{check.num_broken} times in "
        said = check.skipped or f"{times}{check.num_checked} {check.unit}"
        out.print(Text.assemble("  ", (f"{state:8}", style), f"{check.name:20}", said), soft_wrap=True)
        for example in check.examples:
            out.print(Text(f"{'':10}{example}"), soft_wrap=True)
        if check.num_broken > len(check.examples):
            out.print(Text(f"{'':10}and {check.num_broken - len(check.examples)} more"), soft_wrap=True)
