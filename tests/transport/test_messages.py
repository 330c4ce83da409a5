"""Messages: what goes in comes out to the last bit, without a pixel; what is not a message is refused with a reason."""

from __future__ import annotations

import base64
import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.transport.messages import (
    Clock,
    MessageError,
    TickMessage,
    decode_event,
    decode_tick,
    encode_event,
    encode_tick,
)
from pipeline.types import Event
from tests.transport.frames import DIM, NAMES, embedded, same

CAMIDS = {name: camid for camid, name in enumerate(NAMES)}
GOOD = encode_tick(TickMessage(5, (embedded(0, 3, 0.51), embedded(1, 9, 0.5))), NAMES, 1.7e9)


def _with_vector(vector: np.ndarray) -> bytes:
    """The good message with another first vector."""
    message = json.loads(GOOD)
    message["frames"][0]["embeddings"][0]["vector"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, **options):
    return decode_tick(data, CAMIDS, dim=DIM, **options)


def test_an_empty_tick_is_a_message_too() -> None:
    assert decode(encode_tick(TickMessage(0, ()), NAMES, None)).frames == ()


def test_a_tick_comes_back_to_the_last_bit_but_for_its_pixels() -> None:
    frames = (embedded(0, 3, 0.51), embedded(1, 9, 1 / 3, num=0))
    tick = decode(encode_tick(TickMessage(5, frames), NAMES, 1.7e9))
    assert tick.index == 5 and all(same(a, b) for a, b in zip(frames, tick.frames, strict=True))
    assert tick.frames[0].preview.size == 0


def test_names_are_those_of_mdx_where_they_fit() -> None:
    message = json.loads(GOOD)
    frame = message["frames"][0]
    assert message["version"] == "1" and frame["sensorId"] == "door" and frame["id"] == "3"
    assert frame["timestamp"] == "2023-11-14T22:13:20.510Z"
    assert set(frame["objects"][0]) == {"id", "type", "bbox", "confidence"}
    assert set(frame["objects"][0]["bbox"]) == {"leftX", "topY", "rightX", "bottomY"}


@pytest.mark.parametrize("kind", ["tick", "flush", "end"])
def test_the_end_is_a_message_and_what_is_flushed_before_it(kind) -> None:
    assert decode(encode_tick(TickMessage(7, (), kind), NAMES, None)) == TickMessage(7, (), kind)


@pytest.mark.parametrize("kind", ["create", "link", "merge", "split", "close"])
def test_events_come_back_as_they_were(kind) -> None:
    event = Event(kind, 12.25, 3, camid=1, track_id=8, other_id=2, confidence=0.1, similarity=1 / 3, gap_s=7.0)
    back = decode_event(encode_event(event, NAMES, None), CAMIDS)
    assert math.isnan(back.ground_m) and math.isnan(back.margin)
    assert repr(back) == repr(event)
    assert repr(decode_event(encode_event(Event("close", 1.0, 4), NAMES, 0.0), CAMIDS)) == repr(Event("close", 1.0, 4))


BAD = {
    "truncated": (GOOD[:-20], "not_json"),
    "empty": (b"", "not_json"),
    "wrong UTF-8": (GOOD.replace(b"door", b"\xff\xfe"), "not_json"),
    "not an object": (b"[1, 2]", "not_json"),
    "nested": (b"[" * 100_000, "not_json"),
    "a number of many digits": (b'{"version":"1","tick":' + b"9" * 10_000 + b"}", "not_json"),
    "NaN": (GOOD.replace(b'"tick":5', b'"tick":NaN'), "not_json"),
    "another version": (GOOD.replace(b'"version":"1"', b'"version":"2"'), "wrong_version"),
    "no version": (b"{}", "wrong_version"),
    "a tick below 0": (GOOD.replace(b'"tick":5', b'"tick":-5'), "bad_field"),
    "a tick that is true": (GOOD.replace(b'"tick":5', b'"tick":true'), "bad_field"),
    "an unknown kind": (GOOD.replace(b'"kind":"tick"', b'"kind":"tock"'), "bad_field"),
    "an unknown camera": (GOOD.replace(b'"sensorId":"door"', b'"sensorId":"roof"'), "unknown_camera"),
    "a camera twice": (GOOD.replace("hall é/1".encode(), b"door"), "bad_field"),
    "a confidence of 2": (GOOD.replace(b'"confidence":0', b'"confidence":2'), "bad_field"),
    "an infinite corner": (GOOD.replace(b'"leftX":', b'"leftX":1e999,"x":'), "bad_field"),
    "an id with a sign": (GOOD.replace(b'"id":"1"', b'"id":"-1"'), "bad_field"),
    "an id of other digits": (GOOD.replace(b'"id":"1"', '"id":"٣"'.encode()), "bad_field"),
    "no base64": (GOOD.replace(b'"vector":"', b'"vector":"!'), "bad_field"),
    "a box whose right edge lies left": (GOOD.replace(b'"rightX":', b'"rightX":-1e5,"x":'), "bad_field"),
    "a time of 1e308": (GOOD.replace(b'"timeS":', b'"timeS":1e308,"x":'), "bad_field"),
    "a tick of many digits": (GOOD.replace(b'"tick":5', b'"tick":' + b"9" * 4000), "bad_field"),
    "a time of many digits": (GOOD.replace(b'"timeS":', b'"timeS":' + b"9" * 400 + b',"x":'), "bad_field"),
    "an id of many digits": (GOOD.replace(b'"id":"1"', b'"id":"' + b"9" * 400 + b'"'), "bad_field"),
    "frames in frames in frames": (
        GOOD.replace(b'"frames":[', b'"frames":[' + b'{"frames":[' * 50_000),
        "not_json",
    ),
    "a name with control characters": (GOOD.replace(b'"door"', b'"do\\u0000or\\u001b[31m"'), "unknown_camera"),
    "a name with a line feed": (GOOD.replace(b'"door"', b'"door\\n"'), "unknown_camera"),
    "half a surrogate pair": (GOOD.replace(b'"door"', b'"\\ud800"'), "unknown_camera"),
    "a vector of NaN": (_with_vector(np.full(DIM, np.nan, np.float32)), "bad_field"),
    "a vector of infinity": (_with_vector(np.full(DIM, np.inf, np.float32)), "bad_field"),
    "a vector of 1e38": (_with_vector(np.full(DIM, 1e38, np.float32)), "bad_field"),
    "a vector of zeros": (_with_vector(np.zeros(DIM, np.float32)), "bad_field"),
    "a vector of another size": (_with_vector(np.eye(1, DIM + 1, dtype=np.float32)[0]), "bad_field"),
    "an empty vector": (_with_vector(np.zeros(0, np.float32)), "bad_field"),
    "a clock of NaN": (GOOD.replace(b'"tick":5', b'"tick":5,"clock":{"tickS":"NaN"}'), "bad_field"),
    "ticks of another length": (GOOD.replace(b'"tick":5', b'"tick":5,"clock":{"tickS":0.2}'), "other_clock"),
    "another zero": (GOOD.replace(b'"tick":5', b'"tick":5,"clock":{"tickS":0.1,"zeroS":7}'), "other_clock"),
    "objects that are none": (GOOD.replace(b'"objects":[', b'"objects":[7,'), "bad_field"),
}


@pytest.mark.parametrize("name", BAD)
def test_nonsense_is_refused_with_its_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(MessageError) as caught:
        decode(data, clock=Clock(0.1, 1.7e9))
    assert caught.value.reason == reason and len(str(caught.value)) < 200 and "roof" not in str(caught.value)


def test_too_large_and_too_many_are_refused() -> None:
    with pytest.raises(MessageError) as caught:
        decode(GOOD, max_bytes=len(GOOD) - 1)
    assert caught.value.reason == "too_large"
    message = json.loads(GOOD)
    message["frames"][0]["ended"] = ["1"] * 10_001
    with pytest.raises(MessageError, match="at most 10000"):
        decode(json.dumps(message).encode())


def test_vectors_of_another_network_are_refused() -> None:
    with pytest.raises(MessageError, match="same ReID network"):
        decode_tick(GOOD, CAMIDS, dim=DIM + 1)


def _places(value, path=()):
    yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(below, (*path, key))


NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False),
    st.sampled_from([1e308, -1e308, 5e-324, 1 << 4000, -(1 << 63), "\x00", "\x1b[2J", "\ud800", "1" * 100, [[[[[]]]]]]),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_taken_or_refused_and_nothing_else(data) -> None:
    message = copy.deepcopy(json.loads(GOOD))
    path = data.draw(st.sampled_from([p for p in _places(message) if p]))
    place = message
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(NONSENSE)
    try:
        tick = decode(json.dumps(message).encode())
    except MessageError as error:
        assert str(error)
        return
    for frame in tick.frames:
        assert np.isfinite(frame.tracks.xyxy).all() and (frame.tracks.track_id >= 1).all()
        assert np.isfinite(frame.embeddings.vector).all() and math.isfinite(frame.time_s)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)
    with pytest.raises(MessageError):
        decode_event(data, CAMIDS)
