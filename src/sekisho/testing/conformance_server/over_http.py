"""The server over Streamable HTTP on loopback, both eras on one path.

Small on purpose: HTTP/1.1 with Content-Length bodies, JSON answers on a connection that stays, event streams on
one that ends with them. A client that leaves a modern stream has cancelled; one that leaves a legacy stream may
come back with Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from .content import Json
from .exchange import Refusal, Send
from .ladder import check_headers, status_of
from .legacy import LegacyExchange, Session
from .messages import Request, read_request, write_answer, write_head
from .server import Server, failed
from .streams import Stream


class _Resumable(LegacyExchange):
    """A call whose stream can be left and taken up again."""

    stream: Stream

    async def hang_up(self) -> None:
        self.stream.hang_up()


class Http:
    """All sessions and streams of one listening socket."""

    def __init__(self, server: Server, tasks: asyncio.TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self._sessions: dict[str, Session] = {}
        self._streams: dict[str, Stream] = {}
        self._calls: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, one after the other."""
        try:
            while request := await read_request(reader):
                if not await self._answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client went away, or does not speak HTTP
        finally:
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; returns whether the connection can be used again."""
        if not request.is_local:
            return await write_answer(writer, 403, None)
        if request.method == "POST":
            return await self._post(request, reader, writer)
        session = self._sessions.get(request.headers.get("mcp-session-id", ""))
        if not self._server.speaks_legacy or request.method not in ("GET", "DELETE"):
            return await write_answer(writer, 405, None)
        if session is None:
            return await write_answer(writer, 404, None)
        if request.method == "DELETE":
            del self._sessions[session.ident]
            return await write_answer(writer, 204, None)
        return await self._get(request, session, reader, writer)

    async def _post(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        try:
            message = json.loads(request.body)
        except ValueError:
            return await write_answer(writer, 400, failed(None, Refusal(-32700, "this is not JSON")))
        if not isinstance(message, dict):
            return await write_answer(writer, 400, failed(None, Refusal(-32600, "one message is wanted")))
        if self._server.is_modern(message, request.headers.get("mcp-protocol-version")):
            return await self._modern(message, request, reader, writer)
        return await self._legacy(message, request, reader, writer)

    async def _modern(
        self,
        message: Json,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if "id" not in message:
            return await write_answer(writer, 202, None)
        try:
            check_headers(message, request.headers)
        except Refusal as refusal:
            return await write_answer(writer, 400, failed(message["id"], refusal))
        stream = Stream()
        outcome: list[Json] = []

        async def run() -> None:
            outcome.append(await self._server.modern(message, stream.send))
            if stream.events:
                await stream.send(outcome[0])
            stream.close()

        call = self._tasks.create_task(run())
        try:
            await _unless_gone(stream.started(), reader)
            if not stream.events and outcome:
                return await write_answer(writer, status_of(outcome[0]), outcome[0])
            await _relay(stream.follow(), reader, writer)
        finally:
            call.cancel()
        return False

    async def _legacy(
        self,
        message: Json,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if message.get("method") == "initialize":
            session = Session(secrets.token_urlsafe(16))
            self._sessions[session.ident] = session
        else:
            ident = request.headers.get("mcp-session-id")
            if ident not in self._sessions:
                status = 400 if ident is None else 404
                refusal = Refusal(-32600, "no such session")
                return await write_answer(writer, status, failed(message.get("id"), refusal))
            session = self._sessions[ident]
        if "method" not in message:
            session.answered(message)
            return await write_answer(writer, 202, None)
        if "id" not in message:
            self._noticed(message, session)
            return await write_answer(writer, 202, None)
        return await self._legacy_call(message, session, reader, writer)

    def _noticed(self, message: Json, session: Session) -> None:
        if message["method"] == "notifications/cancelled":
            asked = json.dumps((message.get("params") or {}).get("requestId"))
            call = self._calls.get((session.ident, asked))
            if call is not None:
                call.cancel()

    async def _legacy_call(
        self, message: Json, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        key = session.ident, json.dumps(message["id"])
        stream = Stream(secrets.token_hex(8) if session.revision == "2025-11-25" else "")
        exchange = _Resumable(_primed(stream), message.get("params") or {}, session)
        exchange.stream = stream
        outcome: list[Json] = []

        async def run() -> None:
            try:
                outcome.append(await self._server.legacy(message, session, exchange))
                if stream.events:
                    await stream.send(outcome[0])
            finally:
                stream.close()
                self._calls.pop(key, None)

        self._streams[stream.name] = stream
        self._calls[key] = self._tasks.create_task(run())
        await stream.started()
        if not stream.events and outcome:
            return await write_answer(writer, 200, outcome[0], session.ident)
        await _relay(stream.follow(), reader, writer, session.ident)
        return False

    async def _get(
        self,
        request: Request,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        name, _, number = request.headers.get("last-event-id", "").partition("/")
        if name and name in self._streams:
            await _relay(self._streams[name].follow(int(number) + 1), reader, writer, session.ident)
            return False
        stream = Stream()

        def wants(_method: str, uri: str | None) -> bool:
            return uri is None or uri in session.watched

        with self._server.hub.hearing(stream.send, wants):
            await _relay(stream.follow(), reader, writer, session.ident)
        return False


def _primed(stream: Stream) -> Send:
    async def send(message: Json) -> None:
        if not stream.events:
            stream.prime()
        await stream.send(message)

    return send


async def _unless_gone(wait: Coroutine[Any, Any, None], reader: asyncio.StreamReader) -> None:
    """Wait, but not for a client that left."""
    try:
        async with asyncio.TaskGroup() as both:
            waiting = both.create_task(wait)
            leaving = both.create_task(reader.read(1))
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            leaving.cancel()
    except* ConnectionError:
        pass  # that is how some leave


async def _relay(
    events: AsyncIterator[bytes],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    session: str = "",
) -> None:
    """Write the events as they come, until they end or the client left."""
    write_head(writer, 200, {"Content-Type": "text/event-stream", "Connection": "close"}, session)

    async def copy() -> None:
        async for event in events:
            writer.write(event)
            await writer.drain()

    await writer.drain()
    await _unless_gone(copy(), reader)


async def serve(server: Server, port: int) -> None:
    """Listen until killed; the address is printed."""
    async with asyncio.TaskGroup() as tasks:
        http = Http(server, tasks)
        server.hub.jobs.spawn = tasks.create_task
        listening = await asyncio.start_server(http.connection, "127.0.0.1", port)
        print(f"http://localhost:{listening.sockets[0].getsockname()[1]}/mcp", flush=True)
        await listening.serve_forever()
