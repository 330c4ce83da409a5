"""The bytes of a journal file.

A file begins with a header, records follow without gaps. All numbers are little-endian:

    header   8 bytes magic "CCJRNL01"
    record   u32 length of the payload, u32 CRC-32 of all that follows, u64 sequence number, f64 event time in seconds,
             u8 kind (0 entry, 1 snapshot), payload

Sequence numbers rise; after a compaction there may be gaps. A length beyond `MAX_PAYLOAD_BYTES` is damage.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"CCJRNL01"
MAX_PAYLOAD_BYTES = 1 << 30
ENTRY, SNAPSHOT = 0, 1
_HEAD = struct.Struct("<II")
_BODY = struct.Struct("<QdB")


class Record(NamedTuple):
    """`time_s` is the event time, `seq` the place in the journal, from 1."""

    seq: int
    time_s: float
    kind: int
    payload: bytes


class Damage(NamedTuple):
    """Where a file can not be read any further."""

    offset: int
    reason: str


def encode(record: Record) -> bytes:
    """Raises ValueError for a payload that is too large."""
    if len(record.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a journal entry may have {MAX_PAYLOAD_BYTES} bytes, got {len(record.payload)}")
    body = _BODY.pack(record.seq, record.time_s, record.kind) + record.payload
    return _HEAD.pack(len(record.payload), zlib.crc32(body)) + body


def decode(data: bytes, last_seq: int = 0) -> Iterator[tuple[int, Record | Damage]]:
    """(offset behind it, record) of each whole record of a file; at the end a `Damage` where not all is whole."""
    if data[: len(MAGIC)] != MAGIC:
        torn = MAGIC.startswith(data[: len(MAGIC)])
        yield 0, Damage(0, "the header is not whole" if torn else "this is no journal file")
        return
    offset = len(MAGIC)
    while offset < len(data):
        if offset + _HEAD.size + _BODY.size > len(data):
            yield offset, Damage(offset, "the head of a record is not whole")
            return
        length, crc = _HEAD.unpack_from(data, offset)
        start, end = offset + _HEAD.size, offset + _HEAD.size + _BODY.size + length
        if length > MAX_PAYLOAD_BYTES or end > len(data):
            yield offset, Damage(offset, "a record is not whole")
            return
        if zlib.crc32(memoryview(data)[start:end]) != crc:
            yield offset, Damage(offset, "the checksum of a record is wrong")
            return
        seq, time_s, kind = _BODY.unpack_from(data, start)
        if seq <= last_seq:
            yield offset, Damage(offset, f"record {seq} follows record {last_seq}")
            return
        last_seq, offset = seq, end
        yield end, Record(seq, time_s, kind, data[start + _BODY.size : end])
