"""The tools that may be answered with a task: the same functions, whether somebody waits or comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from .content import Json
from .exchange import Exchange, Refusal
from .hub import Hub
from .jobs import knows_tasks, tasks_missing
from .legacy import LegacyExchange

FAILS_AFTER_S = 0.2


class Asks(Protocol):
    """Whoever can be asked: a call that waits, or a task."""

    async def ask(self, questions: dict[str, Json], *, seal: bool = False) -> dict[str, Json]:
        """Put the questions; returns the answers under the same keys."""


Work = Callable[[Asks, Json], Awaitable[Json]]


def text(words: str) -> Json:
    """A result of one text."""
    return {"content": [{"type": "text", "text": words}]}


def _form(message: str, name: str, kind: str) -> Json:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


async def _slow_compute(_asks: Asks, arguments: Json) -> Json:
    await asyncio.sleep(float(arguments.get("seconds", 0)))
    return text(f"computed {arguments.get('label', '')}")


async def _failing_job(_asks: Asks, _arguments: Json) -> Json:
    await asyncio.sleep(FAILS_AFTER_S)
    return text("the job failed") | {"isError": True}


async def _protocol_error_job(_asks: Asks, _arguments: Json) -> Json:
    await asyncio.sleep(FAILS_AFTER_S)
    raise Refusal(-32603, "the job broke")


async def _confirm_delete(asks: Asks, arguments: Json) -> Json:
    answer = (await asks.ask({"confirm": _form("Delete it?", "confirm", "boolean")}))["confirm"]
    did = answer.get("action") == "accept" and (answer.get("content") or {}).get("confirm") is True
    return text(f"{'deleted' if did else 'kept'} {arguments.get('filename')}")


async def _multi_input(asks: Asks, _arguments: Json) -> Json:
    questions = {"first": _form("Who?", "name", "string"), "second": _form("And who else?", "name", "string")}
    answers = await asks.ask(questions)
    return text(" and ".join(str((one.get("content") or {}).get("name")) for one in answers.values()))


async def _roots_job(asks: Asks, _arguments: Json) -> Json:
    answer = (await asks.ask({"roots": {"method": "roots/list", "params": {}}}))["roots"]
    return text("Roots: " + ", ".join(root["uri"] for root in answer.get("roots", ())))


async def _greet_later(name: str, _asks: Asks, _arguments: Json) -> Json:
    await asyncio.sleep(0)
    return text(f"Hello, {name}!")


async def greet(_exchange: Exchange, arguments: Json, _hub: Hub) -> Json:
    """Never a task."""
    return text(f"Hello, {arguments.get('name')}!")


async def with_task(exchange: Exchange, arguments: Json, hub: Hub) -> Json:
    """Asks first, in a round of the call, and answers with a task then."""
    question = _form("What is your name?", "name", "string")
    answer = (await exchange.ask({"user_name": question}))["user_name"]
    name = str((answer.get("content") or {}).get("name"))
    return await as_task(partial(_greet_later, name), exchange, arguments, hub, is_needed=True)


async def as_task(work: Work, exchange: Exchange, arguments: Json, hub: Hub, *, is_needed: bool) -> Json:
    """A task for a client that knows tasks; else the call waits, or is refused."""
    if isinstance(exchange, LegacyExchange):
        return await work(exchange, arguments)
    if knows_tasks(exchange.capabilities):
        return hub.jobs.begin(lambda job: work(job, arguments))
    if is_needed:
        raise tasks_missing()
    return await work(exchange, arguments)


JOB_TOOLS: dict[str, Callable[[Exchange, Json, Hub], Awaitable[Json]]] = {
    "greet": greet,
    "test_tool_with_task": with_task,
    **{
        name: partial(as_task, work, is_needed=is_needed)
        for name, work, is_needed in (
            ("slow_compute", _slow_compute, False),
            ("failing_job", _failing_job, True),
            ("protocol_error_job", _protocol_error_job, False),
            ("confirm_delete", _confirm_delete, False),
            ("multi_input", _multi_input, False),
            ("test_task_roots", _roots_job, False),
        )
    },
}
