"""What a runner of processes promises beyond the contract: memory, lost workers, signals, and what it says of them."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from functools import partial
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.chain import FLUSH, Node, StageError, Tick, WorkerLost
from pipeline.runtime.inline import InlineRunner
from pipeline.runtime.processes import ProcessRunner
from tests.runtime.toys import Add, Counts, Dies, Follows, Hoards, Logs, Sums, Total, films, pictures, ticks

Runner = partial(ProcessRunner, start_method="forkserver", ring_mb=16)
TOTAL = Node("total", Total, merges=True)


def run(nodes, sources, **options) -> tuple[list[Tick], ProcessRunner]:
    with Runner(nodes, sources, **options) as runner:
        return list(runner), runner


def same_as_inline(nodes, sources, **options) -> ProcessRunner:
    with InlineRunner(nodes, sources()) as inline:
        expected = list(inline)
    got, runner = run(nodes, sources(), **options)
    assert got == expected
    return runner


@pytest.mark.parametrize("together", [True, False])
def test_pictures_stay_what_they_are_while_anyone_looks_at_them(together: bool) -> None:
    nodes = [Node("one", Hoards, 2), Node("two", Hoards, 2), Node("joined", Hoards, merges=True)]
    kept = []
    with Runner(nodes, [pictures(0, 60), pictures(1, 60)], together=together) as runner:
        for tick in runner:
            kept = [*kept[-8:], *tick.items]
            assert all((picture == number % 251).all() for number, picture in kept)
    assert (kept[0][1] == kept[0][0] % 251).all()  # even after the end


def test_pictures_larger_than_the_ring_go_another_way() -> None:
    nodes = [Node("one", Hoards), Node("joined", Hoards, merges=True)]
    source = [pictures(0, 4, height=3000)]
    out, _ = run(nodes, source, ring_mb=1)
    assert [t.index for t in out] == [0, 1, 2, 3] and (out[3].items[0][1] == 3).all()


def test_shared_memory_is_given_back_at_the_end() -> None:
    with Runner([Node("one", Hoards), Node("two", Hoards, merges=True)], [pictures(0, 20)], together=False) as runner:
        for _ in runner:
            pass
        names = list(runner._ledger._owners)
    assert len(names) >= 2
    for name in names:
        with pytest.raises(FileNotFoundError):
            shared_memory.SharedMemory(name)


@pytest.mark.parametrize("together", [True, False])
def test_a_stateless_worker_that_dies_is_replaced_and_nothing_is_missing(tmp_path: Path, together: bool) -> None:
    nodes = [
        Node("add", partial(Add, 100), 2, stateless=True),
        Node("dies", partial(Dies, 121, str(tmp_path / "died"), 5), 2, stateless=True),
        TOTAL,
    ]
    (tmp_path / "died").touch()

    def expected() -> list[Tick]:
        with InlineRunner(nodes, [ticks(0, 30), ticks(1, 30)]) as inline:
            return list(inline)

    want = expected()
    (tmp_path / "died").unlink()
    got, runner = run(nodes, [ticks(0, 30), ticks(1, 30)], together=together)
    assert got == want
    (restart,) = runner.restarts()
    assert "dies" in restart.worker and "SIGKILL" in restart.reason and 1 <= restart.num_ticks <= 2


@pytest.mark.parametrize("die_at", [0, 3, 17, 33, 59])
def test_a_worker_that_can_be_saved_goes_on_as_if_nothing_had_happened(tmp_path: Path, die_at: int) -> None:
    def chain(once: str) -> list[Node]:
        return [Node("counts", partial(Counts, die_at, once)), Node("merged", partial(Counts, -1), merges=True)]

    (tmp_path / "already").touch()
    with InlineRunner(chain(str(tmp_path / "already")), [ticks(0, 30)]) as inline:
        expected = list(inline)
    got, runner = run(chain(str(tmp_path / "died")), [ticks(0, 30)], checkpoint_ticks=4)
    assert got == expected and got[-1].index == FLUSH
    assert len(runner.restarts()) == 1 and runner.restarts()[0].num_ticks <= 4 + 2


def test_a_merging_worker_that_can_be_saved_keeps_the_ticks_that_it_holds_back(tmp_path: Path) -> None:
    def chain(once: str) -> list[Node]:
        return [Node("add", partial(Add, 1), 2), Node("merged", partial(Counts, 25, once), merges=True)]

    (tmp_path / "already").touch()
    with InlineRunner(chain(str(tmp_path / "already")), [ticks(0, 20), ticks(1, 9)]) as inline:
        expected = list(inline)
    got, runner = run(chain(str(tmp_path / "died")), [ticks(0, 20), ticks(1, 9)], checkpoint_ticks=3)
    assert got == expected and len(runner.restarts()) == 1


def test_a_worker_whose_memory_is_lost_with_it_ends_the_run_with_its_name() -> None:
    with pytest.raises(StageError, match=r"worker dies was ended by SIGKILL.*what it remembered is lost") as caught:
        run([Node("add", partial(Add, 0)), Node("dies", partial(Dies, 3)), TOTAL], [ticks(0, 50)], together=False)
    assert caught.value.node == "dies" and isinstance(caught.value.__cause__, WorkerLost)


def test_a_worker_that_dies_again_and_again_ends_the_run() -> None:
    with pytest.raises(StageError, match=r"worker dies was ended by SIGKILL.*for the 3. time in this run"):
        run([Node("dies", partial(Dies, 3), stateless=True)], [ticks(0, 50)], max_restarts=2)


def test_a_worker_killed_from_outside_at_any_moment_is_replaced() -> None:
    nodes = [Node("slow", partial(Add, 1), stateless=True), TOTAL]
    out = []
    with Runner(nodes, [ticks(0, 200)]) as runner:
        for tick in runner:
            out.append(tick)
            if tick.index in (20, 90):
                os.kill(runner.worker_ids()["slow"], signal.SIGKILL)
    assert [t.index for t in out] == [*range(200), FLUSH] and out[-1].items == ((-1, 400),)
    assert len(runner.restarts()) == 2


@pytest.mark.parametrize("together", [True, False])
def test_workers_killed_at_random_moments_leave_no_trace_in_the_results(together: bool) -> None:
    nodes = [Node("follow", Follows, 2), Node("sum", Sums, 2, stateless=True), Node("join", Follows, merges=True)]

    def seen(ticks) -> list:
        return [(t.index, [(s, n, p.tobytes()) for s, n, p in t.items]) for t in ticks]

    with InlineRunner(nodes, [films(0, 80), films(1, 80)]) as inline:
        expected = seen(inline)
    rng, sources = random.Random(1), [films(0, 80), films(1, 80)]
    with Runner(nodes, sources, together=together, ring_mb=4, checkpoint_ticks=5, max_restarts=99) as runner:
        got, left = [], 0
        for tick in runner:
            got += seen([tick])
            left -= 1
            if left < 0:
                with suppress(ProcessLookupError):  # the one before may just have been buried
                    os.kill(rng.choice(list(runner.worker_ids().values())), signal.SIGKILL)
                left = rng.randrange(25)
    assert got == expected and len(runner.restarts()) >= 3
    for name in (name for link in runner._links for name in link._ring_names):
        with pytest.raises(FileNotFoundError):
            shared_memory.SharedMemory(f"{name}-0")


def test_a_factory_that_can_not_be_sent_is_named_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"node add: its factory can not be sent.*importable"):
        run([Node("add", lambda: Add(1))], [ticks(0, 1)])


def test_what_a_worker_logs_comes_out_in_the_parent(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        run([Node("logs", Logs)], [ticks(0, 1)])
    assert "saw rtsp://user:secret@host/2" in caplog.text  # the parent's handlers mask it, as they do their own


def test_the_trace_of_a_failed_stage_comes_with_the_error() -> None:
    with pytest.raises(StageError) as caught:
        run([Node("adds", partial(Add, 1))], [iter([Tick(0, 0, ((0, 5),)), Tick(0, 1, ((0, 5),))])])
    assert isinstance(caught.value.__cause__, AssertionError)
    assert "toys.py" in caught.value.__cause__.__notes__[0]


def test_workers_leave_signals_to_their_parent_and_end_when_it_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run_it.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from functools import partial
        from pipeline.runtime.chain import Node
        from pipeline.runtime.processes import ProcessRunner
        from tests.runtime.toys import Add, ticks

        if __name__ == "__main__":
            with ProcessRunner([Node("add", partial(Add, 1))], [ticks(0, 10**9)]) as runner:
                print(runner.worker_ids()["add"], flush=True)
                for _ in runner:
                    time.sleep(0.01)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.2)
        os.kill(worker, 0)  # is still there
        parent.kill()
        parent.wait()
        deadline_s = time.monotonic() + 10
        while _runs(worker) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_items_may_be_any_values_with_arrays_in_them() -> None:
    item = {"a": np.arange(40_000.0), "b": [np.zeros((0, 4)), None, "text"]}
    out, _ = run([Node("total", partial(Hold))], [iter([Tick(0, 0, (item,))])])
    np.testing.assert_array_equal(out[0].items[0]["a"], item["a"])
    assert out[0].items[0]["b"][0].shape == (0, 4)


class Hold:
    def __call__(self, items):
        return items

    def flush(self):
        return []
