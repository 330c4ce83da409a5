"""The command line: what it says, its exit codes, and that Ctrl-C leaves whole files."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import reid_train.checkpoints as checkpoints
from reid_train.cli import app
from reid_train.config import recipe_yaml
from reid_train.models import MODELS
from reid_train.state import Checkpoint, about_network, load_checkpoint, load_model, save_checkpoint
from tests.reid_train.tiny import Tiny, tiny_recipe, write_people

ROOT = Path(__file__).parents[2]
COMMAND = "from tests.reid_train.tiny import register; register(); from reid_train.cli import main; main()"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe file without a root, and `people` beside it."""
    write_people(tmp_path / "people")
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe_yaml(tiny_recipe(tmp_path, data={"root": None})))
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def test_help_teaches() -> None:
    code, text = call("--help")
    assert code == 0
    for command in ("train", "test", "export", "bench", "convert", "count", "settings"):
        assert f" {command} " in text
    _, text = call("train", "--help")
    for part in ("configs/reid_train/small/light.yaml --root", "torchrun", "--resume", "Exit codes", "Ctrl-C"):
        assert part in text


def test_a_run_from_the_command_line(recipe: Path, tmp_path: Path) -> None:
    code, text = call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", "--device", "cpu")
    assert code == 0, text
    assert "2 epochs, 6 steps, loss" in text
    code, text = call(
        "train", "--resume", "--output", tmp_path / "run", "--set", "training.epochs=3", "--device", "cpu"
    )
    assert code == 0, text
    assert "3 epochs, 9 steps" in text
    code, text = call(
        "train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", "-q", "--device", "cpu"
    )
    assert code == 2
    assert "holds a run already; go on with --resume" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a recipe, for example configs/reid_train/small/light.yaml"),
        (["gone.yaml"], "gone.yaml: no such file"),
        (["RECIPE"], "data.root: is missing; say where tracklet_folder lies with --root FOLDER"),
        (["RECIPE", "--root", "ROOT/none"], "none"),
        (["RECIPE", "--set", "optimizer.lr=1"], "optimizer: unknown key, did you mean optimiser?"),
        (["RECIPE", "--root", "ROOT/people", "--device", "cuda:77"], "--device cuda:77"),
        (["RECIPE", "--root", "ROOT/people", "--set", "data.sampler={name: identity, num_ids: 99}"], "too few for one"),
    ],
)
def test_mistakes_are_told_in_one_paragraph(recipe: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    filled = [a.replace("RECIPE", str(recipe)).replace("ROOT", str(tmp_path)) for a in arguments]
    code, text = call("train", *filled, "--output", tmp_path / "run")
    assert code == 2
    assert said in text
    assert not (tmp_path / "run/last.safetensors").exists()


def test_a_broken_loss_has_its_own_exit_code(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nan(self: Tiny, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        return {"broken": outputs["logits"].sum() * math.nan}

    monkeypatch.setattr(Tiny, "loss_terms", nan)
    code, text = call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", "--device", "cpu")
    assert code == 1
    assert "step 1 (epoch 1): the loss is not finite: broken nan" in text
    assert "No checkpoint was written before" in text


def test_settings_name_every_key() -> None:
    _, text = call("settings")
    keys = "model.pretrained data.sampler.num_ids transform.erasing.area_max schedule.gamma training.ema_decay"
    for key in (*keys.split(), "optimiser.lr", "test.rerank.k1", "about"):
        assert f"`{key}`" in text


def test_convert_writes_a_checkpoint_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Tiny(9).state_dict()
    torch.save({f"module.{key}": value for key, value in weights.items()}, tmp_path / "official.pth")
    monkeypatch.setattr(checkpoints, "convert_official", lambda name, state: dict(state))
    monkeypatch.setattr(checkpoints, "count_pids", lambda name, state: len(state["classifier.bias"]))
    code, text = call("convert", "tiny", tmp_path / "official.pth", tmp_path / "made/ours.safetensors")
    assert code == 0, text
    assert "9 people" in text
    model, about = load_model(tmp_path / "made/ours.safetensors")
    assert about["converted_from"] == "official.pth"
    assert torch.equal(model.state_dict()["classifier.bias"], weights["classifier.bias"])
    code, text = call("convert", "tiny", tmp_path / "none.pth", tmp_path / "x.safetensors")
    assert code == 2
    assert "none.pth" in text


def test_a_run_is_scored_and_exported(recipe: Path, tmp_path: Path) -> None:
    sized = ["--set", "transform.input_hw=[32, 16]", "--device", "cpu"]
    call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", *sized)
    code, text = call("test", tmp_path / "run", "--output", tmp_path / "scores", "--device", "cpu")
    assert code == 0, text
    assert "tiny on tracklet_folder: 3 queries, 3 in the gallery, vectors of 8, clips evenly" in text
    assert "Rank-1" in text
    assert "re-ranked" not in text
    assert json.loads((tmp_path / "scores/test.json").read_text())["blocks"]["appearance"]["rank1"] >= 0
    assert "tracklet_folder" in (tmp_path / "scores/report.html").read_text()
    other = ["--set", "test.rerank={k1: 2, k2: 1}", "--set", "data.options.fold=1"]
    code, text = call("test", tmp_path / "run", *other, "--device", "cpu")
    assert code == 0, text
    assert "fold 1 of 2" in text
    assert "re-ranked" in text
    code, text = call("export", tmp_path / "run", "--output", tmp_path / "tiny.onnx")
    assert code == 0, text
    assert "parity over batches" in text
    assert (tmp_path / "tiny.onnx").is_file()


def test_official_weights_are_scored_by_a_recipe_that_is_named(recipe: Path, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, Checkpoint(Tiny(3).state_dict(), about_network("tiny", 3, {})))
    code, text = call("test", weights, "--root", tmp_path / "people", "--device", "cpu")
    assert code == 2
    assert "name one with --recipe" in text
    code, text = call("test", weights, "--recipe", recipe, "--root", tmp_path / "people", "--device", "cpu")
    assert code == 0, text
    assert "3 queries" in text


def test_bench_says_what_to_fetch_or_prints_the_table(recipe: Path, tmp_path: Path) -> None:
    code, text = call("bench", "mars", "--root", tmp_path / "nothing")
    assert code == 2
    assert "bbox_train" in text
    code, text = call("bench", "marz")
    assert code == 2
    assert "did you mean 'mars'" in text


def test_count_tells_the_people_of_a_video(recipe: Path, tmp_path: Path) -> None:
    call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", "--device", "cpu")
    (tmp_path / "video").mkdir()
    for number in range(6):
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / f"video/{number}.png")
    rows = [f"{frame},{person},{10 * person},5,9,20,1,-1,-1,-1\n" for frame in range(1, 7) for person in (1, 2, 3)]
    (tmp_path / "tracks.txt").write_text("".join(rows))
    code, text = call(
        "count", tmp_path / "run", tmp_path / "video", "--tracks", tmp_path / "tracks.txt", "--fps", 2,
        "--truth", tmp_path / "tracks.txt", "--json", tmp_path / "count.json",
    )  # fmt: skip
    assert code == 0, text
    assert "3 people; new per window: [3]" in text
    assert "truly 3: MAE 0.00" in text
    assert json.loads((tmp_path / "count.json").read_text())["video_num"] == 3


def test_count_recognises_by_the_cosine_and_forgets_after_the_windows_that_are_given(
    recipe: Path, tmp_path: Path
) -> None:
    call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "run", "--device", "cpu")
    (tmp_path / "video").mkdir()
    rng = np.random.default_rng(0)
    for number in range(18):  # three windows; three people in the first and, under new numbers, in the last
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(tmp_path / f"video/{number}.png")
    seen = [(frame, person + 3 * (frame > 6)) for frame in (*range(1, 7), *range(13, 19)) for person in (1, 2, 3)]
    rows = [f"{frame},{number},{10 * ((number - 1) % 3)},5,9,20,1,-1,-1,-1\n" for frame, number in seen]
    (tmp_path / "tracks.txt").write_text("".join(rows))
    command = ("count", tmp_path / "run", tmp_path / "video", "--tracks", tmp_path / "tracks.txt", "--fps", 2)
    for options, num_people in (
        (("--min-cosine", -1), 3),
        (("--min-cosine", 1), 6),
        (("--min-cosine", -1, "--ttl-windows", 1), 6),
        (("--min-cosine", -1, "--ttl-windows", 0), 3),
    ):
        code, text = call(*command, *options)
        assert code == 0, text
        assert f"{num_people} people" in text, options


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files_from_which_a_run_goes_on(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "train", str(recipe), "--root", str(tmp_path / "people")]
    options = ["--output", str(tmp_path / "run"), "--device", "cpu"]
    slow = ["--set", "model.options.slow_s=0.2", "--set", "data.workers=1"]
    with subprocess.Popen(
        [*command, *slow, *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as here: another number of threads rounds otherwise
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        log, deadline = tmp_path / "run/log.csv", time.monotonic() + 120
        while not log.exists() or len(log.read_text().splitlines()) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the process that reads images gets it, too
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 130
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert not list((tmp_path / "run").glob("*.partial"))
    stopped = load_checkpoint(tmp_path / "run/last.safetensors").about["step"]
    assert 2 <= stopped < 6
    assert len(log.read_text().splitlines()) == 1 + stopped
    code, text = call("train", "--resume", *options)
    assert code == 0, text
    call("train", recipe, "--root", tmp_path / "people", "--output", tmp_path / "straight", "--device", "cpu")
    assert log.read_text() == (tmp_path / "straight/log.csv").read_text()
