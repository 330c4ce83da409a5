"""What does a killed redis-server cost, by how it writes its append-only file?

    python benchmarks/redis_kill.py [--rounds 20]

A sender adds ticks of tracklets as an edge box does. After a random time the server gets kill -9, is started again on
the same files and asked for what it has: confirmed messages that are not there are lost. The sender, which has kept
what was not confirmed, goes on; at the end everything else has to be there once, in order.
"""

from __future__ import annotations

import argparse
import platform
import random
import signal
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.transport.config import RedisConfig
from pipeline.transport.messages import TickMessage, encode_tick
from pipeline.transport.redis_streams import StreamWriter, connect
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Tracks

POLICIES: dict[str, list[str]] = {
    "always": ["--appendonly", "yes", "--appendfsync", "always"],
    "everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "no append-only file": ["--appendonly", "no"],
}
STREAM = "crosscam:site:tracklets:box"


def message(index: int) -> bytes:
    """A tick of four cameras with five people each, and a vector."""
    vector = np.full((1, 256), 1 / 16, np.float32)
    frames = []
    for camid in range(4):
        box = np.tile(np.array([10.5, 20.25, 60.5, 180.75], np.float32), (5, 1))
        tracks = Tracks(np.arange(1, 6), box, np.full(5, 0.9, np.float32))
        clips = Embeddings(np.array([1]), vector, np.array([0.5], np.float32))
        no_end = np.zeros(0, np.int64)
        frames.append(EmbeddedFrame(camid, index, index / 10, tracks, clips, no_end, NO_PREVIEW, 1.0))
    return encode_tick(TickMessage(index, tuple(frames)), ("a", "b", "c", "d"), None, tick_s=0.1)


def start(folder: Path, options: list[str]) -> tuple[subprocess.Popen[bytes], RedisConfig]:
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    config = RedisConfig(url=f"unix://{socket}", spool_messages=1_000_000, close_wait_s=60, retention_s=1e9)
    while True:
        try:
            connect(config).ping()
            return server, config
        except Exception:
            time.sleep(0.01)


def present(client: Any) -> list[int]:
    return [int(entry_id.split(b"-")[0]) // 100 for entry_id, _ in client.xrange(STREAM)]


def measure(folder: Path, options: list[str], rounds: int, rng: random.Random) -> dict[str, float]:
    server, config = start(folder, options)
    writer = StreamWriter(connect(config), STREAM, config)
    index = lost = worst = 0
    sending_s = 0.0
    missing: set[int] = set()
    for _ in range(rounds):
        began, until_s = time.perf_counter(), time.perf_counter() + rng.uniform(0.2, 2.0)
        while time.perf_counter() < until_s:
            writer.send(index * 100, 1, message(index))
            index += 1
        sending_s += time.perf_counter() - began
        confirmed = set(range(index - writer.num_waiting))
        server.send_signal(signal.SIGKILL)
        server.wait()
        server, config = start(folder, options)
        gone = confirmed - missing - set(present(connect(config)))
        missing |= gone
        lost, worst = lost + len(gone), max(worst, len(gone))
    assert writer.close()
    found = present(connect(config))
    assert found == sorted(set(range(index)) - missing), "what was not lost is not there once and in order"
    server.kill()
    server.wait()
    return {"sent": index, "per_s": index / sending_s, "lost": lost, "worst": worst, "repeated": writer.num_repeated}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    python, size = platform.python_version(), len(message(0))
    print(f"{date.today()}, Python {python}, redis-server {said.split()[2]}, {size} bytes a message\n")
    print("| append-only file | kills | messages | messages/s | confirmed and lost | worst kill | sent again |")
    print("|" + " --- |" * 7)
    for name, options in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), options, rounds, random.Random(0))
        print(f"| {name} | {rounds} | {found['sent']:,} | {found['per_s']:,.0f} | {found['lost']:,} | "
              f"{found['worst']:,} | {found['repeated']} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
