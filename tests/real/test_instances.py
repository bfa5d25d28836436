"""Plugins that remember: each client, or each session, has a process of its own; through a real house.

The clients are the official SDK over a real `sekisho connect`. At the end of the module the house ends, and shows that
nobody is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult
from tests.real.conftest import HOSTILE, Estate, House, command_of, common, plugin, until
from tests.real.raw import call, connected
from tests.real.test_connect import SEKISHO, text_of

from sekisho.keys import KeyFolder, ensure_bearer

pytestmark = pytest.mark.real

WAIT_S: Final = 40.0
NOTEBOOK: Final = Path(__file__).with_name("notebook.py")
TOOLS: Final = ("keep", "recall", "ask", "die")
ERAS: Final = ("legacy", "2026-07-28")


def _at_url(name: str, port: int, instances: str) -> str:
    return (
        f'[[plugins.servers]]\nname = "{name}"\nupstream = "http://127.0.0.1:{port}/"\n'
        f"allowed_operations = {json.dumps(TOOLS)}\ninstances = {json.dumps(instances)}\n"
        "max_requests_per_minute = 100000\n"
    )


def _notebook(name: str, more: str, *words: str) -> str:
    return plugin(name, NOTEBOOK, *words, operations=TOOLS, more=more)


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of a plugin at a URL, which has a notebook for each session there."""
    with subprocess.Popen([sys.executable, NOTEBOOK, "--http"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture(scope="module")
def home(walls: None, estate: Estate, site: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    text = (
        common()
        + _notebook("all", "")
        + _notebook("each", 'instances = "client"\n')
        + _notebook("own", 'instances = "session"\n')
        + _notebook("brief", 'instances = "client"\ninstance_idle_seconds = 0.5\n')
        + _notebook("narrow", 'instances = "client"\nmax_instances = 1\n')
        + _notebook("forked", 'instances = "client"\npreload = ["json"]\n')
        + plugin(
            "wired",
            HOSTILE,
            operations=["phone_home"],
            more='instances = "client"\n[plugins.servers.network_policy]\nallow_localhost = true\n'
            f"localhost_ports = [{estate.port}]\n",
        )
        + _at_url("there", site, "client")
        + _at_url("theirs", site, "shared")
        + _notebook("faces", 'instances = "client"\n', "--two-faced")
    )
    house = House(tmp_path_factory.mktemp("instances"), text)
    try:
        ensure_bearer(KeyFolder(house.home / "keys"), "aya")
        house.hang_up()
        for name in ("all", "each", "own", "brief", "narrow", "forked", "there", "theirs"):
            until(lambda name=name: house.answers(f"{name}__recall"), f"{name} serves")  # type: ignore[misc]
        yield house
    finally:
        house.stop()


class Person:
    """A client; what it is asked it answers with its name, once everybody in its company was asked."""

    def __init__(self, client: Client, asked: list[str]) -> None:
        self.client = client
        self.asked = asked

    async def call(self, tool: str, **arguments: Any) -> str:
        return text_of(await self.client.call_tool(tool, arguments))

    async def code(self, tool: str, **arguments: Any) -> str:
        with pytest.raises(MCPError) as refused:
            await self.call(tool, **arguments)
        return str(refused.value.error.data["code"])


@asynccontextmanager
async def person(
    house: House, token: str, era: str = "legacy", *, name: str = "", company: asyncio.Barrier | None = None
) -> AsyncIterator[Person]:
    asked: list[str] = []

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context
        asked.append(params.message)
        if company is not None:
            await company.wait()
        return ElicitResult(action="accept", content={"name": name})

    words = ["--url", house.url, "--token-file", str(house.home / "keys" / "clients" / f"{token}.token")]
    command = StdioServerParameters(
        command=str(SEKISHO),
        args=["connect", *words, "--ca", house.ready["ca_file"]],
        env=dict(os.environ),
    )
    async with (
        asyncio.timeout(WAIT_S),
        Client(command, mode=era, elicitation_callback=answer) as client,
    ):
        yield Person(client, asked)


def _processes(house: House, name: str) -> int:
    """Those of the plugin itself, below its plugin server."""
    return sum(
        str(NOTEBOOK) in words and "bwrap" not in words[0]
        for words in map(command_of, house.tree(house.pid(f"plugin {name}")))
    )


@pytest.mark.parametrize("era", ERAS)
async def test_a_shared_plugin_shows_one_client_what_another_kept(home: House, era: str) -> None:
    async with person(home, "owner", era) as one, person(home, "aya", era) as other:
        await one.call("all__keep", text=f"mine {era}")
        assert f"mine {era}" in await other.call("all__recall")


@pytest.mark.threat("T-CROSS")
@pytest.mark.parametrize("era", ERAS)
async def test_a_plugin_of_its_own_for_each_client_shows_nothing_of_another(home: House, era: str) -> None:
    async with person(home, "owner", era) as one, person(home, "aya", era) as other:
        await one.call("each__keep", text=f"mine {era}")
        assert f"mine {era}" in await one.call("each__recall")
        assert "mine" not in await other.call("each__recall")
    async with person(home, "owner", era) as again:
        assert f"mine {era}" in await again.call("each__recall")


@pytest.mark.threat("T-CROSS")
async def test_what_is_forked_for_one_client_has_walls_that_no_other_had(home: House) -> None:
    async with person(home, "owner") as one, person(home, "aya") as other:
        await one.call("forked__keep", text="mine")
        assert await other.call("forked__recall") == "|"
        assert await one.code("forked__die") == "plugin_exited"
        assert await one.call("forked__recall") == "|"
    assert '"event":"plugin_not_warm","plugin":"forked"' not in home.stderr.read_text()


async def test_each_has_a_way_out_of_its_own(home: House, estate: Estate) -> None:
    async with person(home, "owner") as one, person(home, "aya") as other:
        for who in (one, other, one, other):
            report = json.loads(await who.call("wired__phone_home", host="localhost", port=estate.port))
            assert report["succeeded"], report
        report = json.loads(await one.call("wired__phone_home", host="evil.example.net", port=443))
        assert not report["succeeded"], report


@pytest.mark.threat("T-CROSS")
async def test_at_a_url_each_client_has_a_session_of_its_own(home: House) -> None:
    async with person(home, "owner") as one, person(home, "aya") as other:
        for name, seen in (("there", ""), ("theirs", "mine")):
            await one.call(f"{name}__keep", text="mine")
            assert await one.call(f"{name}__recall") == "mine|"
            assert await other.call(f"{name}__recall") == f"{seen}|"


@pytest.mark.threat("T-CROSS")
async def test_a_plugin_of_its_own_for_each_session_shows_nothing_of_another(home: House) -> None:
    async with person(home, "owner") as one, person(home, "owner") as other:
        await one.call("own__keep", text="mine")
        assert await one.call("own__recall") == "mine|mine"
        assert await other.call("own__recall") == "|"


@pytest.mark.parametrize(
    ("name", "era", "second"),
    [
        ("own", "legacy", "owner"),
        ("own", "2026-07-28", "aya"),  # a modern client has no session
        ("each", "legacy", "aya"),
        ("each", "2026-07-28", "aya"),
    ],
)
async def test_two_who_are_asked_at_once_each_get_their_own_question(
    home: House, name: str, era: str, second: str
) -> None:
    company = asyncio.Barrier(2)
    async with (
        person(home, "owner", era, name="Ada", company=company) as one,
        person(home, second, era, name="Bo", company=company) as other,
    ):
        answers = [*await asyncio.gather(one.call(f"{name}__ask"), other.call(f"{name}__ask"))]
        assert answers == ["you are Ada", "you are Bo"]
        assert len(one.asked) == len(other.asked) == 1


async def test_a_plugin_that_dies_for_one_client_lives_on_for_the_other(home: House) -> None:
    async with person(home, "owner") as one, person(home, "aya") as other:
        await one.call("each__keep", text="lost")
        await other.call("each__keep", text="safe")
        assert await one.code("each__die") == "plugin_exited"
        assert await one.call("each__recall") == "|"
        assert "safe" in await other.call("each__recall")


async def test_a_plugin_that_is_not_used_ends_and_comes_back_without_its_state(home: House) -> None:
    async with person(home, "owner") as one:
        await one.call("brief__keep", text="forgotten")
        await asyncio.to_thread(until, lambda: _processes(home, "brief") == 1, "only the listed one runs")
        assert await one.call("brief__recall") == "|"


@pytest.mark.threat("T-FLOOD")
async def test_when_there_is_no_room_the_idle_one_ends_and_a_busy_one_does_not(home: House) -> None:
    company = asyncio.Barrier(2)
    assert await asyncio.to_thread(_code_for_aya, home) == "ok"
    async with person(home, "owner", name="Ada", company=company) as one, asyncio.TaskGroup() as group:
        busy = group.create_task(one.call("narrow__ask"))
        await asyncio.to_thread(until, lambda: bool(one.asked), "the process of aya made room")
        assert await asyncio.to_thread(_code_for_aya, home) == "busy"
        await company.wait()
        assert await busy == "you are Ada"
    assert await asyncio.to_thread(_code_for_aya, home) == "ok"


def _code_for_aya(house: House) -> str:
    token = (house.home / "keys" / "clients" / "aya.token").read_text().strip()
    with connected(house) as [client]:
        client.send(call(house, "narrow__recall", token=token))
        answer = client.answer()
        assert answer is not None
        return answer.code


@pytest.mark.threat("T-RUGPULL")
async def test_a_plugin_that_shows_clients_another_face_serves_none(home: House) -> None:
    async with person(home, "owner") as one:
        assert await one.code("faces__recall") == "definition_changed"
    await asyncio.to_thread(until, lambda: _processes(home, "faces") == 1, "only the listed one runs")


async def test_an_operator_can_change_it_while_the_house_runs(build: Callable[[str], House]) -> None:
    house = build(common() + _notebook("book", ""))
    ensure_bearer(KeyFolder(house.home / "keys"), "aya")
    house.hang_up()
    await asyncio.to_thread(until, lambda: house.answers("book__keep", text="mine"), "the plugin serves")
    house.configure(common() + _notebook("book", 'instances = "client"\n'))
    house.hang_up()

    def is_apart() -> bool:
        answer = house.call("book__recall")
        return answer.code == "ok" and answer.text == "|"

    await asyncio.to_thread(until, is_apart, "the owner has a notebook of his own")
    async with person(house, "owner") as one, person(house, "aya") as other:
        await one.call("book__keep", text="again")
        assert await other.call("book__recall") == "|"
