"""`python -m pipeline sites`: which cameras make up a site, from where people walked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.commands.terminal import err, out, reported_errors, set_up_logging


def sites(
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE", help="output folder of a run, or its transitions.json or transitions.csv"),
    ],
    cams: Annotated[
        Path | None, typer.Option(help="cams.yaml: all cameras, and which of them look at one place")
    ] = None,
    max_cameras: Annotated[
        int, typer.Option(min=0, help="most cameras of a site; 0: cameras between which nobody walks are parted, only")
    ] = 0,
) -> None:
    """Propose `fusion.sites` for pipeline.yaml: cameras that can see the same person belong together.

    After a run of all cameras, or one of a day:

        python -m pipeline sites out --cams cams.yaml --max-cameras 25 > sites.yaml

    prints the part of pipeline.yaml; what it costs is told beside it: how many walks lead over a border, and how many
    cameras two sites have to look at.
    """
    set_up_logging(False)
    from pipeline.site_proposal import as_yaml, propose, read_walks

    with reported_errors():
        walks = read_walks(path, cams)
        proposal = propose(walks, max_cameras)
    table = Table("site", "cameras", "guests", "walks within", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, group, within in proposal.rows:
        table.add_row(name, str(len(group.cameras)), str(len(group.guests)), f"{within:.0f}")
    err.print(table)
    err.print(
        f"{100 * proposal.crossing:.1f} % of {walks.count.sum():.0f} walks lead from one site into another; "
        f"{proposal.num_looks} cameras are looked at where there are {len(walks.cameras)}",
        highlight=False,
    )
    out.print(as_yaml(walks, proposal), highlight=False, markup=False, soft_wrap=True, end="")
