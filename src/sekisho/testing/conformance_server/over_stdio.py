"""The server on stdin and stdout: newline-delimited JSON-RPC, every request in a task of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from .content import Json
from .exchange import Refusal
from .legacy import LegacyExchange, Session
from .server import Server, failed

LIMIT = 16 << 20  # one line


class Stdio:
    """One stdio connection: at most one legacy session, and any number of modern requests."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = Session()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Answer until stdin ends; then whatever still runs is dropped."""
        reader = asyncio.StreamReader(LIMIT)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        async with asyncio.TaskGroup() as tasks:
            self._server.hub.jobs.spawn = tasks.create_task
            while line := await reader.readline():
                try:
                    message = json.loads(line)
                except ValueError:
                    await self.send(failed(None, Refusal(-32700, "this is not JSON")))
                    continue
                if isinstance(message, dict):
                    self._take(message, tasks)
            for task in list(self._running.values()):
                task.cancel()
            self._server.hub.jobs.close()

    def _take(self, message: Json, tasks: asyncio.TaskGroup) -> None:
        if "method" not in message:
            self._session.answered(message)
        elif "id" in message:
            key = json.dumps(message["id"])
            self._running[key] = task = tasks.create_task(self._answer(message))
            task.add_done_callback(lambda _done: self._running.pop(key, None))
        elif message["method"] == "notifications/cancelled":
            cancelled = self._running.get(json.dumps((message.get("params") or {}).get("requestId")))
            if cancelled is not None:
                cancelled.cancel()

    async def _answer(self, request: Json) -> None:
        if self._server.is_modern(request):
            await self.send(await self._server.modern(request, self.send))
            return
        exchange = LegacyExchange(self.send, request.get("params") or {}, self._session)
        await self.send(await self._server.legacy(request, self._session, exchange))

    def wants(self, _method: str, uri: str | None) -> bool:
        """Whether the legacy session hears of a change."""
        return self._session.is_open and (uri is None or uri in self._session.watched)

    async def send(self, message: Any) -> None:
        """One line; written at once, so that lines never mix."""
        data = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


async def serve(server: Server) -> None:
    """Serve stdin."""
    one = Stdio(server)
    with server.hub.hearing(one.send, one.wants):
        await one.serve()
