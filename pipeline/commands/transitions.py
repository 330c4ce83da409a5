"""`python -m pipeline transitions`: travel times between cameras, shown, drawn and estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.commands.terminal import out, reported_errors, set_up_logging

transitions = typer.Typer(
    help="Travel times between cameras: what a run has learned, and what labelled tracks tell.", no_args_is_help=True
)

_Where = Annotated[Path, typer.Argument(metavar="DIR|FILE", help="output folder of a run, or its transitions.json")]


@transitions.command()
def show(path: _Where) -> None:
    """Print how many walked from camera to camera, and how long it took them.

    After a run:

        python -m pipeline transitions show out
    """
    set_up_logging(False)
    from pipeline.travel_times import load_travel_times

    with reported_errors():
        ways = load_travel_times(path)
    table = Table("from", "to", "transits", "10 %", "median", "90 %", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for way in ways:
        times = (f"{seconds:.1f} s" for seconds in way.quantiles_s())
        table.add_row(way.from_camera, way.to_camera, f"{way.count.sum():.1f}", *times)
    out.print(table if ways else "no travel times in it", highlight=False, markup=False)


@transitions.command()
def plot(
    path: _Where,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the picture, .svg or .png [default: transitions.svg beside]")
    ] = None,
) -> None:
    """Draw the travel times of each pair of cameras, as the association has learned them.

    python -m pipeline transitions plot out -o travel.png
    """
    set_up_logging(False)
    from pipeline.travel_times import draw_travel_times, load_travel_times

    with reported_errors():
        folder = path if path.is_dir() else path.parent
        out.print(draw_travel_times(load_travel_times(path), output or folder / "transitions.svg"), highlight=False)


@transitions.command()
def estimate(
    tracks: Annotated[
        Path, typer.Argument(metavar="TRACKS", help="tracks with true identities: CSV with global_id or person_id")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="the file to write")] = Path("transitions.json"),
    fps: Annotated[float | None, typer.Option(min=0.001, help="frames per second of tracks without times")] = None,
    bin_s: Annotated[float, typer.Option(min=0.001, help="width of a bin, seconds")] = 0.5,
    longest_s: Annotated[float, typer.Option(min=1.0, help="longer walks are left out, seconds")] = 3600.0,
    first_id: Annotated[int, typer.Option(min=0, max=1, help="where the ids of people begin; 1: 0 is nobody")] = 1,
    mean_times: Annotated[
        bool,
        typer.Option(
            "--mean-times",
            help="as st-ReID counts them: once per person and pair of cameras, between the mean times there",
        ),
    ] = False,
) -> None:
    """Estimate travel times from tracks whose identities are known, to begin a run with.

        python -m pipeline transitions estimate labelled.csv -o site.json
        python run_pipeline.py --cams cams.yaml --set fusion.transitions=site.json

    A walk lasts from the last sight in one camera to the first one in the next, which is what the association asks
    for; with --mean-times from mean to mean, as published (for `reid_train`).
    """
    set_up_logging(False)
    from pipeline.travel_times import estimate_travel_times

    with reported_errors():
        num_walks, num_pairs = estimate_travel_times(
            tracks,
            output,
            fps=fps,
            bin_s=bin_s,
            longest_s=longest_s,
            mean_times=mean_times,
            first_id=first_id,
        )
    out.print(f"{output}: {num_walks} walks between {num_pairs} pairs of cameras", highlight=False)
