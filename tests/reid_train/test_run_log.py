"""The CSV curves after a crash, and what training shows."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from reid_train.progress import ClipsDisplay, StepReport, TrainingDisplay
from reid_train.run_log import RunLog


def test_rows_behind_the_checkpoint_are_cut_off_and_written_again(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.step(step, 1, {"loss": 1 / step, "lr": 0.1})
        log.scores(4, 1, {"mAP": 50.0})
    whole = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(whole + "5,1,0.2")  # killed while it wrote
    with RunLog(tmp_path, kept_step=2) as log:
        log.step(3, 1, {"loss": 1 / 3, "lr": 0.1})
        log.step(4, 1, {"loss": 1 / 4, "lr": 0.1})
    assert (tmp_path / "log.csv").read_text() == whole
    assert whole.splitlines()[3] == "3,1,0.3333333333333333,0.1"
    assert (tmp_path / "scores.csv").read_text() == "", "the score of step 4 will be computed again"


def test_a_log_of_which_nothing_stays_may_have_other_columns(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.step(1, 1, {"loss": 1.0})
    with RunLog(tmp_path, kept_step=0) as log:
        log.step(1, 1, {"total": 2.0})
    assert (tmp_path / "log.csv").read_text() == "step,epoch,total\n1,1,2.0\n"


def test_a_row_without_a_value_leaves_its_place_empty(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.step(1, 1, {"loss": 1.0, "triplet": 0.5})
        log.step(2, 1, {"loss": 1.0})
    assert (tmp_path / "log.csv").read_text().splitlines()[2] == "2,1,1.0,"


def report(step: int, total: int = 4) -> StepReport:
    return StepReport(step, 1, 1, step, total, 0.5, 1e-3, 20.0)


def test_a_log_file_gets_lines_and_a_terminal_a_bar_that_goes_away() -> None:
    plain, terminal, quiet = (Console(file=io.StringIO(), force_terminal=t, width=100) for t in (False, True, True))
    for console, is_quiet in ((plain, False), (terminal, False), (quiet, True)):
        with TrainingDisplay(console, quiet=is_quiet) as steps, ClipsDisplay(console) as clips:
            for step in (1, 2, 3, 4):
                steps.show(report(step))
            if not is_quiet:
                clips.show(3, 3)
                steps.show(report(1))  # a second run under the same display, as `bench` has them
    assert written(plain) == "epoch 1/1, batch 4/4: loss 0.5, lr 0.001, 20.0 clips/s\n"
    assert "epoch 1/1" in written(terminal)
    assert written(quiet) == ""


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
