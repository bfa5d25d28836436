"""What a plugin says of a task: when it makes one, when it is asked, and by itself; read member by member.

Guarantees
- a client sees its own id of the task, never the plugin's, and a plugin can speak of no other task than the one meant;
- the result of a task is judged as that of the tool that made it, its questions and its error as those of any call;
- what is said of how long it is kept is never more than its id will open for.

Judgement over values, for `returns` and `remarks`, which search what is said.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.gateway.checkpoint import House
from sekisho.gateway.questions import MAX_QUESTIONS
from sekisho.gateway.results import (
    drop_our_names,
    error_body,
    may_ask,
    no_result,
    put_meta_last,
    read_questions,
    tool_result,
)
from sekisho.gateway.stages import Sealed
from sekisho.gateway.tasks import MAX_TTL_MS, MadeTask, Task, key_of
from sekisho.protocol import JsonObject, JsonValue

__all__ = ["created_task", "task_answer", "task_news"]

MAX_IDENT_CHARS: Final = 512  # it travels in every request, sealed, and in a header
MAX_MESSAGE_CHARS: Final = 8192
MAX_POLL_MS: Final = MAX_TTL_MS

_STATUSES: Final = frozenset({"working", "input_required", "completed", "cancelled", "failed"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9A-Za-z:.+-]{0,32}")
_encode: Final = msgspec.json.Encoder().encode


def created_task(value: JsonObject) -> tuple[MadeTask, bytes]:
    """The task a plugin made in the place of a result; the text has no id yet, as only the journey's end seals one."""
    ident = value.get("taskId")
    if not isinstance(ident, str) or not 1 <= len(ident) <= MAX_IDENT_CHARS:
        raise no_result()
    told = _common(value, MAX_TTL_MS)
    made = MadeTask(ident, told["ttlMs"] if isinstance(told["ttlMs"], int) else MAX_TTL_MS)
    return made, _encode({"resultType": "task", **told})


def task_answer(sealed: Sealed, value: JsonObject, house: House) -> bytes:
    """The answer to a method of `TASK_METHODS`; an acknowledgement says nothing else."""
    if value.get("resultType", "complete") != "complete":
        raise no_result()
    if sealed.call.tool != "tasks/get":
        value.clear()
        return b"{}"
    told = _state(sealed, value, sealed.call.tasks[0], house)
    put_meta_last(told)
    return _encode(told)


def task_news(sealed: Sealed, value: JsonObject, house: House) -> bytes:
    """What a plugin says of a task to whoever listens."""
    ident = value.get("taskId")
    task = next((one for one in sealed.call.tasks if one.ident == ident), None)
    if task is None:
        raise RemoteProtocolError("plugin_protocol", "the plugin speaks of a task that nobody asked about")
    if not house.access.permits(sealed.client, task.plugin, task.tool):  # a stream lasts, and rights change
        raise Refused(
            "operation_not_allowed", f"{task.tool!r} is not an allowed operation of {task.plugin!r}"
        )
    return _encode(_state(sealed, value, task, house))


def _state(sealed: Sealed, value: JsonObject, task: Task, house: House) -> JsonObject:
    if value.get("taskId") != task.ident:
        raise no_result()
    told: JsonObject = {"taskId": task.handle, **_common(value, task.ttl_ms)}
    match told["status"]:
        case "input_required":
            told["inputRequests"] = _questions(sealed, value.get("inputRequests"), house)
        case "completed":
            told["result"] = _result(sealed, value.get("result"), task, house)
        case "failed":
            error = value.get("error")
            if not isinstance(error, dict):
                raise no_result()
            told["error"] = error_body(sealed, error, house)
    return told


def _common(value: JsonObject, most_ms: int) -> JsonObject:
    """What every state of a task says."""
    status, ttl, poll = value.get("status"), value.get("ttlMs"), value.get("pollIntervalMs")
    if not isinstance(status, str) or status not in _STATUSES or not (ttl is None or _is_duration(ttl)):
        raise no_result()
    told: JsonObject = {"status": status}
    message = value.get("statusMessage")
    if message is not None:
        if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
            raise no_result()
        told["statusMessage"] = message
    for name in ("createdAt", "lastUpdatedAt"):
        at = value.get(name)
        if not isinstance(at, str) or _TIME.fullmatch(at) is None:
            raise no_result()
        told[name] = at
    told["ttlMs"] = min(ttl, most_ms) if isinstance(ttl, int) else most_ms
    if poll is not None:
        if not _is_duration(poll) or not isinstance(poll, int):
            raise no_result()
        told["pollIntervalMs"] = min(poll, MAX_POLL_MS)
    drop_our_names(value)
    if isinstance(value.get("_meta"), dict):
        told["_meta"] = value["_meta"]
    return told


def _questions(sealed: Sealed, requests: JsonValue, house: House) -> JsonObject:
    if not isinstance(requests, dict) or len(requests) > MAX_QUESTIONS:
        raise no_result()
    kinds, read = read_questions(requests, may_ask(sealed, house, "rounds"))
    return {key_of(kinds[key], key): question for key, question in read.items()}


def _result(sealed: Sealed, result: JsonValue, task: Task, house: House) -> JsonValue:
    """Judged by the definition that is approved now; what tools may not say of themselves is taken out of it."""
    if not isinstance(result, dict):
        raise no_result()
    standing = house.standings.get(task.plugin)
    if standing is None or standing.definitions is None:
        raise no_result()
    tool_result(standing.definitions.get(task.tool), result, _encode(result))
    return result


def _is_duration(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
