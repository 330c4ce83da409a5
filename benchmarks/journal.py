"""How many entries a second the journal takes by what it forces to the disk, beside Redis Streams by the same question.

    python benchmarks/journal.py [--folder DIR] [--seconds 2]

Entries have 4 KB, about a tick of one busy camera with two vectors. Redis needs redis-server and redis-py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.journal.config import JournalConfig
from pipeline.journal.journal import Journal
from pipeline.transport.config import RedisConfig
from pipeline.transport.redis_streams import StreamWriter, connect

ENTRY = os.urandom(4096)


def rate(step: Callable[[int], object], seconds: float) -> float:
    """Steps a second."""
    started, count = time.perf_counter(), 0
    while (spent_s := time.perf_counter() - started) < seconds:
        step(count)
        count += 1
    return count / spent_s


def journal(folder: Path, fsync: str, seconds: float) -> tuple[float, float]:
    """Appends a second, and entries a second when it is read again."""
    path = folder / fsync
    with Journal(path, JournalConfig.model_validate({"fsync": fsync})) as log:
        appended = rate(lambda i: log.append(ENTRY, i / 10), seconds)
    started = time.perf_counter()
    with Journal(path) as log:
        count = sum(1 for _ in log.replay())
    return appended, count / (time.perf_counter() - started)


def redis(folder: Path, fsync: str, seconds: float) -> float:
    """Messages a second, one at a time as a sink sends them."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen(["redis-server", *options, "--appendfsync", fsync], stdout=subprocess.DEVNULL)
    try:
        config = RedisConfig(url=f"unix://{socket}")
        writer = StreamWriter(connect(config), "stream", config)
        while not socket.exists():
            time.sleep(0.02)
        found = rate(lambda i: writer.send(1 + i, 1, ENTRY), seconds)
        assert writer.close() and not writer.num_dropped
        return found
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write [default: the folder for temporary files]")
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}\n\n| what | entries/s | read again, entries/s |\n| --- | --- | --- |")
    for fsync in ("always", "interval", "never"):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            appended, read = journal(Path(folder), fsync, args.seconds)
            print(f"| journal, fsync {fsync} | {appended:,.0f} | {read:,.0f} |", flush=True)
    if shutil.which("redis-server"):
        for fsync in ("always", "everysec"):
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                print(f"| Redis, appendfsync {fsync} | {redis(Path(folder), fsync, args.seconds):,.0f} | |", flush=True)


if __name__ == "__main__":
    main()
