"""What a plugin says before the answer of a call: progress, notifications, questions; judged before a client hears it.

Guarantees
- whatever is passed on is of our own spelling, within the limits, without a member named twice, and was searched by the
  content rules;
- a notification is one that may be heard on its call: news of a resource only from the plugin that has it and to whom may
  read it, a log message only with a level that the call wants;
- a question goes only to a client that takes questions on a stream, declared this one, and may be asked by this plugin.

Judgement over values, as `returns` is for the answer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.detect import refusal
from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.gateway.blobs import judge_with_blobs
from sekisho.gateway.caller import LOG_LEVELS, Caller
from sekisho.gateway.checkpoint import House
from sekisho.gateway.questions import read_question
from sekisho.gateway.remark_values import Progress, Question
from sekisho.gateway.results import may_ask, read_object
from sekisho.gateway.stages import Sealed
from sekisho.gateway.task_states import task_news
from sekisho.protocol import JsonLimits, JsonObject, JsonValue, check_text, refuse_duplicates
from sekisho.wire import AskFrame, EventFrame

__all__ = ["Question", "release_event", "release_notes", "release_question"]

_LISTEN: Final = "subscriptions/listen"
_TASK_NEWS: Final = "notifications/tasks"
_encode: Final = msgspec.json.Encoder().encode
_notes: Final = msgspec.json.Decoder(Progress)
_encode_lines: Final = msgspec.json.Encoder().encode_lines


def release_notes(notes: bytes, house: House) -> bytes | SekishoError:
    """Inspect what a plugin says of its progress: on each line numbers and a sentence, in our spelling; all or none."""
    try:
        emitted = notes if _are_as_written(notes, house.result_limits) else _rewritten(notes, house)
    except SekishoError as error:
        return error
    findings = house.inspection.judge_result(b"[" + emitted.replace(b"\n", b",") + b"]")
    return refusal(findings, "result") if findings.refused else emitted


def release_event(sealed: Sealed, event: EventFrame, house: House) -> bytes | SekishoError:
    """Inspect a notification that is not about progress: its params in our own spelling."""
    try:
        value, emitted = read_object(bytes(event.params), house.result_limits)
        if not _is_wanted(sealed, event.method, value, house):
            raise RemoteProtocolError(
                "plugin_protocol", "the plugin sent a notification that is not passed on"
            )
        if event.method == _TASK_NEWS:
            emitted = task_news(sealed, value, house)
    except SekishoError as error:
        return error
    findings = house.inspection.judge_result(emitted)
    return refusal(findings, "result") if findings.refused else emitted


def release_question(sealed: Sealed, ask: AskFrame, house: House) -> Question | SekishoError:
    """Inspect what a plugin asks of the client in the midst of this call."""
    try:
        value, _ = read_object(bytes(ask.params), house.result_limits)
        kind, params = read_question(ask.method, value, may_ask(sealed, house, "stream"))
        emitted = _encode(params)
        findings = judge_with_blobs(house.inspection, emitted, params)
        if findings.refused:
            raise refusal(findings, "result")
    except SekishoError as error:
        return error
    return Question(ask.ask, kind, ask.method, emitted)


def _is_wanted(sealed: Sealed, method: str, value: JsonObject, house: House) -> bool:
    """May this notification be heard on this call?"""
    match method:
        case "notifications/message":
            return _is_loud_enough(sealed.caller, value.get("level"))
        case "notifications/resources/updated":
            uri, plugin = value.get("uri"), sealed.call.plugin
            standing = house.standings.get(plugin)
            return (
                isinstance(uri, str)
                and standing is not None
                and standing.definitions is not None
                and standing.definitions.offers(uri)
                and house.access.permits_resource(sealed.client, plugin, uri)
            )
        case "notifications/elicitation/complete":
            return isinstance(value.get("elicitationId"), str)
        case "notifications/subscriptions/acknowledged":
            return sealed.call.tool == _LISTEN
        case "notifications/tasks":
            return bool(sealed.call.tasks) and sealed.call.tool == _LISTEN
    return False


def _is_loud_enough(caller: Caller | None, level: JsonValue) -> bool:
    """A client of the newer era names the level with each request; what others set, the plugin's side knows."""
    if caller is None or not isinstance(level, str) or level not in LOG_LEVELS:
        return False
    if not caller.modern:
        return True
    return caller.log_level is not None and LOG_LEVELS.index(level) >= LOG_LEVELS.index(caller.log_level)


def _are_as_written(notes: bytes, limits: JsonLimits) -> bool:
    """True if all are written as we would write them, which proves that they say nothing else.

    A text holds fewer members than bytes, and what is written like this is an object with nothing in it: so few bytes are
    within all limits. Of more than that each note is judged by itself.
    """
    if len(notes) > min(limits.max_bytes, limits.max_members, limits.max_string_bytes):
        return False
    try:
        return _encode_lines(_notes.decode_lines(notes)) == notes + b"\n"
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _rewritten(notes: bytes, house: House) -> bytes:
    return b"\n".join([_read_note(note, house.result_limits) for note in notes.split(b"\n")])


def _read_note(note: bytes, limits: JsonLimits) -> bytes:
    try:
        check_text(note, limits)
        read = _notes.decode(note)
        emitted = _encode(read)
        if emitted != note:
            refuse_duplicates(note)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RemoteProtocolError(
            "plugin_protocol", "the plugin's progress is not what MCP says it is"
        ) from error
    return emitted
