"""The place of one run: data for the servers, what each says directly, and one gateway with all of them behind it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND
from tests.interop.direct import LISTS, Said, measure
from tests.interop.gateway import Gateway
from tests.interop.listening import Ear, connect
from tests.interop.subjects import SERVERS, Place, Server

__all__ = ["Estate", "configuration", "essence", "furnish", "hear_all"]

AT_ONCE: Final = 3  # more servers starting at one time make each other late
ESSENCE: Final = (
    "content",
    "structuredContent",
    "isError",
    "messages",
    "description",
    "contents",
    "completion",
)

Lists = dict[str, list[dict[str, Any]] | BaseException]


@dataclass(slots=True, kw_only=True)
class Estate:
    """One run."""

    place: Place
    said: Mapping[str, Said]
    gateway: Gateway
    _lists: dict[tuple[str, str], Lists] = field(default_factory=dict)

    async def listed(self, plugin: str, era: str, kind: str) -> list[dict[str, Any]]:
        """One list of an endpoint in one era, as it came over the wire; "" is the endpoint of all plugins."""
        key = (plugin, era)
        if key not in self._lists:
            self._lists[key] = await self._list_all(plugin, era)
        found = self._lists[key][kind]
        if isinstance(found, MCPError) and found.code == METHOD_NOT_FOUND and not self._offers(plugin, kind):
            return []  # what a server never offered may be refused as well as empty
        assert not isinstance(found, BaseException), f"{LISTS[kind]}: {found!r}"
        return found

    def _offers(self, plugin: str, kind: str) -> bool:
        return any(said.of(kind) for name, said in self.said.items() if plugin in ("", name))

    async def _list_all(self, plugin: str, era: str) -> Lists:
        found: Lists = {}
        async with self.connected(plugin, era) as (client, ear):
            ask = {
                "tools": client.list_tools,
                "prompts": client.list_prompts,
                "resources": client.list_resources,
                "resourceTemplates": client.list_resource_templates,
            }
            for kind, method in ask.items():
                pages: list[dict[str, Any]] = []
                cursor: str | None = None
                while True:
                    page = (await asyncio.gather(method(cursor=cursor), return_exceptions=True))[0]
                    if isinstance(page, BaseException):
                        found[kind] = page
                        break
                    pages += ear.last(kind)[kind]
                    cursor = page.next_cursor
                    if cursor is None:
                        found[kind] = pages
                        break
        return found

    def essence(self, server: Server, name: str) -> dict[str, Any]:
        """What a server itself answers to one of the requests of its row."""
        return essence(self.said[server.name].answers[name])

    async def answered(
        self, plugin: str, era: str, member: str, ask: Callable[[Client], Awaitable[object]]
    ) -> dict[str, Any]:
        """The result of one request, which has this member, as it came over the wire."""
        async with self.connected(plugin, era) as (client, ear):
            outcome = (await asyncio.gather(ask(client), return_exceptions=True))[0]
            result = ear.last(member) if not isinstance(outcome, BaseException) else {}
        assert not isinstance(outcome, BaseException), f"{outcome!r}\n{self.gateway.said()}"
        return result

    def connected(self, plugin: str, era: str) -> AbstractAsyncContextManager[tuple[Client, Ear]]:
        """The official client at an endpoint."""
        return connect(self.gateway.url(plugin), self.gateway.token, self.gateway.ca, era)


def furnish(data: Path) -> None:
    """A note, a repository, a database and a memory."""
    (data / "notes.txt").write_text("build a barrier\n")
    (data / "memory.jsonl").write_text(
        json.dumps({"type": "entity", "name": "hakone", "entityType": "barrier", "observations": ["open"]})
        + "\n"
    )
    with sqlite3.connect(data / "barriers.sqlite") as base:
        base.execute("CREATE TABLE barrier (id INTEGER PRIMARY KEY, name TEXT)")
        base.execute("INSERT INTO barrier (name) VALUES ('hakone')")
    base.close()
    repo = data / "repo"
    repo.mkdir()
    (repo / "stone.txt").write_text("stone\n")
    git = ["git", "-C", str(repo), "-c", "user.name=interop", "-c", "user.email=interop@example.com"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first stone"]):
        subprocess.run([*git, *words], check=True)


async def hear_all(place: Place) -> dict[str, Said]:
    """What every server says and answers without a gateway."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def hear(server: Server) -> Said:
        async with turn:
            return await measure(
                server.start(place),
                {**os.environ, **server.environment(place)},
                [*server.writable(place), *server.readable(place)],
                [*_requests(server, place)],
            )

    async with asyncio.TaskGroup() as group:
        heard = {server.name: group.create_task(hear(server)) for server in SERVERS}
    return {name: task.result() for name, task in heard.items()}


def _requests(server: Server, place: Place) -> list[tuple[str, str, dict[str, Any]]]:
    """What is asked of a server, each under the name by which its answer is kept."""
    asked = [
        (call.tool, "tools/call", {"name": call.tool, "arguments": call.arguments(place)})
        for call in server.calls
    ]
    if server.prompt is not None:
        name, arguments = server.prompt
        asked.append(("prompt", "prompts/get", {"name": name, "arguments": arguments}))
    if server.resource:
        asked.append(("resource", "resources/read", {"uri": server.resource}))
    return asked


def essence(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a result that is the server's; the rest belongs to the revision."""
    return {name: result[name] for name in ESSENCE if name in result}


def configuration(place: Place, said: Mapping[str, Said]) -> str:
    """The entries of all servers, every tool allowed."""
    return "\n".join(_entry(server, place, said[server.name]) for server in SERVERS)


def _entry(server: Server, place: Place, said: Said) -> str:
    lines = [
        "[[plugins.servers]]",
        f"name = {json.dumps(server.name)}",
        f"command = {json.dumps(server.start(place))}",
        f"allowed_operations = {json.dumps([tool['name'] for tool in said.of('tools')])}",
        "max_requests_per_minute = 100000",
        "[plugins.servers.settings]",
        *(f"{key} = {json.dumps(value)}" for key, value in server.settings(place).items()),
        "[plugins.servers.sandbox]",
        "start_timeout_seconds = 45",
        "[plugins.servers.filesystem_policy]",
        f"writable_paths = {json.dumps([str(path) for path in server.writable(place)])}",
        f"read_only_paths = {json.dumps([str(path) for path in server.readable(place)])}",
        "",
    ]
    return "\n".join(lines)
