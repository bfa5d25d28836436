"""Trace context that a client says in headers instead of `_meta`, for plugins whose operator wants it.

Guarantees that `_meta` says nothing else because of a header: what a client writes there itself stands, a trace is
taken whole from one place or not at all, and neither its form nor its size makes a call fail. What is taken is part of
the call from then on: searched, sealed and committed to in the log like all of `_meta`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from sekisho.gateway.caller import MAX_META_BYTES, spread
from sekisho.protocol import JsonObject, read_trace

__all__ = ["with_trace"]

_AROUND: Final = len(b'"":,')
_encode: Final = msgspec.json.Encoder().encode


def with_trace(meta: JsonObject, headers: Mapping[str, str], names: Collection[str]) -> JsonObject:
    """The `_meta` of a call, and with it what these headers say of its trace.

    Args:
        headers: lower-case names.
        names: those that the plugin is to get (`protocol.TRACE_NAMES`).
    """
    said = read_trace(headers, names)
    if "traceparent" in meta or "tracestate" in meta:  # a state belongs to its parent
        said.pop("traceparent", None)
        said.pop("tracestate", None)
    if "baggage" in meta:
        said.pop("baggage", None)
    if not said:
        return meta
    room = MAX_META_BYTES - len(spread(meta) or b"{}")
    whole = dict(meta)
    for name, value in said.items():
        room -= len(name) + len(_encode(value)) + _AROUND
        if room < 0:
            break  # in the order of their worth; a state is never alone
        whole[name] = value
    return whole
