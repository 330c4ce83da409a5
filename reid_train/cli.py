"""The command line: `python -m reid_train train | test | export | bench | convert | count | settings`."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.stop_on_signal import StopOnSignal
from reid_train.terminal import ERR, EXIT_INTERRUPTED, reported_errors, say_stopping, set_up_logging

app = typer.Typer(
    name="reid_train",
    help="Train and score networks that recognise people across cameras (re-identification).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_out = Console()

_TRAIN_HELP = """Train as RECIPE says, one YAML file; those of the published systems stand in configs/reid_train.

\b
A first run, minutes on two cores, on any folder of <person>/c<camera>_<number>.png:
    python -m reid_train train configs/reid_train/small/light.yaml --root /data/people --output out/light
A published system on its data set:
    python -m reid_train train configs/reid_train/psta.yaml --root /data/MARS --output out/psta
The same on four accelerators, which share every batch:
    torchrun --nproc-per-node 4 -m reid_train train configs/reid_train/psta.yaml --root /data/MARS --output out/psta
Faster, where the device has bfloat16:
    ... --set training.precision=bf16 --set training.channels_last=true --set training.compile=true

The folder OUTPUT then holds recipe.yaml, last.safetensors, best.safetensors, log.csv, scores.csv and TensorBoard
files (tensorboard --logdir OUTPUT). Ctrl-C ends the run with a whole checkpoint; --resume goes on from the last one,
also after a crash, and on the CPU to the last digit. `python -m reid_train settings` explains every key.

Exit codes: 0 done, 1 training failed (for example a loss that is not finite), 2 bad configuration or data, 130 ended
by Ctrl-C.
"""

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="overrule one setting, e.g. training.epochs=3; repeatable"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1 [default: the accelerator, if there is one]")]
Root = Annotated[Path | None, typer.Option(help="folder of the data set, data.root of the recipe")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="also log what is done and why")]
Weights = Annotated[
    Path,
    typer.Argument(help="folder of a run (its best checkpoint, else its last) or a .safetensors", show_default=False),
]


@app.command(help=_TRAIN_HELP)
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="the recipe [default with --resume: OUTPUT/recipe.yaml]", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option(help="folder of the run")] = Path("out/reid_train"),
    root: Root = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from OUTPUT/last.safetensors")] = False,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress, only warnings and errors")] = False,
    verbose: Verbose = False,
) -> None:
    set_up_logging(verbose)
    quiet = quiet or os.environ.get("RANK", "0") != "0"  # of the processes of torchrun the first one speaks
    stop = StopOnSignal(say_stopping)
    with reported_errors():
        if recipe is None and not resume:
            raise typer.BadParameter("name a recipe, for example configs/reid_train/small/light.yaml")
        from reid_train.config import load_recipe  # the libraries behind it take a moment that `--help` need not
        from reid_train.progress import TrainingDisplay
        from reid_train.train import train as run_training

        chosen = [*(settings or ()), *([f"data.root={json.dumps(str(root))}"] if root else [])]
        loaded = load_recipe(recipe or output / "recipe.yaml", chosen)
        with stop, TrainingDisplay(_out, quiet=quiet) as display:
            summary = run_training(
                loaded, output, resume=resume, device=device, show=display.show, should_stop=stop.is_set
            )
    if not quiet:
        best = "" if summary.best_score is None else (
            f", best {summary.best_by} {summary.best_score:.1f} % after epoch {summary.best_epoch}"
        )  # fmt: skip
        loss = "" if math.isnan(summary.loss) else f", loss {summary.loss:.4g}"
        _out.print(
            f"{summary.folder}: {summary.epochs_done} epochs, {summary.steps} steps{loss}{best}",
            highlight=False,
            soft_wrap=True,
        )
    if summary.interrupted:
        ERR.print(f"Stopped after step {summary.steps}; go on with --resume.", highlight=False)
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def test(
    weights: Weights,
    root: Root = None,
    recipe: Annotated[
        Path | None, typer.Option(help="protocol of the test [default: the recipe that WEIGHTS was trained by]")
    ] = None,
    settings: Settings = None,
    output: Annotated[Path | None, typer.Option(help="folder for test.json and report.html, with pictures")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="mixed precision; scores may differ in the last digit")] = False,
    device: Device = None,
    verbose: Verbose = False,
) -> None:
    """Score a trained network on its data set, or on another with --set data.name=... --root ...

    \b
    All frames of a tracklet, and re-ranked scores as a second block:
        ... --set test.clips=all_frames --set "test.rerank={k1: 20, k2: 6}"
    """
    set_up_logging(verbose)
    with reported_errors():
        from reid_train.progress import ClipsDisplay
        from reid_train.scores import scores_text
        from reid_train.testing import run_test

        with ClipsDisplay(ERR) as clips:
            scores = run_test(
                weights,
                recipe=recipe,
                root=root,
                settings=settings or (),
                output=output,
                device=device,
                precision="bf16" if bf16 else "fp32",
                show=clips.show,
            )
        _out.print(scores_text(scores), highlight=False, soft_wrap=True, markup=False)


@app.command()
def export(
    weights: Weights,
    output: Annotated[Path | None, typer.Option(help="the ONNX file [default: <network>.onnx beside WEIGHTS]")] = None,
    clip_length: Annotated[
        int | None, typer.Option(min=1, help="frames of a clip [default: those of the test]")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a trained network as ONNX, with the manifest that the pipeline reads, and check that both agree."""
    set_up_logging(verbose)
    with reported_errors():
        from reid_train.export import run_export

        _out.print(run_export(weights, output, clip_length=clip_length).text(), highlight=False, soft_wrap=True)


@app.command()
def bench(
    dataset: Annotated[str, typer.Argument(help="mars, duke_video, ls_vid, market1501, ...", show_default=False)],
    root: Root = None,
    models: Annotated[
        list[str] | None, typer.Option(help="systems to test; repeatable [default: all with published figures]")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="folder of weights, ours or the authors' files; what is missing is trained")
    ] = None,
    output: Annotated[Path, typer.Option(help="folder for scores, reports and what is trained")] = Path("out/bench"),
    settings: Settings = None,
    splits: Annotated[int | None, typer.Option(min=1, help="halvings of iLIDS-VID and PRID2011 [default: 10]")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="also measure clips/s, FLOPs and memory")] = False,
    device: Device = None,
    verbose: Verbose = False,
) -> None:
    """Test the systems on a data set, each under its own protocol, and print them beside the published figures.

    Without the data it says what to fetch and where to put it.
    """
    set_up_logging(verbose)
    with reported_errors():
        from reid_train.bench import run_bench
        from reid_train.progress import ClipsDisplay, TrainingDisplay

        with ClipsDisplay(ERR) as clips, TrainingDisplay(ERR) as steps:
            result = run_bench(
                dataset,
                root,
                models=models,
                checkpoints=checkpoints,
                output=output,
                settings=settings or (),
                splits=splits,
                device=device,
                speed=speed,
                say=lambda text: _out.print(text, highlight=False, soft_wrap=True, markup=False),
                show=clips.show,
                show_training=steps.show,
            )
        print(result.text())


@app.command()
def convert(
    name: Annotated[str, typer.Argument(help="staformer, psta, ste_nvan, nvan, ste_nvan_baseline or st_reid")],
    official: Annotated[Path, typer.Argument(help="the published file (.pth, .pth.tar)")],
    output: Annotated[Path, typer.Argument(help="the checkpoint to write, .safetensors")],
) -> None:
    """Turn a published checkpoint into one of ours. The file is read without running code that may be inside."""
    set_up_logging(False)
    with reported_errors():
        from reid_train.checkpoints import convert_official, count_pids, read_official
        from reid_train.state import Checkpoint, about_network, save_checkpoint

        weights = convert_official(name, read_official(official))
        num_pids = count_pids(name, weights)
        about = about_network(name, num_pids, {}) | {"converted_from": official.name}
        output.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(output, Checkpoint(weights, about))
    _out.print(f"{output}: {name}, {len(weights)} tensors, {num_pids} people", highlight=False)


@app.command()
def count(
    weights: Weights,
    video: Annotated[Path, typer.Argument(help="video file or folder of images", show_default=False)],
    tracks: Annotated[Path, typer.Option(help="tracks of the video: MOTChallenge text or CSV", show_default=False)],
    fps: Annotated[float | None, typer.Option(min=0.001, help="frames a second [default: what the video says]")] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="somebody is recognised from this similarity on [default: 0.4]"),
    ] = None,
    ttl_windows: Annotated[
        int | None, typer.Option(min=0, help="windows after which a person is forgotten, 0 for never [default: 5]")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="true tracks, to tell the error of the count")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the count to this file")] = None,
    device: Device = None,
) -> None:
    """Count the individuals of a video, per 3 seconds and in all, by recognising those who were there before.

    The right --min-cosine depends on the network: too low and several people count as one, too high and one counts
    again and again. Find it on a video whose people you have counted (--truth), and keep it.
    """
    set_up_logging(False)
    with reported_errors():
        import torch

        from reid_train.counting.config import CountConfig
        from reid_train.counting.count import true_count
        from reid_train.counting.scores import score_counts
        from reid_train.counting.video import count_video, read_tracks
        from reid_train.state import load_model

        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model, _ = load_model(weights)
        chosen: dict[str, object] = {} if min_cosine is None else {"min_cosine": min_cosine}
        if ttl_windows is not None:
            chosen["ttl_windows"] = ttl_windows or None
        config = CountConfig.model_validate(chosen)
        counted = count_video(model, video, tracks, fps=fps, config=config, device=where)
        _out.print(
            f"{counted.video_num} people; new per window: {list(counted.cnt_list)}", highlight=False, soft_wrap=True
        )
        document = counted.as_dict()
        if truth:
            true = true_count(read_tracks(truth, truth=True), num_frames=counted.frame_num, fps=counted.fps)
            score = score_counts([true], [counted])
            _out.print(f"truly {true.video_num}: MAE {score.mae:.2f}, RMSE {score.rmse:.2f}, WRAE {score.wrae:.1%}")
            document["truth"] = true.video_num
        if json_file:
            json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@app.command()
def settings() -> None:
    """Print every key of a recipe with its default and meaning, as Markdown."""
    from reid_train.reference import recipe_reference

    print(recipe_reference(), end="")


def main() -> None:
    """`python -m reid_train`."""
    app()
