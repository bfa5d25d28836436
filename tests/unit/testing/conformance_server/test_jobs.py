"""The fixture's tasks: state that outlives the call, questions that wait, and one end for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sekisho.testing.conformance_server.exchange import Refusal
from sekisho.testing.conformance_server.jobs import EXTENSION, Job, Jobs, knows_tasks

KNOWS: dict[str, Any] = {"extensions": {EXTENSION: {}}}
QUESTION: dict[str, Any] = {"method": "elicitation/create", "params": {}}
OVER = ("completed", "failed", "cancelled")


class Office:
    """Jobs and all that was told of them."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.jobs = Jobs(self._tell)

    async def _tell(self, ident: str, state: dict[str, Any]) -> None:
        assert ident == state["taskId"]
        self.told.put_nowait(state)

    async def serve(self, method: str, ident: str, **params: Any) -> dict[str, Any]:
        return await self.jobs.serve(method, {"taskId": ident, **params}, KNOWS)

    async def until(self, status: str) -> dict[str, Any]:
        """The next state of this status that is told."""
        async with asyncio.timeout(5):
            while (state := await self.told.get())["status"] != status:
                pass
        return state


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    one = Office()
    async with asyncio.TaskGroup() as group:
        one.jobs.spawn = group.create_task
        yield one
        one.jobs.close()


async def test_a_job_ends_with_its_result_and_stays_there(office: Office) -> None:
    async def run(_job: Job) -> dict[str, Any]:
        return {"content": []}

    made = office.jobs.begin(run)
    assert (made["resultType"], made["status"]) == ("task", "working")
    assert (await office.until("completed"))["result"] == {"content": []}
    assert await office.serve("tasks/cancel", made["taskId"]) == {}
    assert (await office.serve("tasks/get", made["taskId"]))["status"] == "completed"


async def test_questions_wait_until_all_are_answered(office: Office) -> None:
    async def run(job: Job) -> dict[str, Any]:
        return await job.ask({"a": QUESTION, "b": QUESTION})

    ident = office.jobs.begin(run)["taskId"]
    assert (await office.until("input_required"))["inputRequests"].keys() == {"a", "b"}
    await office.serve("tasks/update", ident, inputResponses={"a": {"n": 1}, "x": {"n": 9}})
    assert (await office.serve("tasks/get", ident))["inputRequests"].keys() == {"b"}
    await office.serve("tasks/update", ident, inputResponses={"a": {"n": 5}, "b": {"n": 2}})
    assert (await office.until("completed"))["result"] == {"a": {"n": 1}, "b": {"n": 2}}


async def test_a_job_that_is_cancelled_or_broken_says_so(office: Office) -> None:
    async def run(job: Job) -> dict[str, Any]:
        return await job.ask({"a": QUESTION})

    async def fail(_job: Job) -> dict[str, Any]:
        raise Refusal(-32603, "broke")

    ident = office.jobs.begin(run)["taskId"]
    await office.until("input_required")
    await office.serve("tasks/cancel", ident)
    assert (await office.until("cancelled")).keys().isdisjoint({"result", "error", "inputRequests"})
    office.jobs.begin(fail)
    assert (await office.until("failed"))["error"] == {"code": -32603, "message": "broke"}


async def test_a_strange_task_is_unknown_and_a_client_has_to_know_tasks(office: Office) -> None:
    with pytest.raises(Refusal) as unknown:
        await office.serve("tasks/get", "none")
    with pytest.raises(Refusal) as undeclared:
        await office.jobs.serve("tasks/get", {"taskId": "none"}, {})
    assert (unknown.value.error["code"], undeclared.value.error["code"]) == (-32602, -32021)
    assert knows_tasks(KNOWS)
    assert not knows_tasks({"extensions": None})
