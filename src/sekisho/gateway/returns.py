"""What comes back from a plugin: results, rounds of questions, errors; judged before a client sees it.

Guarantees
- whatever is passed on is of our own spelling, within the limits, without a member named twice, and was searched by the
  content rules: every member of every kind of content, not the text of tools alone;
- a result has the form of its method, and that of a tool fits the approved output schema;
- a plugin's own error keeps its number and words, but cannot speak with the gateway's codes or remedies;
- a question is one that this client may be asked.

What is said before that is judged in `remarks`. Judgement over values, as `checkpoint` is for the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.detect import refusal
from sekisho.errors import CODES, PluginError, Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.approvals import APPROVAL
from sekisho.gateway.checkpoint import House, judge
from sekisho.gateway.methods import METHODS
from sekisho.gateway.questions import MAX_QUESTIONS, read_question
from sekisho.gateway.stages import Answered, Arrived, Held, Refusal, Sealed
from sekisho.protocol import (
    META_SERVER_INFO,
    JsonLimits,
    JsonObject,
    JsonValue,
    check_text,
    decode_distinct,
)

__all__ = ["GATE", "Gate", "may_ask", "read_object", "release", "release_error"]

MAX_ERROR_BYTES: Final = 64 << 10
MAX_KEY_CHARS: Final = 64  # of a question in a round; the keys travel within the sealed state

_encode: Final = msgspec.json.Encoder().encode
# Of refusals; and of credentials, headers and versions, where a client would act on a word of ours.
_OUR_NUMBERS: Final = frozenset(
    {info.rpc_code for info in CODES.values() if -32099 <= info.rpc_code <= -32050} | {-32001, -32020, -32022}
)
_URL_REQUIRED: Final = -32042  # MCP 2025-11-25
_OUR_WORDS: Final = frozenset({"code", "remedy", "call", "plugin"})


@dataclass(frozen=True, slots=True)
class Gate:
    """The judgements that a road goes through. There is one gate; another is given to a road only to measure it."""

    judge: Callable[[Arrived, House], Sealed | Held | Refusal]
    release: Callable[[Sealed, bytes, House], Answered | Refusal]


def release(sealed: Sealed, result: bytes, house: House) -> Answered | Refusal:
    """Inspect what the plugin answered; the caller receives bytes of our own emission or a refusal."""
    try:
        value, emitted = read_object(result, house.result_limits)
        questions: dict[str, str] | None = None
        if value.get("resultType") == "input_required":
            questions, emitted = _round(sealed, value, house)
        elif sealed.call.is_of_tool:
            emitted = _tool_result(sealed, value, emitted)
        else:
            emitted = _method_result(sealed.call.tool, value)
        findings = house.inspection.judge_result(emitted)
        if findings.refused:
            raise refusal(findings, "result")
        return Answered(sealed, emitted, findings.rule_ids, questions)
    except SekishoError as error:
        return Refusal.of(sealed.call, sealed.client, error)


def release_error(sealed: Sealed, error: PluginError, house: House) -> Refusal:
    """Inspect a plugin's own error: its number and words are data, and are marked as the plugin's."""
    given: SekishoError
    try:
        limits = house.result_limits
        if len(error.body) > MAX_ERROR_BYTES:
            raise Refused("result_too_large", f"the plugin's error exceeds {MAX_ERROR_BYTES} bytes")
        value, _ = read_object(error.body, limits)
        emitted = _encode(_error_body(sealed, value, house))
        findings = house.inspection.judge_result(emitted)
        given = refusal(findings, "result") if findings.refused else PluginError(emitted)
    except SekishoError as problem:
        given = problem
    return Refusal.of(sealed.call, sealed.client, given)


def may_ask(sealed: Sealed, house: House, *styles: str) -> frozenset[str]:
    """What may be asked of this client in one of these styles."""
    caller, standing = sealed.caller, house.standings.get(sealed.call.plugin)
    if caller is None or standing is None or caller.style not in styles:
        return frozenset()
    return caller.may_be_asked(standing.client_requests)


def read_object(text: bytes, limits: JsonLimits) -> tuple[JsonObject, bytes]:
    """An object as it was understood, and in our own spelling."""
    if len(text) > limits.max_bytes:
        raise Refused("result_too_large", f"the result exceeds {limits.max_bytes} bytes")
    try:
        check_text(text, limits)
        value, emitted = decode_distinct(text)
    except SekishoError as error:
        raise _no_result() from error
    if not isinstance(value, dict):
        raise _no_result()
    return value, emitted


def _tool_result(sealed: Sealed, value: JsonObject, emitted: bytes) -> bytes:
    """The result of a tool. `resultType` is left out: which era needs it, the door knows."""
    # what every tool result has (MCP 2025-11-25 server/tools): a list of content blocks
    if not isinstance(value.get("content"), list):
        raise _no_result()
    if sealed.definition is not None:
        sealed.definition.check_result(value, len(emitted))
    if "resultType" in value or "_meta" in value:
        value.pop("resultType", None)
        _drop_our_names(value)
        return _encode(value)
    return emitted


def _drop_our_names(value: JsonObject) -> None:
    """A plugin does not say which server answers: to the client, that is the gateway."""
    meta = value.get("_meta")
    if isinstance(meta, dict):
        meta.pop(META_SERVER_INFO, None)
        if not meta:
            del value["_meta"]


def _method_result(operation: str, value: JsonObject) -> bytes:
    """The result of another method, without what eras differ in; how long it may be kept, we say ourselves."""
    method = METHODS[operation]
    if method.member is not None and not isinstance(value.get(method.member), method.holds):
        raise _no_result()
    for name in ("resultType", "ttlMs", "cacheScope"):
        value.pop(name, None)
    _drop_our_names(value)
    return _encode(value)


def _round(sealed: Sealed, value: JsonObject, house: House) -> tuple[dict[str, str], bytes]:
    """A round of questions: each is one that this client may be asked (MCP 2026-07-28, multi round-trip requests)."""
    requests, state = value.get("inputRequests", {}), value.get("requestState")
    can_ask = sealed.call.is_of_tool or METHODS[sealed.call.tool].can_ask
    if (
        not can_ask
        or sealed.caller is None
        or sealed.caller.style != "rounds"
        or not isinstance(requests, dict)
        or len(requests) > MAX_QUESTIONS
        or not isinstance(state, str | None)
        or not (requests or state)
    ):
        raise _no_result()
    allowed = may_ask(sealed, house, "rounds")
    kinds: dict[str, str] = {}
    emitted: JsonObject = {}
    for key, request in requests.items():
        # the key of our own question is not for plugins: an answer to it is a person's word
        if key == APPROVAL or len(key) > MAX_KEY_CHARS:
            raise _no_result()
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise _no_result()
        method, params = str(request["method"]), request.get("params", {})
        if not isinstance(params, dict):
            raise _no_result()
        kinds[key], read = read_question(method, params, allowed)
        emitted[key] = {"method": method, "params": read} if read else {"method": method}
    result: JsonObject = {"resultType": "input_required"}
    if emitted:
        result["inputRequests"] = emitted
    if state is not None:
        result["requestState"] = state
    return kinds, _encode(result)


def _error_body(sealed: Sealed, value: JsonObject, house: House) -> JsonObject:
    number, message, data = value.get("code"), value.get("message"), value.get("data")
    if type(number) is not int or not isinstance(message, str) or abs(number) >= 1 << 31:
        raise _no_result()
    # a plugin must not speak with our voice: neither our numbers nor our codes and remedies
    told: JsonObject = {}
    if isinstance(data, dict):
        told = {name: one for name, one in data.items() if name.casefold() not in _OUR_WORDS}
    elif data is not None:
        told["data"] = data
    if number == _URL_REQUIRED:
        told["elicitations"] = _links(sealed, told.get("elicitations", []), house)
    told["plugin"] = sealed.call.plugin
    return {"code": -32603 if number in _OUR_NUMBERS else number, "message": message, "data": told}


def _links(sealed: Sealed, wanted: JsonValue, house: House) -> list[JsonValue]:
    """What a person has to open first is asked of them, error or not, and judged as a question is."""
    if not isinstance(wanted, list) or len(wanted) > MAX_QUESTIONS:
        raise _no_result()
    allowed = may_ask(sealed, house, "rounds", "stream") & {"elicitation/url"}
    read: list[JsonValue] = []
    for one in wanted:
        if not isinstance(one, dict):
            raise _no_result()
        read.append(read_question("elicitation/create", {**one, "mode": "url"}, allowed)[1])
    return read


def _no_result() -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", "the plugin's answer is not an MCP result of its method")


GATE: Final = Gate(judge, release)
