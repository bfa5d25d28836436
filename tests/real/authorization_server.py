"""A real authorization server on loopback: it listens, publishes metadata and keys, and answers about tokens.

It signs with `tests.issuing.Issuer`. What it answers at a path can be replaced, so that it may also be slow, endless,
lying or somewhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from tests.issuing import Issuer, as_json

from sekisho.protocol import response_bytes

METADATA: Final = "/.well-known/oauth-authorization-server"
Write = Callable[[bytes], Awaitable[None]]


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    form: dict[str, list[str]]


@dataclass
class AuthorizationServer:
    """What listens."""

    issuer: Issuer
    claims: dict[str, dict[str, object]] = field(default_factory=dict)
    """What introspection says of each token; of others it says that they are not active."""
    pages: dict[str, Callable[[Write], Awaitable[None]]] = field(default_factory=dict)
    desks: dict[str, Callable[[Asked], bytes]] = field(default_factory=dict)
    """Who answers at further paths, given what was asked."""
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its identifier."""
        return self.issuer.issuer

    @property
    def targets(self) -> list[str]:
        """The paths that were asked for."""
        return [one.target for one in self.asked]

    def say(
        self, target: str, body: bytes, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Answer so at this path from now on."""

        async def page(write: Write) -> None:
            await write(response_bytes(status, body, headers=headers, close=True))

        self.pages[target] = page

    def never_stop(self, target: str, start: bytes, piece: bytes, pause_s: float = 0.0) -> None:
        """Begin an answer there and never end it."""

        async def page(write: Write) -> None:
            await write(start)
            while True:
                await write(piece)
                await asyncio.sleep(pause_s)

        self.pages[target] = page

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            asked = await _read(reader)
            self.asked.append(asked)
            page = self.pages.get(asked.target)
            await (page(write) if page is not None else write(self._answer(asked)))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, as it should from an answer without end
        finally:
            writer.close()

    def _answer(self, asked: Asked) -> bytes:
        match asked.target:
            case "/jwks":
                return response_bytes(200, self.issuer.jwks(), close=True)
            case "/introspect":
                found = self.claims.get(asked.form["token"][0], {"active": False})
                return response_bytes(200, as_json(found), close=True)
            case target if target == METADATA:
                document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
                return response_bytes(200, as_json(document), close=True)
            case target if target.partition("?")[0] in self.desks:
                return self.desks[target.partition("?")[0]](asked)
            case _:
                return response_bytes(404, b"{}", close=True)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, parse_qs(body.decode("ascii")))


@asynccontextmanager
async def listening(issuer: Issuer, tls: ssl.SSLContext | None = None) -> AsyncIterator[AuthorizationServer]:
    """A server on a free port of loopback; its identifier becomes its address."""
    server = AuthorizationServer(issuer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    issuer.issuer = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
