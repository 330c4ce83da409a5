"""What cameras that come and go mean for those who read, track, fuse and count; and what is refused."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.app import run
from pipeline.cameras import load_cameras
from pipeline.config import load_pipeline
from pipeline.factories import TrackFactory
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.plans import ChangeError
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.live.changes import RefusedError
from pipeline.report import Progress, RunOptions
from pipeline.roster import Listener, Roster
from pipeline.runtime.build import build_runner
from pipeline.runtime.chain import Node, NodeTime, Notice, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.sinks.mosaic import Mosaic
from pipeline.site import Region, Site
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.types import Event, FusedFrame
from pipeline.watch import Watch
from tests.fusion.scenes import DIM, clip, frame, look, walk
from tests.ingest.clips import make_clip
from tests.test_stages import detected
from tests.transport.frames import fused

SECRET = "S3cr3tZ"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in "abc":
        make_clip(folder / f"{name}.mp4", 20, 10)
    return folder


def test_a_change_after_the_last_picture_comes_too_late(clips: Path) -> None:
    specs = [CameraSpec(camid, name, str(clips / f"{name}.mp4")) for camid, name in enumerate("ab")]
    for max_seconds in (None, 0.5):
        with TickReader(specs[:1], IngestConfig(), max_seconds=max_seconds) as reader:
            assert [f.camid for tick in reader for f in tick.frames]
            with pytest.raises(ChangeError, match="too late"):
                reader.change(specs[1:], ())
            assert [status.name for status in reader.status()] == ["a"]


def site(version: int, *epochs: int, overlaps: frozenset[tuple[int, int]] = frozenset()) -> Site:
    num = len(epochs)
    return Site(version, tuple(map(str, range(num))), (Region(),) * num, (None,) * num, overlaps, epochs)


def test_a_recording_that_is_added_begins_behind_the_ticks_so_far_and_costs_the_others_nothing(clips: Path) -> None:
    specs = [CameraSpec(camid, name, str(clips / f"{name}.mp4")) for camid, name in enumerate("abc")]
    told = []
    with TickReader(specs[:2], IngestConfig(buffer_frames=1)) as reader:
        for tick in reader:
            told.append((tick.index, [(f.camid, f.frame_idx) for f in tick.frames], reader.notice))
            if tick.index == 5:
                reader.change([specs[2]], {1}, "changed")
                assert reader.waiting().keys() == {0, 2}
        status = reader.status()
    assert [index for _, frames, _ in told for camid, index in frames if camid == 0] == list(range(20))
    assert [index for _, frames, _ in told for camid, index in frames if camid == 1] == list(range(6))
    assert [(at, index) for at, frames, _ in told for camid, index in frames if camid == 2] == [
        (6 + i, i) for i in range(20)
    ]
    assert [notice for _, _, notice in told] == [None] * 6 + ["changed"] * 20
    assert [(one.state, one.num_frames) for one in status] == [("ended", 20), ("removed", 6), ("ended", 20)]


def test_what_can_not_be_read_beside_the_others_is_refused_and_changes_nothing(clips: Path) -> None:
    specs = [CameraSpec(camid, name, str(clips / f"{name}.mp4")) for camid, name in enumerate("ab")]
    reader = TickReader(specs)
    with pytest.raises(ChangeError, match="too early"):
        reader.change([], {1})
    with reader:
        ticks = iter(reader)
        next(ticks)
        with pytest.raises(ChangeError, match="camera d: it is live, but"):
            reader.change([CameraSpec(2, "d", "rtsp://127.0.0.1:1/x")], {0})
        with pytest.raises(ChangeError, match="camera b: there was a camera of that id"):
            reader.change([specs[1]], {1})
        assert [f.camid for tick in ticks for f in tick.frames] == [0, 1] * 19


def test_a_camera_that_goes_ends_its_tracks_and_one_that_comes_back_numbers_them_on() -> None:
    stage = TrackFactory(TrackConfig(max_lost_s=5), ClipConfig(), 4, (64, 32), (None,) * 2, 0)()
    for index in range(6):
        stage([detected(index, 10), detected(index, 10, 150, camid=1)])
    farewell = stage.follow(site(1, 0, 1))
    assert [(f.camid, len(f.tracks), f.ended.tolist()) for f in farewell] == [(1, 0, [1, 2])]
    assert stage.follow(site(1, 0, 1)) == []  # it rides with every tick
    (still,) = stage([detected(6, 10)])
    assert still.tracks.track_id.tolist() == [1]
    assert [f.ended.tolist() for f in stage.follow(site(2, 0, 2, 0))] == [[]]
    for index in range(7, 12):
        _, back, new = stage([detected(index, 10), detected(index, 10, camid=1), detected(index, 20, camid=2)])
    assert back.tracks.track_id.tolist() == [3] and new.tracks.track_id.tolist() == [1]
    again = TrackFactory(TrackConfig(max_lost_s=5), ClipConfig(), 4, (64, 32), (None,) * 2, 0)()
    again.restore(stage.state())  # a worker that replaces a lost one, and is told with the next tick
    assert again.follow(site(2, 0, 2, 0)) == []
    assert [f.tracks.track_id.tolist() for f in again([detected(12, 10, camid=1)])] == [[3]]


def test_a_fuser_that_has_got_cameras_decides_as_one_that_had_them_from_the_start() -> None:
    rng = np.random.default_rng(3)
    people = look(rng, 6)
    ground = GroundCamera.from_homography(np.diag([0.01, 0.01, 1.0]))
    cameras, overlaps = [None, None, ground, ground], frozenset({(1, 2), (2, 3)})
    given = GivenTravel(1, 2, 4.0, 8.0, 20.0)
    ways = random.Random(5)
    items = []
    for number in range(16):  # first in cameras 0 and 1, later in all
        at_s, person = 6.0 * number, people[number % 6]
        for leg in range(3):
            camid = ways.randrange(2 if number < 8 else 4)
            times_s = [round(at_s + 10 * leg + 0.5 * i, 3) for i in range(5)]
            items += walk(camid, 3 * number + leg + 1, times_s, person, rng, left=10.0 * (number % 7))
    moments = sorted({item.time_s for item in items})
    first_s = min(item.time_s for item in items if item.camid > 1)

    def play(few: bool) -> list[object]:
        config, num = FusionConfig(), 2 if few else 4
        memory = TravelMemory(config, tuple("abcd"[:num]), () if few else (given,))
        fuser = build_fuser(config, cameras[:num], frozenset() if few else overlaps, DIM, memory)
        out = []
        for time_s in moments:
            if few and time_s == first_s:
                fuser.follow(cameras, overlaps, (given,))
                memory.follow(tuple("abcd"))
            out += fuser.step([item for item in items if item.time_s == time_s])
        out += fuser.flush()
        return [(f.camid, f.frame_idx, f.global_tracks.global_id.tolist(), rounded(repr(f.events))) for f in out]

    def rounded(text: str) -> str:  # sums of longer arrays differ in the last digit
        return re.sub(r"\d+\.\d{7,}", lambda found: f"{float(found[0]):.6f}", text)

    assert play(few=True) == play(few=False)


@pytest.mark.parametrize("kind", ["inline"])  # real processes: tests/live/test_cameras.py
def test_a_notice_reaches_every_stage_before_the_items_of_its_tick(kind: str) -> None:
    def ticks(shard: int):
        for index in range(6):
            yield Tick(shard, index, (10 * shard + index, *([Notice(index)] if index >= 3 else [])))

    nodes = [Node("one", Teller, 2), Node("all", Teller, merges=True)]
    with build_runner(RuntimeConfig(kind=kind), nodes, [ticks(0), ticks(1)]) as runner:
        out = [(tick.index, tick.items) for tick in runner]
        waiting = runner.waiting()
    plain = [(0, (0, 10)), (1, (1, 11)), (2, (2, 12))]
    # each of two workers says once that it was told, then the one behind them does
    told = [(3, ("told", "told", 3, "told", 13, Notice(3)))]
    assert out == plain + told + [(i, (i, 10 + i, Notice(i))) for i in (4, 5)]
    assert set(waiting) == {"one-0", "one-1", "all"} and set(waiting.values()) == {0}


class Teller:
    """A stage that says when it is told something for the first time."""

    def __init__(self) -> None:
        self.told = False

    def __call__(self, items: Sequence[object]) -> Sequence[object]:
        return items

    def follow(self, content: object) -> Sequence[object]:
        first, self.told = not self.told, True
        return ["told"] if first else []

    def state(self) -> bool:
        return self.told

    def restore(self, state: bool) -> None:
        self.told = state

    def flush(self) -> Sequence[object]:
        return []


def test_the_mosaic_gives_tiles_to_who_is_there_and_keeps_its_size() -> None:
    def shown(camid: int) -> FusedFrame:
        one = fused(0.0)
        return FusedFrame(
            camid, 0, 0.0, one.tracks, one.ground_xy, one.global_tracks, (), np.full((90, 160, 3), 200, np.uint8), 1.0
        )

    mosaic = Mosaic(("a", "b"), max_size=(640, 480), stale_s=1.0)
    before = mosaic.draw([shown(0), shown(1)], 0.0).copy()
    bright = (before == 200).sum()
    mosaic.follow(("a", "b", "c"), (0, 2))  # b is gone, c new
    after = mosaic.draw([shown(0), shown(1), shown(2)], 0.1)  # a picture of b that was under way is not drawn
    assert after.shape == before.shape and abs(int((after == 200).sum()) - int(bright)) < 100  # but for letters
    mosaic.follow(("a", "b", "c"), (0,))
    assert mosaic.draw([shown(0)], 0.2).shape == before.shape
    mosaic.follow(("a", "b", "c", "d", "e"), (0, 1, 2, 3, 4))
    assert mosaic.draw([shown(4)], 0.3).shape == before.shape


class Reader(TickReader):
    """Nothing is read: what is to be changed is noted."""

    def __init__(self, specs: Sequence[CameraSpec]) -> None:
        super().__init__(specs)
        self.changes: list[tuple[list[int], list[int]]] = []

    def change(self, add: Sequence[CameraSpec], remove: Sequence[int], notice: object = None) -> None:
        assert isinstance(notice, Site)
        self.changes.append((sorted(spec.camid for spec in add), sorted(remove)))
        self.told = notice


def roster_of(folder: Path, *names: str) -> tuple[Roster, Reader, Path]:
    write(folder, *names)
    cameras, _ = load_cameras(folder / "cams.yaml")
    reader = Reader([CameraSpec(camid, camera.name, camera.source) for camid, camera in enumerate(cameras)])
    roster = Roster(cameras, folder / "cams.yaml", reader, load_pipeline(None, ["detect.model=a.onnx"]), folder)
    roster.tell(Listener(lambda names, shown: None, lambda cameras, roster: None, lambda *event: None))
    return roster, reader, folder / "cams.yaml"


def write(folder: Path, *names: str, **changes: dict[str, object]) -> None:
    entries = [{"id": name, "source": f"rtsp://u:{SECRET}@10.0.0.7/{name}", **changes.get(name, {})} for name in names]
    (folder / "cams.yaml").write_text(yaml.safe_dump({"cameras": entries}))


def test_a_file_that_is_read_again_changes_what_differs_and_nothing_else(tmp_path: Path) -> None:
    roster, reader, _ = roster_of(tmp_path, "a", "b", "c")
    assert roster.reload() == "the cameras are as they were" and reader.changes == []
    write(tmp_path, "c", "d", "a")  # the order in the file does not matter
    assert roster.reload() == "added: d; removed: b"
    assert reader.changes == [([3], [1])] and reader.told.epochs == (0, 1, 0, 0)
    write(tmp_path, "a", "b", "c", "d", c={"crop": [0, 0, 10, 10]}, d={"overlaps": ["a"]})
    assert roster.reload() == "added: b; begun anew: c; with other regions: d"
    assert reader.changes[1:] == [([1, 2], [2])] and reader.told.epochs == (0, 2, 2, 0)
    assert reader.told.overlaps == {(0, 3)} and reader.told.names == ("a", "b", "c", "d")
    assert (roster.num_changes, roster.num_refused) == (2, 0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("cameras: [", "cams.yaml"),
        ("cameras: []", "cameras"),
        (f"cameras: [{{id: a, source: 'rtsp://u:{SECRET}@h/', crop: 'rtsp://u:{SECRET}@h/'}}]", "crop"),
        (f"cameras: [{{id: a, source: 'rtsp://u:{SECRET}@h/'}}, {{id: a, source: b.mp4}}]", "taken"),
        ("cameras: [{id: a, source: 'rtsp://${CROSSCAM_NOT_SET}@h/'}]", "CROSSCAM_NOT_SET"),
        ("cameras: [{id: a, source: 'box:west'}]", "box"),
    ],
)
def test_a_bad_file_is_told_and_counted_and_the_run_goes_on_as_before(
    tmp_path: Path, text: str, match: str, caplog: pytest.LogCaptureFixture
) -> None:
    roster, reader, path = roster_of(tmp_path, "a", "b")
    path.write_text(text)
    with pytest.raises(RefusedError, match=match) as told:
        roster.reload()
    path.unlink()
    with pytest.raises(RefusedError):
        roster.reload()
    assert reader.changes == [] and roster.num_refused == 2
    assert SECRET not in caplog.text + str(told.value) and match in caplog.text
    assert roster.add({"id": "c", "source": "rtsp://h/c", "overlaps": ["a"]}) == "added: c"


def test_an_entry_that_does_not_fit_is_refused_with_the_reason_and_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roster, reader, _ = roster_of(tmp_path, "a", "b")
    url = f"rtsp://u:{SECRET}@10.0.0.7/x"
    for entry, match in (
        ({}, "id"),
        ({"id": "a", "source": url}, "taken"),
        ({"id": "c", "source": url, "overlaps": ["nobody"]}, "nobody"),
        ({"id": "c", "source": url, url: 1}, "unknown"),
        ({"id": url, "source": [url]}, "source"),
        ({"id": "c", "source": url, "fps": url}, "fps"),
        ({"id": "c\n", "source": url}, "id"),
        ({"id": "c", "source": "box:west"}, "box"),
    ):
        with pytest.raises(RefusedError, match=match) as told:
            roster.add(entry)
        assert SECRET not in str(told.value)
    assert SECRET not in caplog.text and reader.changes == [] and roster.num_refused == 8
    with pytest.raises(RefusedError, match="a run needs a camera"):
        roster.remove("a")
        roster.remove("b")
    assert reader.changes == [([], [0])]


def test_a_run_of_recordings_takes_on_another_and_its_tables_are_whole(clips: Path, tmp_path: Path, caplog) -> None:
    lines = [f"x,{i},{5 + i},8,12,30,0.9" for i in range(20)]
    long = make_clip(tmp_path / "long.mp4", 600, 10)
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(
            "camera,frame,left,top,width,height,score\n" + "\n".join(lines).replace("x,", f"{name},")
        )
    entries = [{"id": "a", "source": str(long)}, {"id": "b", "source": str(clips / "b.mp4")}]
    config = {
        "ingest": {"policy": "drop_oldest"},
        "detect": {"model": str(tmp_path / "{camera}.csv")},
        "reid": {"model": "colour"},
        "output": {"report": False},
    }
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(config))
    cams = tmp_path / "cams.yaml"
    cams.write_text(yaml.safe_dump({"pipeline": "pipeline.yaml", "cameras": entries[:1]}))
    before = signal.getsignal(signal.SIGHUP)

    states: list[str] = []

    def show(progress: Progress) -> None:
        states[:] = [camera.state for camera in progress.cameras]
        if progress.cameras[0].num_frames > 2 and len(progress.cameras) == 1:
            cams.write_text(yaml.safe_dump({"pipeline": "pipeline.yaml", "cameras": entries}))
            os.kill(os.getpid(), signal.SIGHUP)

    with caplog.at_level(logging.WARNING):
        report = run(RunOptions(cams, tmp_path / "out"), show, lambda: "ended" in states)
    assert "added: b" in caplog.text
    assert [(one.name, one.state) for one in report.cameras] == [("a", "stopped"), ("b", "ended")]
    assert report.num_tracklets[1] >= 1 and signal.getsignal(signal.SIGHUP) == before


def test_figures_are_exact(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    now = [100.0]
    monkeypatch.setattr("pipeline.watch.time.perf_counter", lambda: now[0])

    class Runner:
        def times(self) -> tuple[NodeTime, ...]:
            return (NodeTime("fuse", 2.0, 1.0, 40, (("gallery", 7),)),)

        def restarts(self) -> tuple[object, ...]:
            return (1, 2)

        def waiting(self) -> dict[str, int]:
            return {"fuse": 3}

    with TickReader([CameraSpec(0, "a", str(clips / "a.mp4"))], IngestConfig(buffer_frames=4)) as reader:
        watch = Watch(reader, None, lambda progress: None, 90.0)
        for at_s, kinds in ((100.0, ["create", "create", "merge"]), (130.0, ["merge", "split"]), (175.0, ["create"])):
            now[0] = at_s
            watch.see([fused(0.0, *(Event(kind, 0.0, 2, other_id=1) for kind in kinds))])
        figures = watch.figures(Runner())
    assert figures.merges_per_minute == 1 and figures.num_merges == 2 and figures.num_identities == 2
    assert figures.num_splits == 1 and figures.num_ticks == 3 and figures.wall_s == 85.0 and figures.idle_s == 0.0
    assert figures.nodes[0].sizes == (("gallery", 7),) and figures.waiting == {"fuse": 3} and figures.num_restarts == 2


def test_the_gallery_s_size_is_that_of_the_gallery() -> None:
    rng = np.random.default_rng(0)
    people = look(rng, 3)
    fuser = build_fuser(FusionConfig(), [None], frozenset(), DIM)
    for number, person in enumerate(people, 1):
        for index in range(6):
            at_s = 20.0 * number + 0.5 * index
            fuser.step(
                [
                    frame(
                        0,
                        round(10 * at_s),
                        at_s,
                        boxes={number: (0, 100, 30, 200)},
                        clips=[(number, clip(rng, person, 0.2))],
                    )
                ]
            )
        fuser.step([frame(0, round(10 * at_s) + 5, at_s + 0.5, ended=[number])])
    fuser.flush()
    sizes = fuser.sizes()
    assert sizes["identities"] == 3 and sizes["gallery"] == len(fuser._state.gallery.exemplars([1, 2, 3])[0]) >= 3
