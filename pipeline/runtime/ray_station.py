"""What runs inside an actor of a Ray cluster: one worker of a line of nodes, and how its failures travel."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pipeline.runtime.chain import NodeTime, StageError, Tick
from pipeline.runtime.held import Held
from pipeline.runtime.rings import dump_whole
from pipeline.runtime.worker import Line


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in a stage, on its way through the later actors."""

    node: str
    building: bool
    cause: bytes | None
    text: str
    trace: str


class Snapshot(NamedTuple):
    """The state of an actor's line, and what saving it took of the time that was worked since the last one."""

    state: bytes
    saving_s: float
    worked_s: float


class Station:
    """The actor. What a stage raises is kept and given to whoever asks next, so that it is told once and by name."""

    def __init__(self, nodes: bytes, shards: Sequence[int], prepare: bytes) -> None:
        self._nodes = nodes
        self._shards = tuple(shards)
        self._prepare = prepare
        self._failure: Failure | None = None
        self._line: Line | None = None
        self._worked_s = 0.0

    def build(self, state: bytes | None) -> Failure | bool:
        """Make all stages anew, with what they remembered -> whether their state can be saved."""
        self._line, self._failure = None, None  # the memory of the old ones is free before there are new ones
        try:
            prepare = pickle.loads(self._prepare)
            if prepare is not None:
                prepare()
            line = Line(pickle.loads(self._nodes), self._shards)
            if state is not None:
                line.restore(pickle.loads(state))
        except StageError as error:
            self._failure = failure_of(error)
            return self._failure
        self._line = line
        return line.can_save

    def handle(self, ticks: Sequence[Tick] | Failure) -> list[Tick] | Failure:
        if isinstance(ticks, Failure):
            return ticks
        if self._line is None or self._failure is not None:
            return self._failure or []
        started_s = time.thread_time()
        try:
            return [result for tick in whole(ticks) for result in self._line.handle(tick)]
        except StageError as error:
            self._failure = failure_of(error)
            return self._failure
        finally:
            self._worked_s += time.thread_time() - started_s

    def save(self) -> Snapshot | Failure:
        """The state right after the last tick."""
        if self._line is None or self._failure is not None:
            return self._failure or Failure("", False, None, "there is no stage", "")
        started_s = time.thread_time()
        try:
            state = dump_whole(self._line.state())
        except StageError as error:
            self._failure = failure_of(error)
            return self._failure
        worked_s, self._worked_s = self._worked_s, 0.0
        return Snapshot(state, time.thread_time() - started_s, worked_s)

    def times(self) -> tuple[NodeTime, ...]:
        return self._line.times() if self._line else ()


def whole(ticks: Sequence[Tick]) -> Sequence[Tick]:
    """The ticks with the contents of items that are held in this machine's object store. An item whose content was
    lost with the machine that held it is left out: its tick comes without it."""
    held = [item.where.reference for tick in ticks for item in tick.items if isinstance(item, Held)]
    if not held:
        return ticks
    contents = _contents(list(dict.fromkeys(held)))

    def completed(items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            if not isinstance(item, Held):
                yield item
            elif item.where.reference in contents:
                yield item.whole(contents[item.where.reference][item.where.place])

    return [replace(tick, items=tuple(completed(tick.items))) for tick in ticks]


def _contents(references: Sequence[Any]) -> dict[Any, Any]:
    """What the references stand for, but for those that are lost."""
    import ray

    try:
        return dict(zip(references, ray.get(references), strict=True))
    except ray.exceptions.RayError:
        found = {}
        for reference in references:
            with suppress(ray.exceptions.RayError):
                found[reference] = ray.get(reference)
        return found


def failure_of(error: StageError) -> Failure:
    cause = error.__cause__ or error
    try:
        data = pickle.dumps(cause)
        pickle.loads(data)
    except Exception:  # any class may fail in any way here; the text serves instead
        data = None
    trace = "".join(traceback.format_exception(cause))
    return Failure(error.node, error.building, data, f"{type(cause).__name__}: {cause}", trace)


def error_of(failure: Failure) -> StageError:
    """The failure as if it had happened here."""
    cause: BaseException = pickle.loads(failure.cause) if failure.cause else RuntimeError(failure.text)
    cause.add_note(f"In an actor:\n{failure.trace}")
    error = StageError(failure.node, cause, building=failure.building)
    error.args = (f"stage {failure.node} failed: {failure.text}",)
    error.__cause__ = cause
    return error
