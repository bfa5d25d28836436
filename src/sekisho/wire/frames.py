"""Frames of the channel: `u32 length | sealed record`, and inside a record one frame or more, back to back.

A frame is `u8 kind | u64 call | u32 size | payload`. All small frames of one loop turn share a record, because
a record costs a seal and a frame inside it costs nothing. A large payload is a record of its own, right behind
the record whose last frame announces it, so that it is never copied into another.

Guarantees that a reader never holds more than one record's limit plus one read, that a length is judged before
its bytes are awaited, that the pieces in which bytes arrive change nothing and cost linear time, and that an
unknown kind or a frame that does not fill its record is an error, not a surprise. Judgement: bytes in, values
out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from sekisho.errors import RemoteProtocolError

__all__ = [
    "HEAD_BYTES",
    "INLINE_BYTES",
    "MAX_BATCH_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_SHARED_BYTES",
    "Frame",
    "FrameReader",
    "Kind",
    "Opened",
    "Payload",
    "cut",
    "frame_head",
    "length_prefix",
    "prefix_of_sealed",
    "whole",
]

MAX_FRAME_BYTES: Final = 64 << 20  # one call must not exhaust the memory of the other end
HEAD_BYTES: Final = 13
SEAL_BYTES: Final = 16  # the AES-GCM tag around each record
MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - HEAD_BYTES - SEAL_BYTES
INLINE_BYTES: Final = 16 << 10  # up to here a payload shares its record; copying more costs more than a seal
MAX_BATCH_BYTES: Final = 64 << 10  # the other end begins to work before a long turn of ours is over
MAX_SHARED_BYTES: Final = (
    MAX_BATCH_BYTES + INLINE_BYTES + 2 * HEAD_BYTES
)  # millions of tiny frames are an attack
_FOLLOWS: Final = 0xFFFF_FFFF  # a size no payload can have: the payload is the next record
_HEAD: Final = struct.Struct(">BQI")
_LENGTH: Final = struct.Struct(">I")
_LEAST_BUFFER: Final = 64 << 10
_ROOM: Final = 32 << 10  # moving for less would make a stream of tiny pieces dear
_WHOLE_BUFFER: Final = 4 << 20  # up to here a record's buffer is made at once; beyond, as its bytes arrive


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
    NOTE = 11
    EVENT = 12
    ASK = 13
    ANSWER = 14
    ERROR = 15
    DENIAL = 16
    RECORDED = 17


Frame = tuple[int, int, bytes]  # kind, call number, payload; kinds stay plain numbers on the path of a call
Payload = bytes | memoryview  # a view of a large one: all of one of our `Places`
Opened = tuple[int, int, Payload]

_KINDS: Final = frozenset(int(kind) for kind in Kind)
_pack: Final = _HEAD.pack
_unpack: Final = _HEAD.unpack_from


def frame_head(kind: int, call: int, size: int | None) -> bytes:
    """What stands before a payload of `size` bytes; None: the payload is the next record."""
    return _pack(kind, call, _FOLLOWS if size is None else size)


def cut(record: bytes) -> tuple[list[Frame], tuple[int, int] | None]:
    """The frames of an opened record, and kind and call of the payload that is the next record, if any."""
    frames: list[Frame] = []
    at, end = 0, len(record)
    if end > MAX_SHARED_BYTES:
        raise _broken("a record of frames is too long")
    while True:
        start = at + HEAD_BYTES
        if start > end:
            raise _broken("a frame is shorter than its head")
        head: tuple[int, int, int] = _unpack(record, at)
        kind, call, size = head
        if kind not in _KINDS:
            raise _broken(f"frame kind {kind} is unknown")
        if size == _FOLLOWS:
            if start != end:
                raise _broken("something stands behind the announcement of a large payload")
            return frames, (kind, call)
        at = start + size
        if at > end:
            raise _broken("a frame is longer than its record")
        frames.append((kind, call, record[start:at]))
        if at == end:
            return frames, None


def length_prefix(record: bytes) -> bytes:
    """The four bytes that go before a record."""
    return _LENGTH.pack(len(record))


def prefix_of_sealed(plaintext: Payload) -> bytes:
    """The same before the plaintext is sealed."""
    return _LENGTH.pack(len(plaintext) + SEAL_BYTES)


def whole(payload: Payload) -> bytes:
    """The bytes of a payload, for whoever keeps or reads them as such."""
    return payload if isinstance(payload, bytes) else bytes(payload)


class FrameReader:
    """Cuts a byte stream into records, in a buffer of its own that the transport fills."""

    __slots__ = ("_buffer", "_end", "_limit", "_start", "_view")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._start = 0
        self._end = 0
        self._renew(0)  # a connection that says nothing takes no buffer

    def get_buffer(self, hint: int) -> memoryview:
        """Where the next bytes belong; then call `filled`."""
        if self._start == self._end:
            self._start = self._end = 0
        if len(self._buffer) - self._end < max(hint, 1):
            self._make_room(max(2 * hint, _ROOM))
        return self._view[self._end :]

    def filled(self, count: int) -> Iterator[memoryview]:
        """Every record now complete, each good until the next; raises `RemoteProtocolError` for a bad length."""
        self._end += count
        while self._end - self._start >= 4:
            start = self._start + 4
            stop = start + self._length()
            if stop > self._end:
                return
            self._start = stop
            yield self._view[start:stop]

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The same for bytes that lie elsewhere."""
        self.get_buffer(len(data))[: len(data)] = data
        yield from self.filled(len(data))

    def trim(self) -> None:
        """Give back what a large record needed."""
        if self._start == self._end and len(self._buffer) > _LEAST_BUFFER:
            self._start = self._end = 0
            self._renew(0)

    def _length(self) -> int:
        length: int = _LENGTH.unpack_from(self._buffer, self._start)[0]
        if not 0 < length <= self._limit:
            raise _broken(f"a record of {length} bytes is not allowed")
        return length

    def _make_room(self, hint: int) -> None:
        """Move what is unfinished to the front; a buffer too small for it doubles, so that moving stays linear."""
        held = self._view[self._start : self._end]
        count = len(held)
        wanted = self._length() + 4 if count >= 4 else 0
        if wanted > _WHOLE_BUFFER:  # a length alone must not make us take memory
            wanted = 2 * count
        size = max(wanted, count) + hint
        if size > len(self._buffer):
            self._renew(max(size, _LEAST_BUFFER))
        self._view[:count] = held  # in the same buffer too: memory is moved as if by way of another
        self._start, self._end = 0, count

    def _renew(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)


def _broken(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", what)
