"""Trace context of a message as lines of its head: what its `_meta` says, for a server that reads headers.

Guarantees that only the configured names appear, only with a value of the W3C's grammar (`protocol.read_trace`), and that
a message which says nothing of the kind is not read. Judgement only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from sekisho.protocol import header_lines, read_trace

__all__ = ["trace_lines"]


class _Meta(msgspec.Struct, gc=False):
    traceparent: object = None
    tracestate: object = None
    baggage: object = None


class _Params(msgspec.Struct, gc=False):
    meta: _Meta = msgspec.field(default_factory=_Meta, name="_meta")


class _Message(msgspec.Struct, gc=False):
    params: _Params = msgspec.field(default_factory=_Params)


_read: Final = msgspec.json.Decoder(_Message).decode


def trace_lines(message: bytes, names: Collection[str]) -> bytes:
    """The header lines; none for a message that says no trace, or cannot be read."""
    if b'"traceparent":' not in message and b'"baggage":' not in message:
        return b""
    try:
        meta = _read(message).params.meta
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return b""
    said = {"traceparent": meta.traceparent, "tracestate": meta.tracestate, "baggage": meta.baggage}
    return header_lines(tuple(read_trace(said, names).items()))
