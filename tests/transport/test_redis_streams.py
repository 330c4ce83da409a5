"""Against a real Redis server: order, once and only once, takeover, trimming, and a server that is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.transport.config import RedisConfig
from pipeline.transport.messages import Clock, TickMessage, decode_event, encode_tick
from pipeline.transport.redis_streams import StreamWriter, TickSource, TransportError, connect
from pipeline.transport.sinks import EventSink, TrackletSink
from pipeline.types import Event
from tests.transport.frames import DIM, NAMES, embedded, fused, same
from tests.transport.test_messages import BAD

pytest.importorskip("redis", reason="needs the extra [redis]")
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="needs redis-server (Debian: apt install redis-server)"
)


class Server:
    """A Redis server on a socket in a folder of its own, with its append-only file."""

    def __init__(self, folder: Path, *options: str, fsync: str = "always") -> None:
        self.folder = folder
        self.options = (*options, "--appendfsync", fsync)
        self.password = options[options.index("--requirepass") + 1] if "--requirepass" in options else ""
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", *self.options]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            try:
                if connect(self.config()).ping():
                    return
            except Exception:
                time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def config(self, **changes) -> RedisConfig:
        user = f":{self.password}@" if self.password else ""
        return RedisConfig(url=f"unix://{user}{self.socket}", **changes)


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(running: Server) -> Server:
    if running.process is None:
        running.start()
    connect(running.config()).flushall()
    return running


def source(server: Server, stopped: Callable[[], bool] = lambda: False, **options) -> TickSource:
    config = options.pop("config", server.config())
    camids = {name: camid for camid, name in enumerate(NAMES)}
    return TickSource(connect(config), "box", config, camids, dim=DIM, stopped=stopped, **options)


def _after(num: int) -> Callable[[], bool]:
    """True from the `num`th time on that it is asked."""
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > num

    return stopped


def tick_of(index: int) -> bytes:
    return encode_tick(TickMessage(index, (embedded(0, index, index / 10),)), NAMES, None)


def send(server: Server, indices, end: bool = True, **changes) -> StreamWriter:
    config = server.config(**changes)
    writer = StreamWriter(connect(config), config.tracklet_stream("box"), config)
    for index in indices:
        writer.send(index * 100, 1, tick_of(index))
        last = index
    if end:
        writer.send(last * 100, 2, encode_tick(TickMessage(last + 1, (), "end"), NAMES, None))
    writer.close()
    return writer


def test_ticks_arrive_whole_and_in_order(server: Server) -> None:
    config = server.config()
    with TrackletSink(connect(config), "box", config, NAMES, tick_s=0.1, clock_zero_s=1.7e9) as sink:
        for i in range(150):
            sink.write(i, [embedded(0, i, i / 10), embedded(1, i, i / 10 + 0.02)])
        sink.flush([])
    *got, last = source(server)
    assert [t.index for t in got] == list(range(150)) and last.kind == "flush"
    for i, tick in enumerate(got):
        sent = [embedded(0, i, i / 10), embedded(1, i, i / 10 + 0.02)]
        assert all(same(a, b) for a, b in zip(tick.frames, sent, strict=True))
    assert sink.writer.num_sent == 152 and sink.writer.num_dropped == 0


def test_tracks_of_a_live_box_that_was_started_anew_have_other_ids(server: Server) -> None:
    config = server.config()
    for first in (1000, 1030):
        with TrackletSink(connect(config), "box", config, NAMES, tick_s=0.1, clock_zero_s=1.7e9, live=True) as sink:
            for i in range(first, first + 20):
                sink.write(i, [embedded(0, i, i / 10)])
    ticks = list(source(server, follow=True, stopped=_after(4)))
    ids = [set(tick.frames[0].tracks.track_id.tolist()) for tick in ticks]
    assert len(ticks) == 40 and ids[0] == ids[19] and ids[20] == ids[39] and not ids[0] & ids[20]
    assert min(ids[20]) - min(ids[0]) == min(ticks[20].frames[0].ended) - min(ticks[0].frames[0].ended) == 30 * 16


def test_what_is_sent_again_is_there_once(server: Server) -> None:
    assert send(server, range(20), end=False).num_sent == 20
    again = send(server, range(10, 30))
    assert (again.num_sent, again.num_repeated) == (11, 10)
    assert [t.index for t in source(server)] == list(range(30))


def test_what_was_not_acknowledged_comes_again_and_nothing_else(server: Server) -> None:
    send(server, range(100), end=False)
    first = source(server)
    for tick in first:
        if tick.index == 40:
            break
    first.ack(30)
    second = source(server)
    got = []
    send(server, range(100, 103))
    for tick in second:
        got.append(tick.index)
        second.ack(tick.index)
    assert got == list(range(31, 103))
    assert connect(server.config()).xpending("crosscam:site:tracklets:box", "fuser")["pending"] == 1  # the end


def test_another_reader_takes_over_what_a_lost_one_held(server: Server) -> None:
    send(server, range(30))
    lost = iter(source(server, consumer="lost"))
    assert next(lost).index == 0
    config = server.config(takeover_s=0)
    assert [t.index for t in source(server, consumer="standby", config=config)] == list(range(30))


def test_a_reader_waits_for_what_comes_and_ends_when_it_is_asked_to(server: Server) -> None:
    send(server, range(3), end=False)
    assert [t.index for t in source(server, _after(2))] == [0, 1, 2]


def test_streams_are_trimmed_by_event_time(server: Server) -> None:
    connect(server.config()).config_set("appendfsync", "no")
    send(server, range(1000), retention_s=20)
    connect(server.config()).config_set("appendfsync", "always")
    stream = connect(server.config()).xrange("crosscam:site:tracklets:box", count=1)
    oldest_s = int(stream[0][0].split(b"-")[0]) / 1000
    assert 60 <= oldest_s <= 80  # trimmed in whole nodes of the stream


def test_nonsense_in_the_stream_is_counted_and_passed_over(server: Server) -> None:
    client = connect(server.config())
    good = tick_of(4)
    name = "crosscam:site:tracklets:box"
    client.xadd(name, {"m": b"\x00\xff"}, id="1-0")
    client.xadd(name, {"m": b"x" * 2_000_000}, id="1-1")
    client.xadd(name, {"other": b"field"}, id="1-2")
    client.xadd(name, {"m": good.replace(b'"1"', b'"99"', 1)}, id="1-3")
    client.xadd(name, {"m": good}, id="1-4")
    client.xadd(name, {"m": good}, id="1-5")  # a tick that was there already
    client.xadd(name, {"m": encode_tick(TickMessage(5, (), "end"), NAMES, None)}, id="1-6")
    reader = source(server)
    assert [t.index for t in reader] == [4]
    assert reader.refused == {"not_json": 1, "too_large": 1, "bad_field": 2, "wrong_version": 1}


def test_a_flood_of_nonsense_is_refused_message_by_message_and_the_good_ones_come_through(server: Server) -> None:
    stream, client = "crosscam:site:tracklets:box", connect(server.config())
    pipe = client.pipeline(transaction=False)
    messages = [tick_of(5) if i % 10 == 9 else data for i, (data, _) in enumerate(list(BAD.values()) * 3)]
    good = [tick_of(10 * i) for i in range(5)]
    for place, message in enumerate(good):
        for number, nonsense in enumerate(messages if place == 2 else messages[:7]):
            pipe.xadd(stream, {"m": nonsense}, id=f"{place}-{number + 1}")
        pipe.xadd(stream, {"m": message}, id=f"{place}-{10_000}")
    pipe.xadd(stream, {"m": encode_tick(TickMessage(99, (), "end"), NAMES, None)}, id="9-1")
    pipe.execute()
    reader = source(server, config=server.config(max_message_bytes=4 << 20), clock=Clock(0.1, 1.7e9))
    assert [tick.index for tick in reader] == [0, 10, 20, 30, 40]
    assert sum(reader.refused.values()) == len(messages) + 4 * 7
    assert set(reader.refused) == {reason for _, reason in BAD.values()}


def test_a_key_of_another_kind_is_an_error_that_names_the_stream(server: Server) -> None:
    connect(server.config()).set("crosscam:site:tracklets:box", "text")
    with pytest.raises(TransportError, match="crosscam:site:tracklets:box"):
        list(source(server))
    with pytest.raises(TransportError, match="crosscam:site:tracklets:box"):
        send(server, range(3))


def test_a_killed_server_costs_nothing_with_its_file_always_written(server: Server) -> None:
    config = server.config(close_wait_s=10)
    writer = StreamWriter(connect(config), config.tracklet_stream("box"), config)
    for index in range(60):
        if index in (20, 41):
            server.kill()
        if index in (30, 50):
            server.start()
        writer.send(index * 100, 1, tick_of(index))
    writer.send(60 * 100, 1, encode_tick(TickMessage(60, (), "end"), NAMES, None))
    assert writer.close()
    got = []
    reader = source(server)
    for tick in reader:
        if tick.index == 25:
            server.kill()
            server.start()
        got.append(tick.index)
        reader.ack(tick.index)
    assert got == list(range(60))


def test_what_does_not_fit_the_spool_is_dropped_and_counted(server: Server) -> None:
    server.kill()
    writer = send(server, range(30), spool_messages=10, close_wait_s=0)
    assert writer.num_dropped == 21 and writer.num_waiting == 10


def test_events_are_sent_in_order_with_ids_by_their_tick(server: Server) -> None:
    config = server.config()
    with EventSink(StreamWriter(connect(config), config.event_stream, config), NAMES, clock_zero_s=1000.0) as sink:
        sink.write([])
        sink.write(
            [fused(0.5, Event("create", 0.5, 1, camid=0, track_id=1), Event("create", 0.5, 2, camid=1, track_id=1))]
        )
        sink.write([fused(0.5, Event("merge", 0.4, 1, other_id=2)), fused(0.2)])
    entries = connect(config).xrange(config.event_stream)
    assert [entry_id for entry_id, _ in entries] == [b"1000500-1", b"1000500-2", b"1000500-3"]
    camids = {name: camid for camid, name in enumerate(NAMES)}
    assert [decode_event(fields[b"m"], camids).kind for _, fields in entries] == ["create", "create", "merge"]


def test_a_password_is_never_shown() -> None:
    config = RedisConfig(url="redis://edge:s3cret@10.0.0.9:6379/0")
    assert "s3cret" not in repr(config)
    with pytest.raises(ValueError) as caught:
        connect(RedisConfig(url="http://edge:s3cret@10.0.0.9"))
    assert "s3cret" not in str(caught.value) and caught.value.__suppress_context__
