"""A simulated run as the messages that a fuser is given, tick by tick: tracks, appearance vectors, ended tracks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.simulate.appearance import AppearanceModel
from pipeline.simulate.clips import ClipRows, ClipTimes, clip_rows
from pipeline.simulate.faults import Alike, arrivals, is_sent, of_kind, stamped
from pipeline.simulate.run import SiteRun
from pipeline.simulate.truth import num_frames
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Float32, Float64, Int64, Tracks

_CLIPS_AT_ONCE = 2048
_ARRIVES = 9  # random numbers of the stream, beside those of the stages in run.py
_FRAMES = 1 << 40  # more than a camera ever takes


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is shown when. Frames by (tick, camid); `*_bound` (F + 1,) cut the other columns into frames."""

    camid: Int64  # (F,)
    frame_idx: Int64  # (F,)
    stamp_s: Float64  # (F,)
    tick: Int64  # (F,)
    box_row: Int64  # rows of Boxes, by frame and track
    box_bound: Int64
    clips: ClipRows  # by frame
    clip_number: Int64  # of the clip among all of the run
    clip_bound: Int64
    ended: Int64  # track ids, by frame
    ended_bound: Int64


def embedded_frames(
    run: SiteRun, *, fps: float | None = None, clips: ClipTimes | None = None, empty_frames: bool = False
) -> Iterator[list[EmbeddedFrame]]:
    """The run as a fuser sees it: one list per tick, frames by camid, at most one per camera.

    Tracks carry `track_id` of `run.tracklets`. Vectors come when a clip is full (`clips`), the last one with the end
    of the track, which is told `max_lost_s` after its last box, or at the end of the run. With `fps` only about so
    many frames a second are shown, and those in which a tracklet begins or ends; a frame that is shown is whole.
    Frames without tracks, vectors or ends are left out unless `empty_frames`. Times are those of the cameras' clocks,
    and frames come when they arrive: the site's faults act here.
    """
    if fps is not None and fps <= 0:
        raise ValueError(f"fps: want more than 0, or None for every frame, got {fps}")
    plan = _plan(run, fps, clips or ClipTimes(), empty_frames)
    vectors = _Vectors(run, plan.clips, plan.clip_number)
    boxes = run.boxes
    ids, xyxy, score = boxes.track_id[plan.box_row], boxes.xyxy[plan.box_row], boxes.score[plan.box_row]
    clip_ids = run.tracklets.track_id[plan.clips.tracklet]
    ticks = np.append(np.flatnonzero(np.diff(plan.tick, prepend=-1)), len(plan.tick))
    columns = [column.tolist() for column in (plan.camid, plan.frame_idx, plan.stamp_s)]
    bounds = [column.tolist() for column in (plan.box_bound, plan.clip_bound, plan.ended_bound)]
    no_vectors = Embeddings.empty(run.site.noise.appearance.dim)
    for begin, end in pairwise(ticks.tolist()):
        items = []
        for f in range(begin, end):
            box, clip, gone = (slice(bound[f], bound[f + 1]) for bound in bounds)
            embeddings = no_vectors
            if clip.stop > clip.start:
                embeddings = Embeddings(clip_ids[clip], *vectors.rows(clip.start, clip.stop))
            items.append(
                EmbeddedFrame(
                    camid=columns[0][f],
                    frame_idx=columns[1][f],
                    time_s=columns[2][f],
                    tracks=Tracks(ids[box], xyxy[box], score[box]),
                    embeddings=embeddings,
                    ended=plan.ended[gone],
                    preview=NO_PREVIEW,
                    preview_scale=1.0,
                )
            )
        yield items


class _Vectors:
    """The vectors of the clips in the order of the stream, made some thousand at a time."""

    def __init__(self, run: SiteRun, clips: ClipRows, number: Int64) -> None:
        self._model = AppearanceModel(run.site.noise.appearance, run.seed, of_kind(run.site.faults, Alike))
        self._clips, self._number = clips, number
        self._camid = run.tracklets.camid[clips.tracklet]
        self._begin = self._end = 0
        self._made: tuple[Float32, Float32] = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)

    def rows(self, begin: int, end: int) -> tuple[Float32, Float32]:
        """Vectors and qualities of clips begin .. end; calls go forwards."""
        if end > self._end:
            self._begin, self._end = begin, max(end, min(begin + _CLIPS_AT_ONCE, len(self._clips)))
            part = slice(self._begin, self._end)
            clips = self._clips[part]
            self._made = self._model.vectors(
                clips.who, self._camid[part], clips.home_view, clips.view, self._number[part], clips.num_crops
            )
        cut = slice(begin - self._begin, end - self._begin)
        return self._made[0][cut], self._made[1][cut]


def _plan(run: SiteRun, fps: float | None, times: ClipTimes, empty_frames: bool) -> _Plan:
    boxes, tracklets = run.boxes, run.tracklets
    end_frame = _end_frames(run)
    box_key = boxes.camid * _FRAMES + boxes.frame_idx
    end_key = tracklets.camid * _FRAMES + end_frame
    key = _shown(run, box_key, end_key, fps, empty_frames)
    camid, frame_idx = np.divmod(key, _FRAMES)

    rows, tick, order = _arrivals(run, camid, frame_idx)
    slot = np.empty(len(key), np.int64)  # of each frame's first arrival in the order of the stream
    slot[rows[order][::-1]] = np.arange(len(rows))[::-1]
    camid, frame_idx, tick = camid[rows[order]], frame_idx[rows[order]], tick[order]
    stamp_s = np.zeros(len(camid))
    for number, camera in enumerate(run.site.cameras):
        mine = camid == number
        stamp_s[mine] = stamped(run.site.faults, camera.id, frame_idx[mine] / camera.fps)

    by_frame = np.lexsort((boxes.track_id, box_key))
    first, last = (np.searchsorted(box_key[by_frame], key[rows[order]], side=side) for side in ("left", "right"))
    count = last - first
    box_row = by_frame[np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))]

    clips = clip_rows(run, times)
    shown_row = _next_shown(key, box_key[clips.box_row])
    clip_slot = slot[np.where(clips.is_last == 1, np.searchsorted(key, end_key[clips.tracklet]), shown_row)]
    clip_order = np.argsort(clip_slot, kind="stable")
    ended_slot = slot[np.searchsorted(key, end_key)]
    ended_order = np.argsort(ended_slot, kind="stable")
    edges = np.arange(len(camid) + 1)
    return _Plan(
        camid=camid,
        frame_idx=frame_idx,
        stamp_s=stamp_s,
        tick=tick,
        box_row=box_row,
        box_bound=np.concatenate([[0], np.cumsum(count)]),
        clips=clips[clip_order],
        clip_number=clip_order,
        clip_bound=np.searchsorted(clip_slot[clip_order], edges),
        ended=tracklets.track_id[ended_order],
        ended_bound=np.searchsorted(ended_slot[ended_order], edges),
    )


def _end_frames(run: SiteRun) -> Int64:
    """(K,) frame with which each tracklet is told to have ended: the first that is sent after `max_lost_s`, or the
    camera's last one."""
    tracklets, lost_s = run.tracklets, run.site.noise.tracker.max_lost_s
    frame = np.zeros(len(tracklets), np.int64)
    for camid, camera in enumerate(run.site.cameras):
        mine = np.flatnonzero(tracklets.camid == camid)
        if not len(mine):
            continue
        every = np.arange(num_frames(camera, run.seconds))
        sent = every[is_sent(run.site.faults, camera.id, every / camera.fps)]
        after = np.floor((tracklets.last_s[mine] + lost_s) * camera.fps + 1e-6).astype(np.int64) + 1
        frame[mine] = sent[np.minimum(np.searchsorted(sent, after), len(sent) - 1)]
    return frame


def _shown(run: SiteRun, box_key: Int64, end_key: Int64, fps: float | None, empty_frames: bool) -> Int64:
    """Sorted camid * _FRAMES + frame_idx of all frames that are shown."""
    keys = [end_key]
    stride = [1 if fps is None else max(1, round(camera.fps / fps)) for camera in run.site.cameras]
    kept = run.boxes.frame_idx % np.array(stride, np.int64)[run.boxes.camid] == 0
    edges = run.tracklets.first_row
    kept[edges] = True
    kept[edges + run.tracklets.num_boxes - 1] = True
    keys.append(box_key[kept])
    if empty_frames:
        for camid, camera in enumerate(run.site.cameras):
            frame = np.arange(0, num_frames(camera, run.seconds), stride[camid])
            keys.append(camid * _FRAMES + frame[is_sent(run.site.faults, camera.id, frame / camera.fps)])
    return np.unique(np.concatenate(keys))


def _arrivals(run: SiteRun, camid: Int64, frame_idx: Int64) -> tuple[Int64, Int64, Int64]:
    """Which frame arrives in which tick: rows (M,) of the frames, ticks (M,), and their order by (tick, camid).

    A tick is as long as a frame of the fastest camera. Of a camera one frame comes per tick; more wait for the next.
    """
    rate = max(camera.fps for camera in run.site.cameras)
    all_rows, ticks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, camera in enumerate(run.site.cameras):
        mine = np.flatnonzero(camid == number)
        rng = np.random.default_rng([run.seed, _ARRIVES, number])
        rows, at_s = arrivals(run.site.faults, camera.id, camera.fps, frame_idx[mine], rng)
        order = np.lexsort((frame_idx[mine][rows], at_s))
        place = np.arange(len(order))
        tick = np.floor(at_s[order] * rate + 1e-6).astype(np.int64)
        all_rows.append(mine[rows[order]])
        ticks.append(np.maximum.accumulate(tick - place) + place if len(place) else tick)
    rows, tick = np.concatenate(all_rows), np.concatenate(ticks)
    return rows, tick, np.lexsort((camid[rows], tick))


def _next_shown(key: Int64, wanted: Int64) -> Int64:
    """Row of `key` (sorted) of the first shown frame at or after `wanted`. The tracklet's last frame is shown, so
    that it is always one of the same camera."""
    return np.minimum(np.searchsorted(key, wanted), len(key) - 1)
