"""JSON-RPC 2.0 messages of MCP, read only as far as a decision needs, and written again from what was read.

Guarantees
- One message is an object with `jsonrpc` "2.0" and known members only, each named once and spelled exactly; a
  message that two readers could take for two different ones is refused, never guessed at.
- Ids are integers or strings. `params`, `result` and `error` stay raw bytes (`msgspec.Raw`), proved to be JSON
  objects; whoever forwards them uses `reemit`.
- The proof that no member was dropped as a duplicate is exact and almost free: the lengths of the parsed
  members plus their punctuation must add up to the length of the text, or the members written out again must
  equal it. Only a text with other blanks or escapes is read again in full.

Read so by whoever passes answers on without judging them; the gate reads whole values (`client_messages`). Does not
know methods, revisions or headers (`ladder` does).
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol.json_text import JsonLimits, check_text, refuse_duplicates

__all__ = [
    "Message",
    "Notification",
    "Request",
    "Response",
    "error_bytes",
    "notification_bytes",
    "parse_message",
    "request_bytes",
    "result_bytes",
    "rpc_error",
]

MAX_ID_BYTES: Final = 256  # ids are kept and copied for every call in flight

_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_METHOD: Final = re.compile(r"[A-Za-z0-9_$./-]{1,128}")
_BLANKS: Final = b" \t\r\n"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A question that must be answered under its id. `params` is empty when absent."""

    id: int | str
    method: str
    params: Raw = Raw()


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A message without an answer. `params` is empty when absent."""

    method: str
    params: Raw = Raw()


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: exactly one of `result` and `error` is non-empty. The id is null only in an error."""

    id: int | str | None
    result: Raw = Raw()
    error: Raw = Raw()


Message: TypeAlias = Request | Notification | Response


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """Every member JSON-RPC knows; case variants are unknown members."""

    jsonrpc: str
    id: Raw = Raw()
    method: str | None = None
    params: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()


_envelopes: Final = msgspec.json.Decoder(_Envelope)
_arrays: Final = msgspec.json.Decoder(list[Raw])
_objects: Final = msgspec.json.Decoder(dict[str, Raw])
_strings: Final = msgspec.json.Decoder(str)
_encode: Final = msgspec.json.Encoder().encode


def parse_message(data: bytes, limits: JsonLimits) -> Message:
    """Read one message.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_*`, `batch_refused` or `message_invalid`.
    """
    check_text(data, limits)
    try:
        read = _envelopes.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _unreadable(data, error) from error
    if read.jsonrpc != "2.0":
        raise _invalid("jsonrpc is not 2.0")
    if _length(read) != len(data):
        _refuse_dropped_members(data)
    if read.method is None:
        return _response(read)
    if not _METHOD.fullmatch(read.method):
        raise _invalid("the method is not a method name")
    params = read.params
    if (params and not _is_object(params)) or read.result or read.error:
        raise _invalid("params is an object, and a request has no result or error")
    if not read.id:
        return Notification(method=read.method, params=params)
    return Request(id=_id(read.id), method=read.method, params=params)


def split_batch(data: bytes, limits: JsonLimits, *, most: int) -> list[bytes]:
    """The texts of the messages in an array of them, none of which is read yet.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_*`, `batch_refused` or `message_invalid`.
    """
    check_text(data, limits)
    try:
        texts = _arrays.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _unreadable(data, error) from error
    if not texts:
        raise _invalid("a batch is an array of messages")
    if len(texts) > most:
        raise RemoteProtocolError("batch_refused", f"a batch has at most {most} messages")
    return [bytes(text) for text in texts]


def request_bytes(id: int | str, method: str, params: bytes | None = None) -> bytes:  # noqa: A002 - JSON-RPC's word
    """One request; `params` is a JSON object already encoded."""
    tail = b"}" if params is None else b',"params":' + params + b"}"
    return b'{"jsonrpc":"2.0","id":' + _encode(id) + b',"method":' + _encode(method) + tail


def notification_bytes(method: str, params: bytes | None = None) -> bytes:
    """One notification; `params` is a JSON object already encoded."""
    tail = b"}" if params is None else b',"params":' + params + b"}"
    return b'{"jsonrpc":"2.0","method":' + _encode(method) + tail


def result_bytes(id: int | str, result: bytes | Raw) -> bytes:  # noqa: A002 - JSON-RPC's word
    """A successful answer; `result` is a JSON object already encoded."""
    return b'{"jsonrpc":"2.0","id":' + _encode(id) + b',"result":' + bytes(result) + b"}"


def error_bytes(
    id: int | str | None,  # noqa: A002 - JSON-RPC's word
    error: SekishoError,
    *,
    call_id: str | None = None,
    number: int | None = None,
) -> bytes:
    """An answer that refuses: the code and remedy for programs, the sentence for people.

    Args:
        number: The JSON-RPC code, where a revision wants another than ours.
    """
    told = rpc_error(error, call_id=call_id, number=number)
    return b'{"jsonrpc":"2.0","id":' + _encode(id) + b',"error":' + told + b"}"


def rpc_error(error: SekishoError, *, call_id: str | None = None, number: int | None = None) -> bytes:
    """The error object of such an answer."""
    data: dict[str, object] = {**error.facts, "code": error.code, "remedy": error.remedy}
    if call_id is not None:
        data["call"] = call_id
    code = error.info.rpc_code if number is None else number
    return _encode({"code": code, "message": error.message, "data": data})


def _response(read: _Envelope) -> Response:
    if read.params or bool(read.result) == bool(read.error) or not read.id:
        raise _invalid("a response has an id and exactly one of result and error")
    if not _is_object(read.result or read.error):
        raise _invalid("a result or error is an object")
    if bytes(read.id) != b"null":
        return Response(id=_id(read.id), result=read.result, error=read.error)
    if read.result:
        raise _invalid("a result answers an id")
    return Response(id=None, error=read.error)


def _id(raw: Raw) -> int | str:
    text = bytes(raw)
    if len(text) <= MAX_ID_BYTES:
        if _INTEGER.fullmatch(text):
            return int(text)
        try:
            return _strings.decode(raw)
        except msgspec.ValidationError:
            pass  # another kind of value
        except (msgspec.DecodeError, UnicodeError) as error:
            raise RemoteProtocolError("json_malformed", "a string is not strict JSON") from error
    raise _invalid("the id is a short string or an integer")


def _length(read: _Envelope) -> int:
    """How long the text is if it holds each member once, without blanks and without escapes in names."""
    total = 16  # {"jsonrpc":"2.0"
    if read.id:
        total += 6 + len(bytes(read.id))  # ,"id":
    if read.method is not None:
        total += 12 + len(read.method)  # ,"method":"" (a method is ASCII, or refused below)
    if read.params:
        total += 10 + len(bytes(read.params))  # ,"params":
    if read.result:
        total += 10 + len(bytes(read.result))
    if read.error:
        total += 9 + len(bytes(read.error))
    return total + 1


def _refuse_dropped_members(data: bytes) -> None:
    """Prove that a parse dropped no member by writing them out in the two usual styles; else read it all."""
    try:
        members = _objects.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _unreadable(data, error) from error
    bare = data.strip(_BLANKS)
    for comma, colon in ((b",", b":"), (b", ", b": ")):
        written = comma.join([_encode(name) + colon + bytes(value) for name, value in members.items()])
        if bare[1:-1] == written:
            return
    refuse_duplicates(data)


def _is_object(raw: Raw) -> bool:
    return bytes(raw)[:1] == b"{"


def _unreadable(data: bytes, error: Exception) -> RemoteProtocolError:
    if isinstance(error, RecursionError):
        return RemoteProtocolError("json_too_deep", "the message is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return RemoteProtocolError("json_malformed", "the message is not strict JSON")
    if data.lstrip(_BLANKS)[:1] == b"[":
        return RemoteProtocolError("batch_refused", "batches are not accepted")
    return _invalid("the message is not an object of JSON-RPC members")


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("message_invalid", what)
