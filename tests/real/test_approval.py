"""A person's word on one call, asked of the official client in both eras: nothing runs without it; all is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.client import Client, ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from tests.real.conftest import ECHO, House, common, plugin

pytestmark = pytest.mark.real

ERAS = ["legacy", "2026-07-28"]
WAIT_S = 60.0


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers"])
def house(
    walls: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A plugin of which `echo` needs a person, and `add` does not."""
    del walls
    running = House(
        tmp_path_factory.mktemp("approval"),
        '[approval]\nanswer = "ask"\n'
        + common()
        + plugin("echo", ECHO, operations=["echo", "add"], more='require_approval = ["echo"]\n'),
        core=f"workers = {request.param}\n",
    )
    yield running
    running.stop()


class Person:
    """Answers every question in one way, and remembers what was asked."""

    def __init__(self, answer: types.ElicitResult) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        self.asked.append(params.message)
        return self.answer


YES = types.ElicitResult(action="accept", content={"allow": True})
NO = [
    types.ElicitResult(action="accept", content={"allow": False}),
    types.ElicitResult(action="decline"),
    types.ElicitResult(action="cancel"),
]


def call(house: House, mode: str, tool: str, arguments: dict[str, Any], person: Person | None) -> str:
    """The text of the result, or the message of the refusal."""

    async def ask() -> str:
        headers = {"Authorization": f"Bearer {house.token}"}
        options: dict[str, Any] = {} if person is None else {"elicitation_callback": person}
        async with (
            asyncio.timeout(WAIT_S),
            httpx2.AsyncClient(verify=house.context, headers=headers, timeout=30) as http,
            Client(streamable_http_client(house.url, http_client=http), mode=mode, **options) as client,
        ):
            try:
                result = await client.call_tool(tool, arguments)
            except Exception as refusal:  # noqa: BLE001  # whatever the client makes of a refusal
                return str(refusal)
            (part,) = result.content
            assert isinstance(part, types.TextContent)
            return part.text

    return asyncio.run(ask())


def ended(house: House, since: int) -> list[str]:
    """How calls ended, and what a person was asked, in the records that came since."""
    return [
        str(one.get("code") or one.get("name")) for one in house.records()[since:] if one["kind"] != "intent"
    ]


@pytest.mark.requirement("B4.4")
@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize("mode", ERAS)
def test_a_call_runs_once_the_person_behind_the_client_said_yes(house: House, mode: str) -> None:
    person, since = Person(YES), len(house.records())
    assert call(house, mode, "echo__echo", {"text": "hello"}, person) == "hello"
    (question,) = person.asked
    assert "echo" in question
    assert '{"text":"hello"}' in question
    assert [one for one in ended(house, since) if one in ("approval_asked", "approval_given", "ok")] == [
        "approval_asked",
        "approval_given",
        "ok",
    ]


@pytest.mark.requirement("B4.4")
@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("answer", NO, ids=["unticked", "declined", "cancelled"])
def test_a_call_never_runs_without_a_yes(house: House, mode: str, answer: types.ElicitResult) -> None:
    person, since = Person(answer), len(house.records())
    assert "did not allow" in call(house, mode, "echo__echo", {"text": "hello"}, person)
    assert len(person.asked) == 1
    assert "ok" not in ended(house, since)


@pytest.mark.parametrize("mode", ERAS)
def test_a_client_that_cannot_ask_is_told_so(house: House, mode: str) -> None:
    assert "cannot ask" in call(house, mode, "echo__echo", {"text": "hello"}, None)


@pytest.mark.parametrize("mode", ERAS)
def test_what_needs_nobody_asks_nobody(house: House, mode: str) -> None:
    person = Person(NO[1])
    assert call(house, mode, "echo__add", {"a": 1, "b": 2}, person) == "3"
    assert person.asked == []
