"""Runs the units of a large job on several processes. A unit depends on its number alone, never on who draws it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pipeline.simulate.drawn.renderer import Renderer

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number of units done and of all units."""


def run_units(
    work: Callable[[int], Result], units: Sequence[int], *, processes: int = 1, progress: Progress | None = None
) -> tuple[dict[int, Result], bool]:
    """work(unit) for every unit -> results by unit, and whether it was interrupted.

    `work` must be picklable. After Ctrl-C the units under way are finished, no other is begun, and what there is
    is returned; a second Ctrl-C gives up at once. What a unit raises is raised here, after the units under way.
    """
    if processes <= 1:
        return _run_here(work, units, progress)
    done: dict[int, Result] = {}
    interrupted = False
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, max(1, len(units))), context, _start_worker) as pool:
        waiting = list(reversed(units))
        running: dict[Future[Result], int] = {}
        try:
            while (waiting and not interrupted) or running:
                try:
                    while waiting and not interrupted and len(running) < processes:
                        unit = waiting.pop()
                        running[pool.submit(work, unit)] = unit
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        done[running.pop(future)] = future.result()
                        if progress:
                            progress(len(done), len(units))
                except KeyboardInterrupt:
                    if interrupted:
                        raise
                    interrupted = True
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return dict(sorted(done.items())), interrupted


@cache
def worker_renderer(samples: int) -> Renderer:
    """The renderer of this process; a context and its programs take a second or two to make."""
    from pipeline.simulate.drawn.renderer import Renderer

    return Renderer(samples)


def _run_here(
    work: Callable[[int], Result], units: Sequence[int], progress: Progress | None
) -> tuple[dict[int, Result], bool]:
    done: dict[int, Result] = {}
    try:
        for unit in units:
            done[unit] = work(unit)
            if progress:
                progress(len(done), len(units))
    except KeyboardInterrupt:
        return done, True
    return done, False


def _start_worker() -> None:
    """The parent answers Ctrl-C; one thread per worker, or they stand in each other's way."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("LP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
