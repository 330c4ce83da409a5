"""Edge boxes and a central fuser, with a real Redis server between: the same identities as from one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.app import build_nodes
from pipeline.config import load_cameras, load_pipeline
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.runtime.chain import FLUSH, Tick
from pipeline.runtime.inline import InlineRunner
from pipeline.simulate.tiny import write_tiny_site
from pipeline.transport.redis_streams import TickSource, connect
from pipeline.transport.sinks import TrackletSink
from tests.transport.test_redis_streams import Server

pytest.importorskip("redis", reason="needs the extra [redis]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="needs redis-server (Debian: apt install redis-server)"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


def read(cameras, camids, tick_s=0.1):
    specs = [CameraSpec(camid, cameras[camid].name, cameras[camid].source) for camid in camids]
    with TickReader(specs, IngestConfig(tick_s=tick_s)) as reader:
        for tick in reader:
            yield Tick(0, tick.index, tick.frames)


def shown(ticks) -> list:
    """All that a run says of identities."""
    out = []
    for tick in ticks:
        for frame in tick.items:
            rows = zip(frame.global_tracks.track_id.tolist(), frame.global_tracks.global_id.tolist(), strict=True)
            out.append((tick.index, frame.camid, frame.time_s, tuple(rows), repr(frame.events)))
    return out


def test_two_edge_boxes_and_a_central_fuser_find_what_one_process_finds(server: Server, tmp_path: Path) -> None:
    write_tiny_site(tmp_path, seconds=6.0)
    cameras, pipeline = load_cameras(tmp_path / "cams.yaml")
    config = load_pipeline(pipeline)
    nodes = build_nodes(cameras, config, tmp_path, 0)
    names = [camera.name for camera in cameras]
    with InlineRunner(nodes, [read(cameras, range(len(cameras)))]) as runner:
        expected = shown(runner)
    assert any("link" in events or "create" in events for *_, events in expected)

    redis = server.config()
    edges = {"west": range(len(cameras) // 2), "east": range(len(cameras) // 2, len(cameras))}
    dim = 0
    for edge, camids in edges.items():
        with (
            InlineRunner(nodes[:3], [read(cameras, camids)]) as runner,
            TrackletSink(connect(redis), edge, redis, names, tick_s=0.1, clock_zero_s=None) as sink,
        ):
            for tick in runner:
                dim = tick.items[0].embeddings.vector.shape[1]
                if tick.index == FLUSH:
                    sink.flush(tick.items)
                else:
                    sink.write(tick.index, tick.items)

    sources = [TickSource(connect(redis), edge, redis, names, dim=dim, stopped=lambda: False) for edge in edges]

    def ticks(shard: int, source: TickSource):
        for message in source:
            yield Tick(shard, FLUSH if message.kind == "flush" else message.index, message.frames)

    with InlineRunner(nodes[3:], [ticks(shard, source) for shard, source in enumerate(sources)]) as runner:
        found = shown(runner)
    assert found == expected
    assert all(not source.refused.total() for source in sources)
