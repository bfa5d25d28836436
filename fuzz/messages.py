"""JSON messages, tool calls and strict texts: what was judged is what every reader finds in what is sent."""

from __future__ import annotations

import json

import msgspec
from msgspec import Raw

from fuzz.values import exactly, hold, read_by_all
from sekisho.errors import SekishoError
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    ClientResponse,
    JsonLimits,
    Request,
    Response,
    parse_client_message,
    parse_message,
    parse_strict,
    parse_tool_call,
    reemit,
    request_bytes,
    split_batch,
)

__all__ = ["call_of", "client_message", "plugin_message", "strict_text", "tool_call"]

LIMITS = JsonLimits(max_bytes=1 << 20, max_depth=64, max_members=10_000)
TWICE = JsonLimits(max_bytes=3 << 20, max_depth=65, max_members=20_010)
_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_CALL = frozenset({"name", "arguments", "_meta"})


def client_message(data: bytes) -> None:
    """What a client says is read whole: each member once at every depth, with the value all readers find."""
    try:
        read = parse_client_message(data, LIMITS)
    except SekishoError:
        return
    value = _envelope(data)
    match read:
        case ClientRequest() | ClientNotification():
            hold(value["method"] == read.method, "the method is another")
            hold(exactly(read.params) == exactly(value.get("params", {})), "the parameters are others")
        case ClientResponse():
            hold(exactly(read.result) == exactly(value.get("result")), "the result is another")
            hold(exactly(read.error) == exactly(value.get("error")), "the error is another")
    if isinstance(read, ClientRequest | ClientResponse):
        hold(exactly(value["id"]) == exactly(read.id), "the id is another")
    if isinstance(read, ClientRequest):
        again = request_bytes(read.id, read.method, msgspec.json.encode(read.params))
        hold(parse_client_message(again, LIMITS) == read, "a written request is read as another one")


def plugin_message(data: bytes) -> None:
    """What a plugin says: each member once, alone or with others; a part that can be passed on has one value."""
    try:
        read = parse_message(data, LIMITS)
    except SekishoError:
        return
    together = split_batch(b"[" + data + b" ," + data + b"]", TWICE, most=2)
    hold([parse_message(one, LIMITS) for one in together] == [read, read], "together they say something else")
    value = _envelope(data)
    if isinstance(read, Response):
        hold(exactly(value["id"]) == exactly(read.id), "the id is another")
        _same(read.result, value.get("result"))
        _same(read.error, value.get("error"))
        return
    hold(value["method"] == read.method, "the method is another")
    _same(read.params, value.get("params"))
    if isinstance(read, Request):
        hold(exactly(value["id"]) == exactly(read.id), "the id is another")


def call_of(params: bytes) -> tuple[str, bytes] | None:
    """Tool and arguments as they would be sent, for these parameters of `tools/call`; None when refused."""
    text = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + b"}"
    try:
        read = parse_client_message(text, LIMITS)
        if not isinstance(read, ClientRequest):
            raise AssertionError("a request became something else")
        call = parse_tool_call(read.params)
    except SekishoError:
        return None
    return call.name, msgspec.json.encode(call.arguments)


def tool_call(data: bytes) -> None:
    """The arguments a plugin receives are those that were judged, whoever reads them."""
    call = call_of(data)
    if call is None:
        return
    text = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + data + b"}"
    value = json.loads(text, object_pairs_hook=_once)["params"]
    near = [name for name in value if name.casefold() in _CALL and name not in _CALL]
    hold(not near, "a case variant of a member was accepted")
    hold(call[0] == value["name"], "the name is another")
    _sent(call[1], value.get("arguments", {}))


def strict_text(data: bytes) -> None:
    """A strict text means one value to every reader, and writing it again changes nothing."""
    try:
        value = parse_strict(data, LIMITS)
        sent = reemit(data)
    except SekishoError:
        return
    hold(exactly(value) == read_by_all(data), "the value differs from what other readers find")
    _sent(sent, value)


def _envelope(data: bytes) -> dict[str, object]:
    pairs = json.loads(data, object_pairs_hook=_pairs)
    names = [name for name, _ in pairs]
    hold(len(set(names)) == len(names), "a member of the message stands twice")
    hold(set(names) <= _MEMBERS, "a member JSON-RPC does not know was accepted")
    value: dict[str, object] = json.loads(data)
    hold(value["jsonrpc"] == "2.0", "another version")
    return value


def _sent(sent: bytes, judged: object) -> None:
    hold(read_by_all(sent) == exactly(judged), "what is sent is not what was judged")
    hold(reemit(sent) == sent, "writing it again changes it")
    parse_strict(sent, LIMITS)


def _same(raw: Raw, value: object) -> None:
    """A raw part, once it can be passed on at all, holds the value other readers find there."""
    if not raw:
        hold(value is None, "a member was dropped")
        return
    try:
        sent = reemit(raw)
    except SekishoError:
        return
    hold(read_by_all(sent) == exactly(value), "a member holds another value")


def _pairs(found: list[tuple[str, object]]) -> list[tuple[str, object]]:
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    hold(len(dict(pairs)) == len(pairs), "a key stands twice in what was accepted")
    return dict(pairs)
