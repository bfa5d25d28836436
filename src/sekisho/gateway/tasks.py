"""Tasks, an extension of MCP 2026-07-28: a call that is answered with a handle, and asked for again under it.

Guarantees
- the id that a client holds is sealed by us: bound to client, endpoint, plugin and tool, it opens for nobody else; what
  is altered, too old or another's is one and the same unknown task;
- it opens as long as the plugin said that the task is kept, and never longer than a day;
- the kind of each question within a task travels in its key, so what answers it can be read by any process.

Knows no plugin and what no task says (`task_states` does). Judgement; a nonce is drawn when an id is sealed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.caller import TASKS_EXTENSION
from sekisho.gateway.questions import read_answers
from sekisho.keys import open_ticket, seal_ticket
from sekisho.protocol import JsonObject, JsonValue, PluginName
from sekisho.protocol.client_messages import refuse_variants

__all__ = [
    "MAX_TTL_MS",
    "TASK_METHODS",
    "MadeTask",
    "Task",
    "capability_missing",
    "key_of",
    "open_task",
    "open_tasks",
    "seal_task",
    "task_params",
]

TASK_METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
MAX_TTL_MS: Final = 24 * 3600 * 1000  # a handle that is found must not open for ever
MAX_TASKS: Final = 100  # of one stream; each costs an unsealing

_GRACE_S: Final = 60.0  # the plugin's clock began before ours, and a task may not end early
_KINDS: Final = frozenset({"elicitation", "elicitation/url", "sampling", "roots"})
_PARAMS: Final = frozenset({"taskId", "inputResponses"})
_PURPOSE: Final = "task"


class MadeTask(msgspec.Struct, frozen=True, gc=False):
    """A task that a plugin has just made: its own id, and how long it is kept."""

    ident: str
    ttl_ms: int


class Task(msgspec.Struct, frozen=True, gc=False):
    """A task as the client knows it (`handle`) and as the plugin does (`ident`), and the tool that made it."""

    handle: str
    plugin: PluginName
    tool: str
    ident: str
    ttl_ms: int


class _Ticket(msgspec.Struct, frozen=True, gc=False):
    client: str
    endpoint: str
    plugin: str
    tool: str
    ident: str
    ttl_ms: int


def seal_task(
    key: bytes, made: MadeTask, *, client: str, endpoint: str, plugin: PluginName, tool: str, now: float
) -> str:
    """The id under which this client, at this endpoint, may ask for the task."""
    ticket = _Ticket(client, endpoint, plugin, tool, made.ident, made.ttl_ms)
    return seal_ticket(key, _PURPOSE, msgspec.to_builtins(ticket), now)


def open_task(key: bytes, handle: JsonValue, *, client: str, endpoint: str, now: float) -> Task:
    """The task that was sealed for this client and endpoint.

    Raises:
        Refused: `task_unknown`.
        RemoteProtocolError: `params_invalid`, this is not even a text.
    """
    if not isinstance(handle, str):
        raise RemoteProtocolError("params_invalid", "taskId is a text")
    try:
        ticket = open_ticket(key, _PURPOSE, handle, now, MAX_TTL_MS / 1000 + _GRACE_S)
        one = msgspec.convert(ticket.payload, _Ticket)
    except (SekishoError, msgspec.ValidationError) as error:
        raise _unknown() from error
    is_kept = now - ticket.issued_at <= one.ttl_ms / 1000 + _GRACE_S
    if not is_kept or (one.client, one.endpoint) != (client, endpoint):
        raise _unknown()
    return Task(handle, PluginName(one.plugin), one.tool, one.ident, one.ttl_ms)


def open_tasks(key: bytes, handles: JsonValue, *, client: str, endpoint: str, now: float) -> list[Task]:
    """Those of a stream's tasks that this client knows; the others it is not told of.

    Raises:
        RemoteProtocolError: `params_invalid`.
    """
    if not isinstance(handles, list) or len(handles) > MAX_TASKS:
        raise RemoteProtocolError("params_invalid", f"taskIds is a list of at most {MAX_TASKS} ids")
    found: dict[str, Task] = {}
    for handle in handles:
        try:
            task = open_task(key, handle, client=client, endpoint=endpoint, now=now)
        except Refused:
            continue
        found[task.handle] = task
    return list(found.values())


def task_params(method: str, params: JsonObject, task: Task) -> JsonObject:
    """What the plugin is asked; an answer to a question that was not asked is dropped.

    Raises:
        RemoteProtocolError: `params_invalid`.
    """
    if not params.keys() <= _PARAMS:
        refuse_variants(params, _PARAMS)
    asked: JsonObject = {"taskId": task.ident}
    if method == "tasks/update":
        given = params.get("inputResponses")
        kinds = {key: kind for key in given if (kind := _kind_in(key))} if isinstance(given, dict) else {}
        read = read_answers(given, kinds)
        asked["inputResponses"] = {key.partition(":")[2]: answer for key, answer in read.items()}
    return asked


def key_of(kind: str, key: str) -> str:
    """The key of a question within a task, as its client sees it."""
    return f"{kind}:{key}"


def capability_missing(why: str) -> Refused:
    """The client did not declare the extension, or the operator did not allow it (MCP 2026-07-28, tasks)."""
    return Refused(
        "capability_missing",
        why,
        remedy=f"use a client that declares {TASKS_EXTENSION}, and the operator lists it in the plugin's extensions",
        facts={"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}},
    )


def _kind_in(key: str) -> str | None:
    kind = key.partition(":")[0]
    return kind if kind in _KINDS else None


def _unknown() -> Refused:
    return Refused("task_unknown", "there is no such task of this client, or its time is over")
