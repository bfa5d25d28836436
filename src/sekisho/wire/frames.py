"""Frames of the channel: `u32 length | sealed record`, and inside the record `u8 kind | u64 call | payload`.

Guarantees that a reader never holds more than one frame's limit plus one read, that a length is judged
before its bytes are awaited, and that an unknown kind is an error, not a surprise. Judgement: bytes in,
values out.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from sekisho.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["MAX_FRAME_BYTES", "FrameReader", "Kind", "decode", "encode", "length_prefix"]

MAX_FRAME_BYTES: Final = 64 << 20  # one call must not exhaust the memory of the other end
HEAD_BYTES: Final = 9
SEAL_BYTES: Final = 16  # the AES-GCM tag around each record
MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - HEAD_BYTES - SEAL_BYTES
_HEAD: Final = struct.Struct(">BQ")


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    CALL = 2
    RESULT = 3
    FAILURE = 4
    CANCEL = 5
    SURFACE = 6
    STATE = 7
    TOKEN = 8
    PING = 9
    PONG = 10


_KINDS: Final = {int(kind): kind for kind in Kind}


def encode(kind: Kind, call: int, payload: bytes) -> bytes:
    """One frame, not yet sealed."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise LocalProtocolError("result_too_large", f"a frame holds at most {MAX_PAYLOAD_BYTES} bytes")
    return _HEAD.pack(kind, call) + payload


def decode(frame: bytes) -> tuple[Kind, int, bytes]:
    """Kind, call number and payload of an opened frame."""
    if len(frame) < HEAD_BYTES:
        raise RemoteProtocolError("plugin_protocol", "a frame is shorter than its head")
    number, call = _HEAD.unpack_from(frame)
    kind = _KINDS.get(number)
    if kind is None:
        raise RemoteProtocolError("plugin_protocol", f"frame kind {number} is unknown")
    return kind, call, frame[HEAD_BYTES:]


def length_prefix(record: bytes) -> bytes:
    """The four bytes that go before a record."""
    return len(record).to_bytes(4)


class FrameReader:
    """Cuts a byte stream into records."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Every record now complete; raises `RemoteProtocolError` for one that is empty or too long."""
        if self._rest:
            self._rest += data
            return self._cut_rest()
        records, position = self._cut(data)
        self._rest += data[position:]
        return records

    def _cut_rest(self) -> list[bytes]:
        # without this every small read of a large frame would copy what is already there
        if len(self._rest) >= 4 and len(self._rest) < 4 + self._length_at(self._rest, 0):
            return []
        records, position = self._cut(bytes(self._rest))
        del self._rest[:position]
        return records

    def _cut(self, data: bytes) -> tuple[list[bytes], int]:
        records = []
        position, end = 0, len(data)
        while end - position >= 4:
            stop = position + 4 + self._length_at(data, position)
            if stop > end:
                break
            records.append(data[position + 4 : stop])
            position = stop
        return records, position

    def _length_at(self, data: bytes | bytearray, position: int) -> int:
        length = int.from_bytes(data[position : position + 4])
        if not 0 < length <= self._limit:
            raise RemoteProtocolError("plugin_protocol", f"a record of {length} bytes is not allowed")
        return length
