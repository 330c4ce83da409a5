"""Stages that record what they see, importable by worker processes; nothing here needs a test framework."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.runtime.chain import Node, Tick

Item = tuple[int, int]  # shard, number


class Add:
    """Adds a constant to the number; remembers the order in which items came."""

    def __init__(self, amount: int) -> None:
        self._amount = amount
        self._last: dict[int, int] = {}

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        for shard, number in items:
            assert number > self._last.get(shard, -1), "items of a shard came out of order"
            self._last[shard] = number
        return [(shard, number + self._amount) for shard, number in items]

    def flush(self) -> list[Item]:
        return []


class Total(Add):
    """Gives the number of items it has seen at its flush."""

    def __init__(self) -> None:
        super().__init__(0)
        self._count = 0

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        self._count += len(items)
        return super().__call__(items)

    def flush(self) -> list[Item]:
        return [(-1, self._count)]


class Broken(Add):
    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        if any(number == 3 for _, number in items):
            raise ValueError("three is too much")
        return list(items)


class Loses(Add):
    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        return list(items)[1:]


def ticks(shard: int, count: int, width: int = 2) -> Iterator[Tick]:
    for index in range(count):
        yield Tick(shard, index, tuple((shard, index * width + k) for k in range(width)))


class Late:
    """A stage that takes a moment to be found missing."""

    def __init__(self) -> None:
        time.sleep(0.05)
        raise FileNotFoundError("no model")


def chain(workers: int = 1) -> list[Node]:
    return [
        Node("add", partial(Add, 100), workers),
        Node("again", partial(Add, 1000), workers),
        Node("total", Total, merges=True),
    ]


class Dies(Add):
    """Kills its process when it sees `number`, as long as the file is not there; or always, without a file."""

    def __init__(self, number: int, once: str = "", amount: int = 0) -> None:
        super().__init__(amount)
        self._number = number
        self._once = once

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        if any(number == self._number for _, number in items):
            kill_once(self._once)
        return super().__call__(items)


class Counts:
    """Adds to each number how many items came before it: a stage that remembers, and can be saved."""

    def __init__(self, die_at: int = -1, once: str = "") -> None:
        self._count = 0
        self._die_at = die_at
        self._once = once

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        out = []
        for shard, number in items:
            if self._count == self._die_at:
                kill_once(self._once)
            out.append((shard, number + 10_000 * self._count))
            self._count += 1
        return out

    def flush(self) -> list[Item]:
        return [(-1, self._count)]

    def state(self) -> int:
        return self._count

    def restore(self, state: int) -> None:
        self._count = state


class CountsPictures:
    """Numbers the pictures that it sees, and takes its time."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, items: Sequence[tuple[int, np.ndarray]]) -> list[tuple[int, int]]:
        out = []
        for number, _ in items:
            time.sleep(0.02)
            out.append((number, self._count))
            self._count += 1
        return out

    def flush(self) -> list[tuple[int, int]]:
        return []

    def state(self) -> int:
        return self._count

    def restore(self, state: int) -> None:
        self._count = state


class CountsBuiltTwice(Counts):
    """Kills its process at work, and the next one while it is built."""

    def __init__(self, die_at: int, first: str, second: str) -> None:
        super().__init__(die_at, first)
        if Path(first).exists():
            kill_once(second)


class Hoards:
    """Keeps a view of the pictures of the last ticks, as a merging node does, and checks that they stay what they were.

    Items are (number, picture); the picture is full of the number.
    """

    def __init__(self, keep: int = 6) -> None:
        self._kept: deque[tuple[int, np.ndarray]] = deque(maxlen=keep)

    def __call__(self, items: Sequence[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
        for number, picture in items:
            self._kept.append((number, picture[10:12, ::2]))
        for number, cut in self._kept:
            assert (cut == number % 251).all(), "memory was used again while it was still looked at"
        return list(items)

    def flush(self) -> list[tuple[int, np.ndarray]]:
        return []


class Logs(Add):
    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        logging.getLogger("toys").warning("saw rtsp://user:secret@host/%d", len(items))
        return list(items)


def pictures(shard: int, count: int, height: int = 300) -> Iterator[Tick]:
    for index in range(count):
        yield Tick(shard, index, ((index, np.full((height, 200, 3), index % 251, np.uint8)),))


def kill_once(path: str) -> None:
    if path:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


class Follows:
    """Remembers: gives for each picture how many came before it in its shard, and what the last one looked like."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, np.ndarray]] = {}

    def __call__(self, items: Sequence[tuple[int, int, np.ndarray]]) -> list[tuple[int, int, np.ndarray]]:
        out = []
        for shard, number, picture in items:
            assert (picture == picture[0, 0, 0]).all(), "garbled"
            count, before = self._last.get(shard, (0, picture))
            out.append((shard, number + 1000 * count + int(before[0, 0, 0]), picture[: 150 + count % 7]))
            self._last[shard] = count + 1, picture[3:5]
        return out

    def flush(self) -> list[tuple[int, int, np.ndarray]]:
        return [(shard, count, picture) for shard, (count, picture) in sorted(self._last.items())]

    def state(self) -> dict[int, tuple[int, np.ndarray]]:
        return self._last

    def restore(self, state: dict[int, tuple[int, np.ndarray]]) -> None:
        self._last = state


class Sums:
    """Gives the sum of each picture, beside it; remembers nothing."""

    def __call__(self, items: Sequence[tuple[int, int, np.ndarray]]) -> list[tuple[int, int, np.ndarray]]:
        return [(shard, number + int(picture.sum(dtype=np.int64)), picture) for shard, number, picture in items]

    def flush(self) -> list[tuple[int, int, np.ndarray]]:
        return []


def films(shard: int, count: int) -> Iterator[Tick]:
    """Ticks of one or two pictures, each full of its number."""
    for index in range(count):
        picture = np.full((200, 200, 3), index % 251, np.uint8)
        yield Tick(shard, index, ((shard, index, picture),) * (1 + (index + shard) % 2))
