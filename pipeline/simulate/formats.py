"""Writes a simulated run as files: truth in three formats, detections, tracklets, vectors, and the site itself."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import yaml

from pipeline.simulate.clips import ClipTimes
from pipeline.simulate.detecting import NOBODY
from pipeline.simulate.faults import stamped
from pipeline.simulate.floor import intrinsic_of, world_to_camera
from pipeline.simulate.run import SiteRun
from pipeline.simulate.stream import embedded_frames
from pipeline.types import AnyArray, Float32, Float64, Int64

TABLE_COLUMNS = "time_s,camera,frame,global_id,track_id,left,top,width,height,score,confidence,ground_x,ground_y"
TRACKLET_COLUMNS = "camera,track_id,person,first_s,last_s"
_ROWS_AT_ONCE = 200_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def write_site_run(run: SiteRun, folder: Path, *, clips: ClipTimes | None = None) -> list[Path]:
    """Write everything into `folder`, which is made -> the files. The same run gives the same bytes.

    site.yaml, cams.yaml, ground_truth.csv, ground_truth/<camera>.txt, ground_truth_aicity.txt,
    detections/<camera>.txt, tracks.csv, tracklet_people.csv, embeddings.npz: docs/simulation.md says what they hold.
    Raises OSError where the folder can not be written.
    """
    for part in ("ground_truth", "detections"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    names = [_file_name(name) for name in run.site.camera_names]
    files = {
        "site.yaml": _site_yaml(run),
        "cams.yaml": _cams_yaml(run, names),
        "ground_truth.csv": _truth_table(run),
        "ground_truth_aicity.txt": _aicity(run),
        "tracks.csv": _track_table(run),
        "tracklet_people.csv": _people_table(run),
    }
    for camid, name in enumerate(names):
        files[f"ground_truth/{name}.txt"] = _mot_truth(run, camid)
        files[f"detections/{name}.txt"] = _mot_detections(run, camid)
    for path, lines in files.items():
        with (folder / path).open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
    _write_npz(folder / "embeddings.npz", _vectors(run, clips))
    return [folder / path for path in (*files, "embeddings.npz")]


def _site_yaml(run: SiteRun) -> Iterator[str]:
    yield f"# python -m pipeline simulate site site.yaml --seconds {run.seconds:g} --seed {run.seed}"
    data = run.site.model_dump(mode="json") | {"groups": dict(run.site.groups)}
    yield yaml.safe_dump(data, sort_keys=False, width=120).rstrip("\n")


def _cams_yaml(run: SiteRun, names: Sequence[str]) -> Iterator[str]:
    """For `associate --cams` and `evaluate --gt`; there are no videos."""
    site = run.site
    overlaps = site.overlaps()
    cameras: list[dict[str, Any]] = []
    for camid, camera in enumerate(site.cameras):
        entry: dict[str, Any] = {"id": camera.id, "source": f"{names[camid]}.mp4", "fps": camera.fps}
        entry["ground_truth"] = f"ground_truth/{names[camid]}.txt"
        if camera.calibrated:
            entry["calibration"] = {
                "intrinsic": intrinsic_of(camera).tolist(),
                "distortion": [0.0] * 5,
                "world_to_camera": world_to_camera(camera).tolist(),
            }
        else:
            others = [i for i in range(len(site.cameras)) if (min(i, camid), max(i, camid)) in overlaps]
            if others:
                entry["overlaps"] = [site.cameras[i].id for i in others]
        cameras.append(entry)
    yield yaml.safe_dump({"cameras": cameras}, sort_keys=False, width=120, default_flow_style=None).rstrip("\n")


def _truth_table(run: SiteRun) -> Iterator[str]:
    yield TABLE_COLUMNS
    truth, names = run.truth, [_field(name) for name in run.site.camera_names]
    order = np.lexsort((truth.pid, truth.camid, truth.time_s))
    columns = (
        *(truth.time_s, truth.camid, truth.frame_idx, truth.pid, truth.visit_row + 1),
        *(_tlwh(truth.xyxy), truth.ground_xy),
    )
    for time_s, camid, frame, pid, visit, box, ground in _rows(order, columns):
        ids = f"{pid},{visit}"
        yield f"{_time(time_s)},{names[camid]},{frame},{ids},{_box(box)},1,,{ground[0]:z.3f},{ground[1]:z.3f}"


def _track_table(run: SiteRun) -> Iterator[str]:
    yield TABLE_COLUMNS
    boxes, names = run.boxes, [_field(name) for name in run.site.camera_names]
    stamp_s = _stamps(run, boxes.camid, boxes.time_s)
    order = np.lexsort((boxes.track_id, boxes.camid, stamp_s))
    columns = (stamp_s, boxes.camid, boxes.frame_idx, boxes.track_id, _tlwh(boxes.xyxy), boxes.score)
    for time_s, camid, frame, track_id, box, score in _rows(order, columns):
        yield f"{_time(time_s)},{names[camid]},{frame},,{track_id},{_box(box)},{score:.4f},,,"


def _people_table(run: SiteRun) -> Iterator[str]:
    yield TRACKLET_COLUMNS
    rows, names = run.tracklets, [_field(name) for name in run.site.camera_names]
    pid = np.where(rows.pid == NOBODY, 0, rows.pid)
    columns = (rows.camid, rows.track_id, pid, rows.first_s, rows.last_s)
    for camid, track_id, person, first_s, last_s in _rows(np.arange(len(rows)), columns):
        yield f"{names[camid]},{track_id},{person},{_time(first_s)},{_time(last_s)}"


def _mot_truth(run: SiteRun, camid: int) -> Iterator[str]:
    """frame from 1, id, left, top, width, height, 1, class 1, visibility 1."""
    truth = run.truth
    mine = np.flatnonzero(truth.camid == camid)
    order = mine[np.lexsort((truth.pid[mine], truth.frame_idx[mine]))]
    for frame, pid, box in _rows(order, (truth.frame_idx, truth.pid, _tlwh(truth.xyxy))):
        yield f"{frame + 1},{pid},{_box(box)},1,1,1"


def _mot_detections(run: SiteRun, camid: int) -> Iterator[str]:
    found = run.detections
    mine = np.flatnonzero(found.camid == camid)
    order = mine[np.lexsort((-found.score[mine], found.frame_idx[mine]))]
    for frame, box, score in _rows(order, (found.frame_idx, _tlwh(found.xyxy), found.score)):
        yield f"{frame + 1},-1,{_box(box)},{score:.4f},-1,-1,-1"


def _aicity(run: SiteRun) -> Iterator[str]:
    """camera from 1, person, frame from 0, box in whole pixels, place on the floor in metres."""
    truth = run.truth
    order = np.lexsort((truth.pid, truth.frame_idx, truth.camid))
    box = np.rint(_tlwh(truth.xyxy)).astype(np.int64)
    columns = (truth.camid, truth.pid, truth.frame_idx, box, truth.ground_xy)
    for camid, pid, frame, (left, top, width, height), (x, y) in _rows(order, columns):
        yield f"{camid + 1} {pid} {frame} {left} {top} {width} {height} {x:z.3f} {y:z.3f}"


def _vectors(run: SiteRun, clips: ClipTimes | None) -> dict[str, AnyArray]:
    """The clips in the order of the stream, with the frame and clock time at which their vectors were known."""
    names = np.array(run.site.camera_names)
    head: list[tuple[int, int, float, int, float]] = []
    vectors = [np.zeros((0, run.site.noise.appearance.dim), np.float32)]
    for items in embedded_frames(run, fps=1.0, clips=clips):
        for item in items:
            if len(item.embeddings):
                vectors.append(item.embeddings.vector)
                ids, quality = item.embeddings.track_id.tolist(), item.embeddings.quality.tolist()
                head += [(item.camid, item.frame_idx, item.time_s, t, q) for t, q in zip(ids, quality, strict=True)]
    columns: list[Any] = list(zip(*head, strict=True)) if head else [()] * 5
    return {
        "camera": names[np.array(columns[0], np.int64)],
        "track_id": np.array(columns[3], np.int64),
        "frame": np.array(columns[1], np.int64),
        "time_s": np.array(columns[2], np.float64),
        "quality": np.array(columns[4], np.float32),
        "vector": np.concatenate(vectors),
    }


def _write_npz(path: Path, arrays: dict[str, AnyArray]) -> None:
    """An .npz without the time of day in it, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME), data.getvalue())


def _rows(order: Int64, columns: Iterable[AnyArray]) -> Iterator[tuple[Any, ...]]:
    """The rows `order` of aligned columns as Python values, without all of them in memory."""
    columns = tuple(columns)
    for start in range(0, len(order), _ROWS_AT_ONCE):
        part = order[start : start + _ROWS_AT_ONCE]
        yield from zip(*(column[part].tolist() for column in columns), strict=True)


def _stamps(run: SiteRun, camid: Int64, time_s: Float64) -> Float64:
    """(N,) what the cameras' clocks say at true times."""
    stamp_s = time_s.copy()
    for number, camera in enumerate(run.site.cameras):
        mine = camid == number
        stamp_s[mine] = stamped(run.site.faults, camera.id, time_s[mine])
    return stamp_s


def _tlwh(xyxy: Float32) -> Float64:
    wide = xyxy.astype(np.float64)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1)


def _box(tlwh: Sequence[float]) -> str:
    return f"{tlwh[0]:z.2f},{tlwh[1]:z.2f},{tlwh[2]:z.2f},{tlwh[3]:z.2f}"


def _time(time_s: float) -> str:
    text = f"{time_s:z.6f}"
    return text[:-3] if text.endswith("000") else text.rstrip("0")


def _field(name: str) -> str:
    """The name as one CSV field, in quotes where it needs them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([name])
    return text.getvalue()


def _file_name(name: str) -> str:
    """The camera's name made fit for every file system, different names staying different."""
    safe = quote(name, safe="")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe
