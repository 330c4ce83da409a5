"""The command line: `python -m detect_train train | export | evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.stop_on_signal import StopOnSignal
from reid_train.terminal import EXIT_INTERRUPTED, reported_errors, say_stopping, set_up_logging

app = typer.Typer(
    name="detect_train",
    help="Train the person detector on drawn people, export it for the pipeline, and score it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="the recipe, e.g. configs/detect_train/person.yaml")],
    output: Annotated[Path, typer.Option(help="folder of the run")] = Path("out/detect_train"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="overrule one setting; repeatable")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from OUTPUT/last.pt")] = False,
    start_from: Annotated[
        Path | None, typer.Option(help="folder of another run whose network is the beginning of this one")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="processor cores")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train as RECIPE says; Ctrl-C ends with a whole checkpoint, --resume goes on from there."""
    set_up_logging(False)
    with reported_errors(), StopOnSignal(say_stopping) as stop:
        import torch

        from detect_train.config import load_recipe
        from detect_train.train import train as run_training

        torch.set_num_threads(threads)
        loaded = load_recipe(recipe, settings or ())

        def show(row: dict[str, float]) -> None:
            print(", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)

        done = run_training(
            loaded, output, resume=resume, start_from=start_from, device=device, show=show, should_stop=stop.is_set
        )
        print(f"{output}: {done} of {loaded.training.steps} steps")
    if done < loaded.training.steps:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    output: Annotated[Path, typer.Option(help="the ONNX file; its manifest is written beside it")],
    fit: Annotated[
        list[Path] | None,
        typer.Option(help="drawn set on which scores are made to mean what they say; repeatable"),
    ] = None,
    doubt: Annotated[
        float,
        typer.Option(min=0, help="taken off the log-odds of fitted scores: more misleads in real pictures"),
    ] = 0.0,
) -> None:
    """Write the network of a run as ONNX, weights in half precision, and check that both compute the same."""
    set_up_logging(False)
    with reported_errors():
        from detect_train.evaluate import fit_on
        from detect_train.export import run_export

        written = run_export(run, output)
        if fit:
            slope, offset = fit_on(output, fit)
            written = run_export(run, output, score_fit=(slope, offset - doubt))
        print(written.text())


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="an .onnx detector")],
    root: Annotated[Path, typer.Argument(help="a drawn detection set")],
) -> None:
    """AP50, AP75 and recall by height on drawn people."""
    set_up_logging(False)
    with reported_errors():
        from detect_train.evaluate import report

        print(report(model, root))


def main() -> None:
    """`python -m detect_train`."""
    app()
