"""What travels between machines: ticks of tracklets, and events. JSON, versioned, checked field by field.

Names follow the frame schema of NVIDIA's Metropolis microservices ("mdx": `version`, `id`, `timestamp`, `sensorId`,
`objects`, `bbox.leftX`, ...) where they fit. docs/running-at-scale.md has the schema. Numbers are exact: a tick that
went through a message fuses like one that did not. Nothing in a message is trusted.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeAlias, get_args

import numpy as np

from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Event, EventKind, Tracks

VERSION = "1"
MAX_CAMERAS = 4096
MAX_OBJECTS = 10_000  # of a camera in a tick
MAX_CLIPS = 10_000
MAX_DIM = 16_384
MAX_TICK = 1 << 52
MAX_ID = 1 << 62
MAX_PX = 1e6
MAX_TIME_S = 1e11

TickKind: TypeAlias = Literal["tick", "flush", "end"]
Reason: TypeAlias = Literal["too_large", "not_json", "wrong_version", "bad_field", "unknown_camera", "other_clock"]


class MessageError(ValueError):
    """A message that is refused. `reason` is one of few, to be counted; the text quotes nothing of the message."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TickMessage:
    """One tick of one edge box. `flush`: what was left at its end, behind all ticks; `end`: there is no more."""

    index: int
    frames: tuple[EmbeddedFrame, ...]
    kind: TickKind = "tick"


@dataclass(frozen=True, slots=True)
class Clock:
    """What boxes have to agree on. `zero_s`: seconds since 1970 where `time_s` is 0, None where that is not known."""

    tick_s: float
    zero_s: float | None = None


def encode_tick(
    message: TickMessage, camera_names: Sequence[str], clock_zero_s: float | None, *, tick_s: float | None = None
) -> bytes:
    """A tick as a message, without any pixel. `clock_zero_s`: seconds since 1970 where `time_s` is 0, if known."""
    frames = [_frame(frame, camera_names, clock_zero_s) for frame in message.frames]
    clock = {} if tick_s is None else {"clock": {"tickS": tick_s, "zeroS": clock_zero_s}}
    return _dumped({"kind": message.kind, "tick": message.index, **clock, "frames": frames})


def encode_event(event: Event, camera_names: Sequence[str], clock_zero_s: float | None) -> bytes:
    return _dumped(
        {
            "kind": "event",
            **_time(event.time_s, clock_zero_s),
            "event": event.kind,
            "sensorId": camera_names[event.camid] if event.camid >= 0 else None,
            "trackId": event.track_id or None,
            "globalId": event.global_id,
            "otherId": event.other_id or None,
            **{name: _number_or_none(getattr(event, name)) for name in _EVIDENCE},
        }
    )


def decode_tick(
    data: bytes, camids: Mapping[str, int], *, dim: int, max_bytes: int = 1 << 20, clock: Clock | None = None
) -> TickMessage:
    """The tick of a message, frames by camid. Raises MessageError.

    `camids` of the cameras by name; `dim` of their vectors; `clock` that it must have, where it says which it has.
    """
    message = _loaded(data, max_bytes)
    if clock is not None and message.get("clock") is not None:
        _check_clock(_table(message["clock"], "clock"), clock)
    kind: Any = message.get("kind")
    index = _integer(message.get("tick"), "tick", 0, MAX_TICK)
    if kind not in get_args(TickKind):
        _refuse("kind", f"want one of {', '.join(get_args(TickKind))}")
    frames = [_read_frame(f, camids, dim) for f in _rows(message.get("frames"), "frames", MAX_CAMERAS)]
    if len({frame.camid for frame in frames}) < len(frames):
        _refuse("frames", "a camera is there twice")
    return TickMessage(index, tuple(sorted(frames, key=lambda frame: frame.camid)), kind)


def decode_event(data: bytes, camids: Mapping[str, int], *, max_bytes: int = 1 << 20) -> Event:
    """The event of a message. Raises MessageError."""
    message = _loaded(data, max_bytes)
    kind: Any = message.get("event")
    if message.get("kind") != "event" or kind not in get_args(EventKind):
        _refuse("event", f"want one of {', '.join(get_args(EventKind))}")
    sensor = message.get("sensorId")
    evidence = {}
    for name in _EVIDENCE:
        value = message.get(name)
        evidence[name] = math.nan if value is None else _number(value, name, -1e12, 1e12)
    return Event(
        kind,
        _number(message.get("timeS"), "timeS", -MAX_TIME_S, MAX_TIME_S),
        _integer(message.get("globalId"), "globalId", 1, MAX_ID),
        camid=-1 if sensor is None else _camid(sensor, camids),
        track_id=_integer(message.get("trackId") or 0, "trackId", 0, MAX_ID),
        other_id=_integer(message.get("otherId") or 0, "otherId", 0, MAX_ID),
        **evidence,
    )


_EVIDENCE = ("confidence", "similarity", "ground_m", "gap_s", "margin")
_CORNERS = ("leftX", "topY", "rightX", "bottomY")


def _frame(frame: EmbeddedFrame, camera_names: Sequence[str], clock_zero_s: float | None) -> dict[str, Any]:
    tracks = frame.tracks
    rows = zip(tracks.track_id.tolist(), tracks.xyxy.tolist(), tracks.score.tolist(), strict=True)
    clips = frame.embeddings
    return {
        "id": str(frame.frame_idx),
        **_time(frame.time_s, clock_zero_s),
        "sensorId": camera_names[frame.camid],
        "objects": [
            {
                "id": str(track_id),
                "type": "Person",
                "bbox": dict(zip(_CORNERS, box, strict=True)),
                "confidence": score,
            }
            for track_id, box, score in rows
        ],
        "embeddings": [
            {"id": str(track_id), "quality": quality, "vector": base64.b64encode(vector.astype("<f4")).decode()}
            for track_id, quality, vector in zip(
                clips.track_id.tolist(), clips.quality.tolist(), clips.vector, strict=True
            )
        ],
        "ended": [str(track_id) for track_id in frame.ended.tolist()],
    }


def _read_frame(message: Any, camids: Mapping[str, int], dim: int) -> EmbeddedFrame:
    frame = _table(message, "frames[]")
    objects = [_table(o, "objects[]") for o in _rows(frame.get("objects"), "objects", MAX_OBJECTS)]
    clips = [_table(c, "embeddings[]") for c in _rows(frame.get("embeddings"), "embeddings", MAX_CLIPS)]
    ids = [_digits(o.get("id"), "objects[].id") for o in objects]
    if len(set(ids)) < len(ids):
        _refuse("objects[].id", "a track is there twice")
    boxes = [_box(o.get("bbox")) for o in objects]
    tracks = Tracks(
        np.array(ids, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([_number(o.get("confidence"), "confidence", 0, 1) for o in objects], np.float32),
    )
    embeddings = Embeddings(
        np.array([_digits(c.get("id"), "embeddings[].id") for c in clips], np.int64),
        np.array([_vector(c.get("vector"), dim) for c in clips], np.float32).reshape(-1, dim),
        np.array([_number(c.get("quality"), "quality", 0, 1) for c in clips], np.float32),
    )
    ended = [_digits(t, "ended[]") for t in _rows(frame.get("ended"), "ended", MAX_OBJECTS)]
    return EmbeddedFrame(
        camid=_camid(frame.get("sensorId"), camids),
        frame_idx=_digits(frame.get("id"), "id", lowest=0),
        time_s=_number(frame.get("timeS"), "timeS", -MAX_TIME_S, MAX_TIME_S),
        tracks=tracks,
        embeddings=embeddings,
        ended=np.array(ended, np.int64),
        preview=NO_PREVIEW,
        preview_scale=1.0,
    )


def _check_clock(given: dict[str, Any], clock: Clock) -> None:
    tick_s = _number(given.get("tickS"), "clock.tickS", 0, MAX_TIME_S)
    zero_s = given.get("zeroS")
    known = zero_s is not None and clock.zero_s is not None
    if not math.isclose(tick_s, clock.tick_s, rel_tol=1e-9) or (
        known and abs(_number(zero_s, "clock.zeroS", -MAX_TIME_S, MAX_TIME_S) - (clock.zero_s or 0.0)) > 1e-6
    ):
        raise MessageError(
            "other_clock", "clock: ingest.tick_s or transport.clock_zero is not the same on the box that sent it"
        )


def _time(time_s: float, clock_zero_s: float | None) -> dict[str, Any]:
    if clock_zero_s is None:
        return {"timeS": time_s}
    moment = datetime.fromtimestamp(clock_zero_s + time_s, UTC)
    return {"timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "timeS": time_s}


def _dumped(message: dict[str, Any]) -> bytes:
    text = json.dumps({"version": VERSION, **message}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _loaded(data: bytes, max_bytes: int) -> dict[str, Any]:
    if len(data) > max_bytes:
        raise MessageError("too_large", f"a message of {len(data)} bytes, where {max_bytes} are allowed")
    try:
        message = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # ValueError: also wrong UTF-8 and numbers of too many digits
        raise MessageError("not_json", "not a JSON text") from None
    if not isinstance(message, dict):
        raise MessageError("not_json", "not a JSON object")
    if message.get("version") != VERSION:
        raise MessageError("wrong_version", f"not of version {VERSION}; both ends must run the same release")
    return message


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse(field: str, text: str) -> NoReturn:
    raise MessageError("bad_field", f"{field}: {text}")


def _table(value: Any, field: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _refuse(field, "want an object")


def _rows(value: Any, field: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        _refuse(field, f"want a list of at most {most}")
    return value


def _number(value: Any, field: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        _refuse(field, f"want a number in [{low:g}, {high:g}]")
    return float(value)


def _integer(value: Any, field: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        _refuse(field, f"want a whole number in [{low}, {high}]")
    return value


def _digits(value: Any, field: str, lowest: int = 1) -> int:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()) or len(value) > 18:
        _refuse(field, "want a number written as a string")
    return _integer(int(value), field, lowest, MAX_ID)


def _camid(name: Any, camids: Mapping[str, int]) -> int:
    if not isinstance(name, str):
        _refuse("sensorId", "want the name of a camera")
    if name not in camids:
        raise MessageError("unknown_camera", "sensorId: no camera of that name in cams.yaml")
    return camids[name]


def _box(value: Any) -> list[float]:
    box = _table(value, "bbox")
    left, top, right, bottom = (_number(box.get(name), f"bbox.{name}", -MAX_PX, MAX_PX) for name in _CORNERS)
    if right < left or bottom < top:
        _refuse("bbox", "the right or lower edge lies before the left or upper one")
    return [left, top, right, bottom]


def _vector(value: Any, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not isinstance(value, str) or len(value) > 8 * MAX_DIM:
        _refuse("vector", "want base64")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        _refuse("vector", "want base64")
    if len(data) != 4 * dim:
        _refuse("vector", f"want {dim} float32 numbers; do both ends use the same ReID network?")
    vector = np.frombuffer(data, "<f4").astype(np.float32)
    if not (np.isfinite(vector).all() and abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) < 1e-2):
        _refuse("vector", "want finite numbers of norm 1")
    return vector


def _number_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
