"""What a plugin's answer must be, member by member: of a tool, of another method, a round of questions, an error.

Guarantees that each has the form of its method, that a tool's result fits the approved output schema, that a question is
one which this client may be asked, and that a plugin's own error cannot speak with the gateway's codes or remedies.
Searching what is said is `returns`' business, and `remarks`'. Judgement over values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from sekisho.errors import CODES, Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.approvals import APPROVAL
from sekisho.gateway.checkpoint import House
from sekisho.gateway.methods import METHODS
from sekisho.gateway.questions import MAX_QUESTIONS, read_question
from sekisho.gateway.stages import Sealed
from sekisho.protocol import (
    META_CALL,
    META_SERVER_INFO,
    JsonLimits,
    JsonObject,
    JsonValue,
    place_of,
    read_alike,
    read_distinct,
)
from sekisho.registry import Definition

__all__ = [
    "drop_our_names",
    "error_body",
    "may_ask",
    "method_result",
    "no_result",
    "put_meta_last",
    "read_lying",
    "read_object",
    "read_questions",
    "round_of_questions",
    "tool_result",
]

WORTH_CUTTING: Final = 16 << 10  # bytes; a small result is written anew in less time than it takes to cut it
MAX_KEY_CHARS: Final = 64  # of a question in a round; the keys travel within the sealed state

_encode: Final = msgspec.json.Encoder().encode
# Of refusals; and of credentials, headers and versions, where a client would act on a word of ours.
_OUR_NUMBERS: Final = frozenset(
    {info.rpc_code for info in CODES.values() if -32099 <= info.rpc_code <= -32050} | {-32001, -32020, -32022}
)
_URL_REQUIRED: Final = -32042  # MCP 2025-11-25
_NOT_FOUND: Final = (-32002, -32602)  # a resource that is not there: until 2025-11-25, and since
_OUR_WORDS: Final = frozenset({"code", "remedy", "call", "plugin"})


def may_ask(sealed: Sealed, house: House, *styles: str) -> frozenset[str]:
    """What may be asked of this client in one of these styles."""
    caller, standing = sealed.caller, house.standings.get(sealed.call.plugin)
    if caller is None or standing is None or caller.style not in styles:
        return frozenset()
    return caller.may_be_asked(standing.client_requests)


def read_lying(view: memoryview, limits: JsonLimits) -> tuple[JsonObject, bytes | bytearray]:
    """`read_object` for a large text in its place, which is in our own spelling nearly always."""
    place = place_of(view)
    if len(place) <= limits.max_bytes:
        try:
            value = read_alike(place, limits)
        except SekishoError as error:
            raise no_result() from error
        if isinstance(value, dict):
            return value, place
    return read_object(bytes(place), limits)


def read_object(text: bytes, limits: JsonLimits) -> tuple[JsonObject, bytes]:
    """An object as it was understood, and in our own spelling."""
    if len(text) > limits.max_bytes:
        raise Refused("result_too_large", f"the result exceeds {limits.max_bytes} bytes")
    try:
        value, emitted = read_distinct(text, limits)
    except SekishoError as error:
        raise no_result() from error
    if not isinstance(value, dict):
        raise no_result()
    return value, emitted


def tool_result(
    definition: Definition | None, value: JsonObject, emitted: bytes | bytearray
) -> bytes | memoryview:
    """The result of a tool. `resultType` is taken out of it: which era needs it, the door knows."""
    # what every tool result has (MCP 2025-11-25 server/tools): a list of content blocks
    if not isinstance(value.get("content"), list):
        raise no_result()
    if definition is not None:
        definition.check_result(value, len(emitted))
    if "resultType" not in value and "_meta" not in value:
        return emitted if isinstance(emitted, bytes) else memoryview(emitted).toreadonly()
    if len(emitted) > WORTH_CUTTING:
        return _cut(value, emitted)
    value.pop("resultType", None)
    put_meta_last(value)
    return _encode(value)


def _cut(value: JsonObject, emitted: bytes | bytearray) -> bytes | memoryview:
    """The same for a large result, whose last members these nearly always are: they are cut off and written anew.

    What `emitted` ends with is then known to be those members of the outermost object: a bracket more is closed in it
    than opened, and a quote in it that ended a string from before would leave a bare name behind it.
    """
    said: JsonObject = {name: value[name] for name in value if name in ("resultType", "_meta")}
    end = b"," + _encode(said)[1:]
    for name in said:
        del value[name]
    said.pop("resultType", None)
    put_meta_last(said)
    value |= said
    if not emitted.endswith(end):
        return _encode(value)
    tail = b"," + _encode(said)[1:] if said else b"}"
    size = len(emitted) - len(end)
    if isinstance(emitted, bytes):
        return b"".join((memoryview(emitted)[:size], tail))
    place = memoryview(emitted)  # of this answer alone, and no longer than what it takes the place of
    place[size : size + len(tail)] = tail
    return place[: size + len(tail)].toreadonly()


def drop_our_names(value: JsonObject) -> None:
    """A plugin does not say which server answers, or by which call: to the client, that is the gateway's word."""
    if "_meta" not in value:
        return
    meta = value["_meta"]
    if isinstance(meta, dict):
        meta.pop(META_SERVER_INFO, None)
        meta.pop(META_CALL, None)
    if not meta or not isinstance(meta, dict):
        del value["_meta"]


def put_meta_last(value: JsonObject) -> None:
    """Drop our names; what is left of a plugin's `_meta` stands last, where ours are put beside it."""
    drop_our_names(value)
    if "_meta" in value:
        value["_meta"] = value.pop("_meta")


def method_result(operation: str, value: JsonObject) -> bytes:
    """The result of another method, without what eras differ in; how long it may be kept, we say ourselves."""
    method = METHODS[operation]
    if method.member is not None and not isinstance(value.get(method.member), method.holds):
        raise no_result()
    for name in ("resultType", "ttlMs", "cacheScope"):
        value.pop(name, None)
    put_meta_last(value)
    return _encode(value)


def round_of_questions(sealed: Sealed, value: JsonObject, house: House) -> tuple[dict[str, str], bytes]:
    """A round of questions: each is one that this client may be asked (MCP 2026-07-28, multi round-trip requests)."""
    requests, state = value.get("inputRequests", {}), value.get("requestState")
    can_ask = sealed.call.is_of_tool or METHODS[sealed.call.tool].can_ask
    if (
        not can_ask
        or sealed.caller is None
        or sealed.caller.style != "rounds"
        or not isinstance(requests, dict)
        or not isinstance(state, str | None)
        or not (requests or state)
    ):
        raise no_result()
    kinds, emitted = read_questions(requests, may_ask(sealed, house, "rounds"))
    result: JsonObject = {"resultType": "input_required"}
    if emitted:
        result["inputRequests"] = emitted
    if state is not None:
        result["requestState"] = state
    return kinds, _encode(result)


def read_questions(
    requests: Mapping[str, JsonValue], allowed: frozenset[str]
) -> tuple[dict[str, str], JsonObject]:
    """The kind of each question by its key, and the questions in our own spelling."""
    if len(requests) > MAX_QUESTIONS:
        raise no_result()
    kinds: dict[str, str] = {}
    emitted: JsonObject = {}
    for key, request in requests.items():
        # the key of our own question is not for plugins: an answer to it is a person's word
        if key == APPROVAL or len(key) > MAX_KEY_CHARS:
            raise no_result()
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise no_result()
        method, params = str(request["method"]), request.get("params", {})
        if not isinstance(params, dict):
            raise no_result()
        kinds[key], read = read_question(method, params, allowed)
        emitted[key] = {"method": method, "params": read} if read else {"method": method}
    return kinds, emitted


def error_body(sealed: Sealed, value: JsonObject, house: House) -> JsonObject:
    """A plugin's own error: its number and words are data, and are marked as the plugin's."""
    number, message, data = value.get("code"), value.get("message"), value.get("data")
    if type(number) is not int or not isinstance(message, str) or abs(number) >= 1 << 31:
        raise no_result()
    # a plugin must not speak with our voice: neither our numbers nor our codes and remedies
    told: JsonObject = {}
    if isinstance(data, dict):
        told = {name: one for name, one in data.items() if name.casefold() not in _OUR_WORDS}
    elif data is not None:
        told["data"] = data
    if number == _URL_REQUIRED:
        told["elicitations"] = _links(sealed, told.get("elicitations", []), house)
    if number in _NOT_FOUND and sealed.call.tool == "resources/read":
        told["uri"] = sealed.call.target  # as the client named it
    told["plugin"] = sealed.call.plugin
    return {"code": -32603 if number in _OUR_NUMBERS else number, "message": message, "data": told}


def _links(sealed: Sealed, wanted: JsonValue, house: House) -> list[JsonValue]:
    """What a person has to open first is asked of them, error or not, and judged as a question is."""
    if not isinstance(wanted, list) or len(wanted) > MAX_QUESTIONS:
        raise no_result()
    allowed = may_ask(sealed, house, "rounds", "stream") & {"elicitation/url"}
    read: list[JsonValue] = []
    for one in wanted:
        if not isinstance(one, dict):
            raise no_result()
        read.append(read_question("elicitation/create", {**one, "mode": "url"}, allowed)[1])
    return read


def no_result() -> RemoteProtocolError:
    """It is not what MCP says it is."""
    return RemoteProtocolError("plugin_protocol", "the plugin's answer is not an MCP result of its method")
