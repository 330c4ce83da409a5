"""The runner on a real Ray cluster, one of its own on this machine. Skipped where Ray is not installed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.chain import FLUSH, Node, StageError, Tick, WorkerLost
from pipeline.runtime.config import PlacementConfig, RayConfig, RuntimeConfig
from pipeline.runtime.inline import InlineRunner
from pipeline.runtime.ray_actors import options_of
from pipeline.runtime.ray_cluster import RayRunner
from pipeline.runtime.ray_hosts import RayHosts, RayWay
from tests.runtime.toys import Add, Broken, Counts, CountsBuiltTwice, CountsPictures, Dies, Late, Total, pictures, ticks

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = pytest.mark.slow
TOTAL = Node("total", Total, merges=True)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(
        num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False, object_store_memory=200 << 20
    )
    yield
    ray.shutdown()


def run(nodes, sources, **options) -> list[Tick]:
    with RayRunner(nodes, sources, RuntimeConfig(kind="ray", **options)) as runner:
        return list(runner)


def test_a_cluster_gives_what_one_process_gives() -> None:
    nodes = [Node("add", partial(Add, 100), 2), Node("again", partial(Add, 1000), 2), TOTAL]

    def sources():
        return [ticks(0, 12), ticks(1, 12), ticks(2, 5)]

    with InlineRunner(nodes, sources()) as inline:
        expected = list(inline)
    with RayRunner(nodes, sources(), RuntimeConfig(kind="ray")) as runner:
        assert list(runner) == expected and expected[-1].index == FLUSH
        times = runner.times()
    assert [(t.name, t.num_items) for t in times if t.name != "total"] == [
        ("add", 34),
        ("add", 24),
        ("again", 34),
        ("again", 24),
    ]


def test_pictures_arrive_whole() -> None:
    out = run([Node("add", Pass), Node("total", Pass, merges=True)], [pictures(0, 5)])
    assert all((picture == number).all() and not picture.flags.writeable for t in out for number, picture in t.items)


class Pass:
    def __call__(self, items):
        return items

    def flush(self):
        return []


def test_a_stage_that_raises_or_can_not_be_built_is_named() -> None:
    with pytest.raises(StageError, match="stage bad failed: ValueError: three is too much") as caught:
        run([Node("add", partial(Add, 0)), Node("bad", Broken), TOTAL], [ticks(0, 20)])
    assert isinstance(caught.value.__cause__, ValueError) and "toys.py" in caught.value.__cause__.__notes__[0]
    with pytest.raises(StageError, match="stage load failed: FileNotFoundError: no model") as caught:
        run([Node("load", Late)], [ticks(0, 20)])
    assert caught.value.building


def test_an_actor_that_dies_is_replaced_and_nothing_is_lost_or_doubled(tmp_path: Path, caplog) -> None:
    def nodes(*, dies: bool) -> list[Node]:
        at = (7, str(tmp_path / "first"), 25, str(tmp_path / "second")) if dies else (-1, "", -1, "")
        return [Node("cameras", partial(Counts, *at[:2]), 2), Node("fuse", partial(Counts, *at[2:]), merges=True)]

    with InlineRunner(nodes(dies=False), [ticks(0, 20), ticks(1, 9)]) as inline:
        expected = list(inline)
    config = RuntimeConfig(kind="ray", checkpoint_ticks=3)
    with RayRunner(nodes(dies=True), [ticks(0, 20), ticks(1, 9)], config) as runner:
        assert list(runner) == expected
        names = [restart.worker for restart in runner.restarts()]
    assert len(names) == 2 and names[0] in ("cameras-0", "cameras-1") and names[1] == "fuse"
    assert "worker fuse died" in caplog.text and "ticks again" in caplog.text


def test_an_actor_that_dies_again_while_its_stages_are_built_is_replaced_once_more(tmp_path: Path) -> None:
    """As happens where its machine has died and the cluster does not know yet."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    expected = run([Node("fuse", Counts, merges=True)], [ticks(0, 20)])
    nodes = [Node("fuse", partial(CountsBuiltTwice, 7, first, second), merges=True)]
    with RayRunner(nodes, [ticks(0, 20)], RuntimeConfig(kind="ray", checkpoint_ticks=3)) as runner:
        assert list(runner) == expected
        assert [restart.worker for restart in runner.restarts()] == ["fuse", "fuse"]


def test_an_actor_that_dies_too_often_ends_the_run() -> None:
    with pytest.raises(StageError, match=r"worker fuse died for the 3\. time"):
        run([Node("fuse", partial(Counts, 5), merges=True)], [ticks(0, 20)], max_restarts=2)


def test_an_actor_that_dies_and_can_not_be_saved_ends_the_run_with_its_name() -> None:
    with pytest.raises(StageError, match="worker dies died") as caught:
        run([Node("dies", partial(Dies, 3)), TOTAL], [ticks(0, 20)])
    assert isinstance(caught.value.__cause__, WorkerLost)


def test_an_error_of_the_source_ends_the_run_with_it() -> None:
    def source():
        yield Tick(0, 0, ())
        raise OSError("cable cut")

    with pytest.raises(OSError, match="cable cut"):
        run([Node("add", partial(Add, 0)), TOTAL], [source()])


def test_stages_that_share_an_actor_ask_for_the_sum_of_what_they_need() -> None:
    placement = {
        "detect": PlacementConfig(num_cpus=1, num_gpus=0.5, resources={"edge": 1}),
        "embed": PlacementConfig(num_cpus=0.5, num_gpus=0.25, resources={"edge": 1}),
    }
    line = [Node("detect", Total), Node("track", Total), Node("embed", Total)]
    assert options_of(line, placement) == {"num_cpus": 1.5, "num_gpus": 0.75, "resources": {"edge": 1}}


class Pictures:
    """What a host holds here: pictures, each of its number."""

    def some(self, first: int, count: int) -> tuple[str, list[tuple[np.ndarray, ...]]]:
        return "some", [(np.full((90, 160), number, np.uint8),) for number in range(first, first + count)]


@dataclass(frozen=True)
class Kept:
    number: int
    where: object

    def whole(self, content):
        return self.number, content[0]


def kept_ticks(way: RayWay, after_first=lambda: None):
    for first in (0, 5):
        value, references = way.fetch("some", first, 5)
        assert value == "some"
        for number, reference in enumerate(references, first):
            yield Tick(0, number, (Kept(number, reference),))
        after_first()


def test_what_a_host_holds_reaches_the_worker_beside_it_and_not_the_driver() -> None:
    config = RuntimeConfig(kind="ray")
    nodes = [Node("add", Pass), Node("total", Pass, merges=True)]
    with RayHosts(nodes, 1, config, Pictures) as hosts:
        sent = list(kept_ticks(hosts.ways[0]))
        with RayRunner(nodes, [iter(sent)], config, hosts=hosts) as runner:
            out = [tick for tick in runner if tick.index != FLUSH]
            assert runner.waiting() == {"group-0": 0}
    assert [tick.index for tick in out] == list(range(10))
    assert all((picture == number).all() and number == tick.index for tick in out for number, picture in tick.items)


def test_a_lost_host_is_replaced_and_items_of_which_it_held_the_content_are_left_out() -> None:
    config = RuntimeConfig(kind="ray", max_restarts=1)
    nodes = [Node("add", Pass), Node("total", Pass, merges=True)]
    with RayHosts(nodes, 1, config, Pictures) as hosts:
        (way,) = hosts.ways

        def lose() -> None:
            if not way.restarts:
                way.end()
                with pytest.raises(ConnectionError):
                    way.call("some", 0, 0)
                way.renew("the plug was pulled")

        sent = list(kept_ticks(way, lose))
        with RayRunner(nodes, [iter(sent)], config, hosts=hosts) as runner:
            out = [tick for tick in runner if tick.index != FLUSH]
            assert [restart.worker for restart in runner.restarts()] == ["read-0"]
        with pytest.raises(ConnectionError, match=r"read-0 was lost for the 2\. time: again"):
            way.renew("again")
    assert [(tick.index, len(tick.items)) for tick in out] == [
        *((n, 0) for n in range(5)),
        *((n, 1) for n in range(5, 10)),
    ]


@pytest.mark.parametrize("checkpoint_ticks", [8, 20, 100])
def test_what_was_given_out_stays_true_though_a_host_and_its_worker_die_together(checkpoint_ticks: int) -> None:
    """As with their machine. Pictures are lost, so the second time the same ticks lead to something else."""

    def source(way: RayWay):
        for first in range(0, 60, 5):
            if first == 35:
                way.end()
                ray.kill(runner._actors._actors[0, 0])
            try:
                _, references = way.fetch("some", first, 5)
            except ConnectionError as error:
                way.renew(str(error))
                _, references = way.fetch("some", first, 5)
            yield from (Tick(0, n, (Kept(n, reference),)) for n, reference in enumerate(references, first))

    config = RuntimeConfig(kind="ray", checkpoint_ticks=checkpoint_ticks)
    nodes = [Node("count", CountsPictures), Node("fuse", Pass, merges=True, stateless=True)]
    items = []
    with (
        RayHosts(nodes, 1, config, Pictures) as hosts,
        RayRunner(nodes, [source(hosts.ways[0])], config, hosts=hosts) as runner,
    ):
        for tick in runner:
            items += tick.items
        assert {restart.worker for restart in runner.restarts()} >= {"count", "read-0"}
    assert 20 < len(items) <= 60
    assert [count for _, count in items] == list(range(len(items)))
    assert [number for number, _ in items] == sorted({number for number, _ in items})


def test_a_cluster_without_room_is_told_of(monkeypatch) -> None:
    monkeypatch.setattr("pipeline.runtime.ray_hosts._PATIENCE_S", 0.1)
    monkeypatch.setattr("pipeline.runtime.ray_hosts._ROOM_WAIT_S", 0.1)
    config = RuntimeConfig(kind="ray", ray=RayConfig(placement={"add": PlacementConfig(num_cpus=64)}))
    with (
        pytest.raises(ValueError, match=r"no machine of the cluster has \{'CPU': 64"),
        RayHosts([Node("add", Pass)], 1, config, Pictures),
    ):
        pass
