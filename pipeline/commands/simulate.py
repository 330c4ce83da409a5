"""`python -m pipeline simulate ...`: worlds whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.simulate_video import add_drawn_commands
from pipeline.commands.terminal import out, reported_errors, set_up_logging

simulate = typer.Typer(
    help="Make worlds whose truth is known: sites of walking people, without pixels or drawn.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@simulate.callback()
def _root() -> None:
    """Keeps every world a subcommand of its own."""


add_drawn_commands(simulate)


@simulate.command("site")
def site_command(
    site: Annotated[
        str,
        typer.Argument(
            metavar="SITE",
            help="a description (site.yaml), or a ready site: corridor:4, station:16, square:4, grid:4x4",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="folder for the files", show_default=False)],
    seconds: Annotated[float, typer.Option(min=0.001, help="how long the cameras watch")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="another seed is other people")] = 0,
    factor: Annotated[
        float | None, typer.Option(min=0, help="scales the noise of the appearance vectors; 1 is a real network's")
    ] = None,
    perfect: Annotated[bool, typer.Option("--perfect", help="detector and tracker do not err")] = False,
) -> None:
    """Let people walk through a site of many cameras; write the truth, detections, tracklets and appearance vectors.

        python -m pipeline simulate site corridor:4 --seconds 600 --output out/corridor
        python -m pipeline simulate site out/corridor/site.yaml --seconds 600 --seed 1 --output out/again

    No pixels are drawn. The site.yaml that is written holds every setting, with its default: edit it for cameras,
    ways between them, arrivals, groups, noise and faults. docs/simulation.md explains them and the files.
    """
    set_up_logging(False)
    from pipeline.simulate.formats import write_site_run
    from pipeline.simulate.graph import Site
    from pipeline.simulate.noise import Noise
    from pipeline.simulate.ready_sites import ready_site
    from pipeline.simulate.run import simulate_site
    from pipeline.sinks.files import naming
    from pipeline.yaml_file import YamlFile, validate

    with reported_errors():
        if Path(site).suffix.lower() in (".yaml", ".yml"):
            file = YamlFile(Path(site))
            plan = validate(Site, file.data, file)
        else:
            plan = ready_site(site)
        if perfect:
            plan = plan.model_copy(update={"noise": Noise.perfect(plan.noise.appearance)})
        if factor is not None:
            plan = plan.with_noise(appearance=plan.noise.appearance.model_copy(update={"factor": factor}))
        run = simulate_site(plan, seconds, seed)
        with naming(output):
            files = write_site_run(run, output)
    in_view_s = run.truth.person_seconds(plan)
    out.print(
        f"{len(plan.cameras)} cameras, {seconds:g} s: {run.num_people} people, {len(run.visits)} visits, "
        f"{in_view_s:,.0f} person-seconds in view, {len(run.tracklets)} tracklets",
        highlight=False,
    )
    out.print(f"{len(files)} files in {output}", highlight=False, soft_wrap=True)
