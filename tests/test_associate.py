"""Association behind another tracker's files gives what a run gives that had the same tracklets and vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.associate import AssociateOptions, associate
from pipeline.evaluation.text import TableError
from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.interchange.readers import read_tracks
from pipeline.interchange.writers import WRITERS
from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Float32, Tracks
from pipeline.verify import Limits, SiteFacts, verify
from pipeline.yaml_file import ConfigError
from tests.sinks.frames import rows_of

FPS = 10.0
CAMERAS = ("door", "hall")
# (camid, track, first frame, last frame, person); people walk from the door to the hall
TRACKLETS = (
    (0, 1, 0, 30, 0), (0, 2, 10, 45, 1), (1, 1, 50, 90, 0), (1, 2, 62, 100, 1), (0, 3, 70, 95, 2), (1, 3, 112, 130, 2),
)  # fmt: skip


def vector_of(person: int, frame: int) -> Float32:
    rng = np.random.default_rng(frame)
    vector = np.eye(16, dtype=np.float32)[person] + rng.normal(0, 0.03, 16).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def is_clip(frame: int, first: int) -> bool:
    return (frame - first) % 10 == 8


def frames() -> Iterator[list[EmbeddedFrame]]:
    """The tracklets as the stages before give them, tick by tick."""
    for frame in range(140):
        items = []
        for camid in range(len(CAMERAS)):
            own = [t for t in TRACKLETS if t[0] == camid and t[2] <= frame <= t[3]]
            ended = [t[1] for t in TRACKLETS if t[0] == camid and t[3] == frame - 1]
            clips = [t for t in own if is_clip(frame, t[2])]
            if not own and not ended:
                continue
            ids = np.array([t[1] for t in own], np.int64)
            xyxy = [[100.0 * t[1] + 3 * (frame - t[2]), 50, 100.0 * t[1] + 3 * (frame - t[2]) + 40, 150] for t in own]
            items.append(
                EmbeddedFrame(
                    camid=camid,
                    frame_idx=frame,
                    time_s=frame / FPS,
                    tracks=Tracks(ids, np.array(xyxy, np.float32).reshape(-1, 4), np.full(len(own), 0.75, np.float32)),
                    embeddings=Embeddings(
                        np.array([t[1] for t in clips], np.int64),
                        np.array([vector_of(t[4], frame) for t in clips], np.float32).reshape(-1, 16),
                        np.ones(len(clips), np.float32),
                    ),
                    ended=np.array(ended, np.int64),
                    preview=NO_PREVIEW,
                    preview_scale=1.0,
                )
            )
        if items:
            yield items


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves behind, with the vectors it had."""
    folder = tmp_path_factory.mktemp("run")
    fuser = build_fuser(FusionConfig(), (None, None), frozenset(), 16)
    camera, track, vector, frame = [], [], [], []
    with open_sinks(OutputConfig(), folder, CAMERAS, video=False, fps=FPS) as sinks:
        for items in frames():
            sinks.write(fuser.step(items))
            for item in items:
                camera += [CAMERAS[item.camid]] * len(item.embeddings)
                frame += [item.frame_idx] * len(item.embeddings)
                track += item.embeddings.track_id.tolist()
                vector += item.embeddings.vector.tolist()
        sinks.write(fuser.flush())
    np.savez(folder / "v.npz", camera=np.array(camera), track_id=track, vector=np.array(vector), frame=frame)
    return folder


def work(folder: Path, tracklets: Path, **options: object) -> Path:
    report = associate(AssociateOptions(tracklets, folder, **options), lambda _: None, lambda: False)  # type: ignore[arg-type]
    assert report.num_identities == len(rows_of(folder / "identities.csv"))
    return folder


def test_a_runs_own_tracklets_and_vectors_give_the_same_identities(run_folder: Path, tmp_path: Path) -> None:
    out = work(tmp_path, run_folder / "global_tracks.csv", embeddings=run_folder / "v.npz")
    for name in ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv"):
        assert (out / name).read_text() == (run_folder / name).read_text(), name
    assert {p.name for p in out.iterdir()} == {p.name for p in run_folder.iterdir()} - {"v.npz"} | {
        "association.json",
        "association.npz",
        "run.json",
        "report.html",
        "transitions.json",
    }


def test_order_of_the_rows_in_the_file_makes_no_difference(run_folder: Path, tmp_path: Path) -> None:
    table = read_tracks(run_folder).with_columns()
    tracks = table.with_columns(global_id=table.track_id)
    results = []
    for name, order in (("plain", np.arange(len(table))), ("mixed", np.random.default_rng(1).permutation(len(table)))):
        target = tmp_path / f"{name}.txt"
        WRITERS["aicity"](tracks, target)
        lines = target.read_text().splitlines(keepends=True)
        target.write_text("".join(lines[i] for i in order))
        results.append((work(tmp_path / name, target, fps=FPS) / "global_tracks.csv").read_text())
    assert results[0] == results[1]
    assert len(results[0].splitlines()) == len(table) + 1


def test_tracks_without_vectors_keep_all_rows_and_hold_the_invariants(run_folder: Path, tmp_path: Path) -> None:
    table = read_tracks(run_folder)
    WRITERS["mot"](table.with_columns(global_id=table.track_id), tmp_path / "tracks")
    out = work(tmp_path / "out", tmp_path / "tracks", fps=FPS)
    assert len(read_tracks(out)) == len(table)
    verdict = verify(out, SiteFacts(overlaps=frozenset()), Limits())
    assert verdict.holds and sum(not check.skipped for check in verdict.checks) == 4
    kinds = [json.loads(line)["kind"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert kinds.count("camera_ended") == 2
    assert json.loads((out / "run.json").read_text())["command"] == "associate"


def test_cams_yaml_gives_rates_and_start_times(run_folder: Path, tmp_path: Path) -> None:
    table = read_tracks(run_folder)
    WRITERS["mot"](table.with_columns(global_id=table.track_id), tmp_path / "tracks")
    cams = tmp_path / "cams.yaml"
    cams.write_text(
        "cameras:\n"
        "  - {id: hall, source: none.mp4, fps: 5, start_time: '2026-01-01T00:00:10Z', overlaps: [door]}\n"
        "  - {id: door, source: none.mp4, fps: 10, start_time: '2026-01-01T00:00:00Z'}\n"
    )
    out = work(tmp_path / "out", tmp_path / "tracks", cams=cams)
    first = {row["camera"]: float(row["first_s"]) for row in reversed(rows_of(out / "tracklets.csv"))}
    assert first == {"door": 0.0, "hall": 50 / 5 + 10}
    assert json.loads((out / "run.json").read_text())["cameras"][0]["overlaps"] == ["door"]


def test_a_stop_leaves_whole_files(run_folder: Path, tmp_path: Path) -> None:
    calls = iter([False] * 20)
    options = AssociateOptions(run_folder, tmp_path)
    report = associate(options, lambda _: None, lambda: next(calls, True))
    assert report.interrupted and 0 < len(read_tracks(tmp_path)) < len(read_tracks(run_folder))
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".tracks-*"))


def test_wrong_input_is_told_in_one_line(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.txt").write_text("1,1,0,0,5,5,1\n")
    with pytest.raises(TableError, match="camera a: its tracks have no times"):
        work(tmp_path / "out", tmp_path / "t")
    with pytest.raises(ConfigError, match="vectors of camera 'door'"):
        work(tmp_path / "out", tmp_path / "t", fps=1.0, embeddings=run_folder / "v.npz")
    (tmp_path / "t" / "a.txt").write_text("")
    with pytest.raises(ConfigError, match="no tracks in it"):
        work(tmp_path / "out", tmp_path / "t", fps=1.0)
