"""What a server says to a client that talks to it directly over standard input and output: the measure of the gateway.

Raw JSON-RPC, so that no field is added or lost on the way; both kinds of revision. It answers `roots/list` with the
roots it was given and refuses every other request, and bounds every wait. It judges nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["LISTS", "Direct", "Json", "Said", "ServerFailed", "measure", "talk"]

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
ANSWER_S: Final = 40.0  # the first answer of a server that starts beside nine others
LINE_BYTES: Final = 1 << 24
LISTS: Final = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
}

Json = dict[str, Any]


class ServerFailed(Exception):
    """The server itself, without any gateway, did not answer."""


@dataclass(slots=True, kw_only=True)
class Said:
    """What a server lists and answers, and the revision it spoke; a list it refuses is empty."""

    revision: str
    server: str
    lists: dict[str, list[Json]] = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)

    def of(self, kind: str) -> list[Json]:
        """The objects of one list."""
        return self.lists[kind]


class Direct:
    """One conversation with a server."""

    def __init__(self, process: asyncio.subprocess.Process, roots: Sequence[Path], *, modern: bool) -> None:
        self._process = process
        self._roots = [{"uri": root.as_uri()} for root in roots]
        self._modern = modern
        self._last = 0

    async def open(self) -> Json:
        """The handshake of the era; its result."""
        if self._modern:
            return await self.request("server/discover")
        hello = {
            "protocolVersion": LEGACY,
            "capabilities": capabilities(self._roots),
            "clientInfo": {"name": "interop", "version": "1"},
        }
        result = await self.request("initialize", hello)
        self._send({"method": "notifications/initialized"})
        return result

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Json:
        """One request; its result.

        Raises:
            ServerFailed: it answers with an error, too late or not at all.
        """
        answer = await self.ask(method, params)
        if "result" not in answer:
            raise ServerFailed(f"{method}: {answer['error']}")
        return dict(answer["result"])

    async def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Json:
        """One request; its whole answer."""
        self._last += 1
        self._send({"id": self._last, "method": method, "params": {**(params or {}), **self._meta()}})
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answer(self._last)
        except TimeoutError as error:
            raise ServerFailed(f"{method}: no answer in {ANSWER_S:g} s") from error

    async def every(self, kind: str) -> list[Json]:
        """All pages of one list, none when the server has no such method or cannot answer it."""
        found: list[Json] = []
        cursor: Json = {}
        while True:
            answer = await self.ask(LISTS[kind], cursor)
            if "result" not in answer:
                return found
            found += answer["result"][kind]
            if "nextCursor" not in answer["result"]:
                return found
            cursor = {"cursor": answer["result"]["nextCursor"]}

    def _meta(self) -> Json:
        if not self._modern:
            return {}
        return {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "interop", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": capabilities(self._roots),
            }
        }

    def _send(self, message: Json) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _answer(self, ident: int) -> Json:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                message = json.loads(line)
            except ValueError:
                continue  # some print to standard output; a client passes over that
            if "method" not in message and message.get("id") == ident:
                return dict(message)
            if "method" in message and "id" in message:
                self._reply(message)
        raise ServerFailed("the server ended")

    def _reply(self, message: Json) -> None:
        match message["method"]:
            case "roots/list":
                self._send({"id": message["id"], "result": {"roots": self._roots}})
            case "ping":
                self._send({"id": message["id"], "result": {}})
            case _:
                self._send({"id": message["id"], "error": {"code": -32601, "message": "not here"}})


def capabilities(roots: Sequence[object]) -> Json:
    """What Sekisho declares to a plugin of this configuration: some servers show other tools to other clients."""
    return {"elicitation": {}} | ({"roots": {}} if roots else {})


@asynccontextmanager
async def talk(
    argv: Sequence[str], environment: Mapping[str, str], roots: Sequence[Path] = (), *, modern: bool = False
) -> AsyncIterator[tuple[Direct, Json]]:
    """A conversation with the server that this command starts, and the result of its handshake."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environment),
        limit=LINE_BYTES,
    )
    try:
        direct = Direct(process, roots, modern=modern)
        yield direct, await direct.open()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(
    argv: Sequence[str],
    environment: Mapping[str, str],
    roots: Sequence[Path],
    requests: Sequence[tuple[str, str, Json]],
) -> Said:
    """All lists of a server and its answers, after a handshake of the older kind, which every server still knows."""
    async with talk(argv, environment, roots) as (direct, hello):
        info = hello["serverInfo"]
        said = Said(revision=hello["protocolVersion"], server=f"{info['name']} {info['version']}")
        for kind in LISTS:
            said.lists[kind] = await direct.every(kind)
        for name, method, params in requests:
            said.answers[name] = await direct.request(method, params)
        return said
