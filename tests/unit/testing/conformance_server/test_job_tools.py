"""A tool of the fixture is answered with a task only for a client that knows tasks; for others it waits, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sekisho.testing.conformance_server.exchange import META, InputRequired, ModernExchange, Refusal
from sekisho.testing.conformance_server.hub import Hub
from sekisho.testing.conformance_server.job_tools import JOB_TOOLS
from sekisho.testing.conformance_server.jobs import EXTENSION

KNOWS: dict[str, Any] = {"elicitation": {}, "extensions": {EXTENSION: {}}}


async def _send(_message: dict[str, Any]) -> None:
    raise AssertionError("nothing is said by itself")


def exchange(capabilities: dict[str, Any], **params: Any) -> ModernExchange:
    return ModernExchange(_send, {"_meta": {META + "clientCapabilities": capabilities}, **params}, "test")


async def run(name: str, capabilities: dict[str, Any], **params: Any) -> dict[str, Any]:
    hub = Hub()
    async with asyncio.TaskGroup() as group:

        def spawn(work: Coroutine[Any, Any, None]) -> object:
            return group.create_task(work)

        hub.jobs.spawn = spawn
        result = await JOB_TOOLS[name](exchange(capabilities, **params), {}, hub)
        hub.jobs.close()
    return result


async def test_the_same_tool_waits_for_a_client_that_knows_no_tasks() -> None:
    assert (await run("slow_compute", {}))["content"][0]["type"] == "text"
    assert (await run("slow_compute", KNOWS))["resultType"] == "task"
    assert "taskId" not in await run("greet", KNOWS)


@pytest.mark.parametrize("name", ["failing_job"])
async def test_a_tool_that_needs_a_task_says_what_its_client_lacks(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        await JOB_TOOLS[name](exchange({}), {}, Hub())
    assert refused.value.error["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}


async def test_a_tool_may_ask_in_a_round_before_it_makes_a_task() -> None:
    with pytest.raises(InputRequired):
        await JOB_TOOLS["test_tool_with_task"](exchange(KNOWS), {}, Hub())
    answers = {"user_name": {"action": "accept", "content": {"name": "Aya"}}}
    made = await run("test_tool_with_task", KNOWS, inputResponses=answers)
    assert made["resultType"] == "task"
