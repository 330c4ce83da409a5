"""`python -m pipeline simulate video | detections | reid`: people drawn in places, with exact truth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.terminal import EXIT_INTERRUPTED, err, out, reported_errors, set_up_logging

if TYPE_CHECKING:
    from pipeline.simulate.drawn.jobs import Progress

Output = Annotated[Path, typer.Option(help="folder for the files; new or empty", show_default=False)]
Seed = Annotated[int, typer.Option(min=0, help="another seed is other people in other places")]
Processes = Annotated[int, typer.Option(min=1, max=256, help="how many draw at once; the files stay the same")]
Samples = Annotated[int, typer.Option(min=1, max=4, help="drawn samples per pixel and axis: 1 is fast and jagged")]


class Hour(StrEnum):
    any = "any"
    sunny = "sunny"
    cloudy = "cloudy"
    dusk = "dusk"


_DEFAULT_PROCESSES = os.cpu_count() or 1


def video(
    output: Output,
    cameras: Annotated[int, typer.Option(min=1, max=40, help="cameras in all")] = 4,
    overlapping: Annotated[int, typer.Option(min=1, max=5, help="how many of them look at the first place")] = 2,
    people: Annotated[int, typer.Option(min=0, max=200, help="people who walk between the places")] = 12,
    seconds: Annotated[float, typer.Option(min=0.001, help="length of the clips")] = 45.0,
    fps: Annotated[int, typer.Option(min=1, max=120, help="frames per second")] = 10,
    width: Annotated[int, typer.Option(min=64, max=3840, help="pixels, even")] = 640,
    height: Annotated[int, typer.Option(min=64, max=2160, help="pixels, even")] = 360,
    places: Annotated[str, typer.Option(help="kinds of place, in turn")] = "square,corridor,shop,platform",
    hour: Annotated[Hour, typer.Option(help="light outdoors; at dusk detectors find fewer people")] = Hour.any,
    between: Annotated[
        tuple[float, float],
        typer.Option(metavar="LEAST MOST", help="seconds out of sight between two places; more empties the places"),
    ] = (2.5, 7.0),
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264's constant rate factor: more is smaller")] = 24,
    seed: Seed = 0,
    samples: Samples = 2,
    processes: Processes = _DEFAULT_PROCESSES,
) -> None:
    """Film people who walk between places: a clip per camera, the truth, and cams.yaml.

        python -m pipeline simulate video --output out/town
        python run_pipeline.py --cams out/town/cams.yaml --output out/run
        python -m pipeline evaluate --gt out/town/cams.yaml --pred out/run

    The first cameras overlap on one place and are calibrated; each of the others has a place of its own.
    The same options give the same bytes. docs/simulation-people.md tells more.
    """
    set_up_logging(False)
    with reported_errors():
        from pipeline.simulate.drawn.video import VideoSettings, write_video_site

        settings = VideoSettings(
            cameras=cameras, overlapping=overlapping, people=people, seconds=seconds, fps=fps, width_px=width,
            height_px=height, places=tuple(places.replace(" ", "").split(",")), hour=hour.value, crf=crf, seed=seed,
            samples=samples, between_s=between,
        )  # fmt: skip
        with _progress("places") as show:
            interrupted = write_video_site(output, settings, processes=processes, progress=show)
    out.print(f"{cameras} cameras, {settings.num_frames} frames each: {output / 'cams.yaml'}", highlight=False)
    _end(interrupted)


def detections(
    output: Output,
    frames: Annotated[int, typer.Option(min=1, help="pictures in all")] = 2000,
    frames_per_scene: Annotated[int, typer.Option(min=1, help="pictures of one place before the next")] = 20,
    most_people: Annotated[int, typer.Option(min=0, max=200, help="people in a place, at most")] = 22,
    places: Annotated[
        str, typer.Option(help="kinds of place in turn, e.g. office,shop; none: all but offices by lot")
    ] = "",
    seed: Seed = 0,
    samples: Samples = 2,
    processes: Processes = _DEFAULT_PROCESSES,
) -> None:
    """Draw pictures with boxes for training and testing person detectors: images/*.jpg and annotations.json (COCO).

    python -m pipeline simulate detections --frames 2000 --output data/drawn_det
    """
    set_up_logging(False)
    with reported_errors():
        from pipeline.simulate.drawn.detection_set import DetectionSetSettings, write_detection_set

        settings = DetectionSetSettings(
            frames=frames, frames_per_scene=frames_per_scene, most_people=most_people, seed=seed, samples=samples,
            places=tuple(kind for kind in places.replace(" ", "").split(",") if kind),
        )  # fmt: skip
        with _progress("scenes") as show:
            path, interrupted = write_detection_set(output, settings, processes=processes, progress=show)
    out.print(f"COCO instances: {path}", highlight=False, soft_wrap=True)
    _end(interrupted)


def reid(
    output: Output,
    identities: Annotated[int, typer.Option(min=0, max=9999, help="people to train on")] = 250,
    test_identities: Annotated[int, typer.Option(min=0, max=9999, help="people to test on")] = 50,
    cameras: Annotated[int, typer.Option(min=1, max=6, help="cameras that see each person")] = 4,
    tracklets: Annotated[int, typer.Option(min=1, max=99, help="of a person in a camera")] = 2,
    crops: Annotated[int, typer.Option(min=1, max=999, help="of a tracklet, 0.25 s apart")] = 8,
    people_per_group: Annotated[int, typer.Option(min=1, help="people who share the places of their cameras")] = 25,
    seed: Seed = 0,
    samples: Samples = 2,
    processes: Processes = _DEFAULT_PROCESSES,
) -> None:
    """Draw tracklets of people over cameras for training and testing ReID networks, laid out and named as MARS is.

        python -m pipeline simulate reid --identities 1000 --output data/drawn_mars

    docs/simulation-people.md shows how to train on it: for `reid_train` it is MARS with other counts.
    Ended early, by Ctrl-C or a fault? The same command goes on where it stopped.
    """
    set_up_logging(False)
    with reported_errors():
        from pipeline.simulate.drawn.reid_set import ReidSetSettings, write_reid_set

        settings = ReidSetSettings(
            identities=identities, test_identities=test_identities, cameras=cameras, tracklets=tracklets, crops=crops,
            people_per_group=people_per_group, seed=seed, samples=samples,
        )  # fmt: skip
        with _progress("groups") as show:
            images, interrupted = write_reid_set(output, settings, processes=processes, progress=show)
    out.print(f"{images:,} crops in {output}", highlight=False, soft_wrap=True)
    _end(interrupted)


def add_drawn_commands(app: typer.Typer) -> None:
    """Make them subcommands of `simulate`."""
    app.command("video")(video)
    app.command("detections")(detections)
    app.command("reid")(reid)


@contextmanager
def _progress(units: str) -> Iterator[Progress]:
    """A bar on a terminal, with the time that is left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(f"drawing {units}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(units, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _end(interrupted: bool) -> None:
    if interrupted:
        err.print("Interrupted: what was finished is whole, the rest is missing.", highlight=False)
        raise typer.Exit(EXIT_INTERRUPTED)
