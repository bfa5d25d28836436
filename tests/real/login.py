"""Authorization servers that run beside a test, and a client that shows their tokens to a house over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.issuing import Holder, Issuer, as_json
from tests.real.authorization_server import AuthorizationServer, Write, listening
from tests.real.conftest import House, message
from tests.real.raw import VERSION, params_of

from sekisho.keys import Authority, Role, SpiffeId, x5t_s256
from sekisho.protocol import response_bytes

WAIT_S: Final = 30.0
_numbers = itertools.count(1)


class Hold:
    """An answer that is begun only when the test says so."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.asked = threading.Event()
        self.released = threading.Event()

    async def page(self, write: Write) -> None:
        self.asked.set()
        await asyncio.to_thread(self.released.wait, WAIT_S)
        await write(response_bytes(200, self._body, close=True))


class Login:
    """Some authorization servers with a loop of their own, so that a test may wait for what it sent."""

    def __init__(self, *algorithms: str) -> None:
        self._issuers = [Issuer.of(algorithm) for algorithm in algorithms]
        self._ready = threading.Event()
        self.servers: list[AuthorizationServer] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for issuer in self._issuers:
                self.servers.append(await stack.enter_async_context(listening(issuer)))
            self._ready.set()
            await self._stop.wait()

    async def silence(self, write: Write) -> None:
        """A page: take the question, and never answer."""
        del write
        await self._stop.wait()

    def __enter__(self) -> Login:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(self, *given: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: Any

    @property
    def code(self) -> str:
        """The stable code of a refusal, or "ok"."""
        if isinstance(self.body, dict) and "error" in self.body:
            return str(self.body["error"]["data"]["code"])
        return "ok"

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    @property
    def challenges(self) -> dict[str, dict[str, str]]:
        """By scheme, what the challenges say."""
        found = {}
        for one in self.all("WWW-Authenticate"):
            scheme, _, rest = one.partition(" ")
            found[scheme] = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        return found


def reply_of(answer: http.client.HTTPResponse) -> Reply:
    """All of it."""
    content = answer.read()
    is_json = content and "json" in (answer.headers.get("Content-Type") or "")
    return Reply(
        status=answer.status,
        headers=list(answer.headers.items()),
        body=json.loads(content) if is_json else content,
    )


class Caller:
    """A connection of a client."""

    def __init__(self, house: House, context: ssl.SSLContext | None = None) -> None:
        self.house = house
        port = int(house.base.rpartition(":")[2])
        self.http = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=WAIT_S, context=context or house.context
        )

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request."""
        self.http.request(method, path, body=body or None, headers=dict(headers or {}))
        return reply_of(self.http.getresponse())

    def call(
        self,
        authorization: str | None,
        tool: str = "echo__echo",
        *,
        path: str = "/mcp",
        proof: str | None = None,
        **arguments: Any,
    ) -> Reply:
        """One stateless tool call."""
        arguments = arguments or ({"text": "hello"} if tool.endswith("echo") else {"a": 1, "b": 2})
        params = params_of("tools/call", {"name": tool, "arguments": arguments})
        headers = head(authorization, proof) | {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        headers["MCP-Protocol-Version"] = VERSION
        return self.send("POST", path, message("tools/call", params, next(_numbers)), headers)

    def legacy(
        self,
        authorization: str | None,
        method: str,
        params: dict[str, Any],
        *,
        session: str = "",
        path: str = "/mcp",
        proof: str | None = None,
    ) -> Reply:
        """One request of a client of 2025-11-25."""
        headers = head(authorization, proof) | {"MCP-Protocol-Version": "2025-11-25"}
        if session:
            headers["Mcp-Session-Id"] = session
        return self.send("POST", path, message(method, params, next(_numbers)), headers)

    def open_session(self, authorization: str, path: str = "/mcp") -> str:
        """Its id."""
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        (session,) = self.legacy(authorization, "initialize", hello, path=path).all("Mcp-Session-Id")
        return session

    @property
    def local_port(self) -> int:
        """Our end of the connection."""
        assert isinstance(self.http.sock, socket.socket)
        return int(self.http.sock.getsockname()[1])

    def close(self) -> None:
        """Hang up."""
        self.http.close()


@contextlib.contextmanager
def calling(house: House, context: ssl.SSLContext | None = None) -> Iterator[Caller]:
    """A connection, closed at the end."""
    with contextlib.closing(Caller(house, context)) as caller:
        yield caller


def head(authorization: str | None, proof: str | None = None) -> dict[str, str]:
    """The headers that every request carries."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if authorization is not None:
        headers["Authorization"] = authorization
    if proof is not None:
        headers["DPoP"] = proof
    return headers


def bearer(server: AuthorizationServer, house: House, **claims: Any) -> str:
    """A header with a good token of this server for the whole house, with some claims changed."""
    return f"Bearer {issued(server, house, **claims)}"


def issued(server: AuthorizationServer, house: House, **claims: Any) -> str:
    """Such a token."""
    return server.issuer.token(time.time(), **{"aud": house.base, "jti": f"t{next(_numbers)}"} | claims)


def proved(holder: Holder, token: str, house: House, path: str = "/mcp", **changes: Any) -> str:
    """A proof for a POST there, changed."""
    return holder.proof(token, time.time(), **{"htu": house.base + path} | changes)


def active(house: House, **claims: Any) -> dict[str, object]:
    """What introspection says of a good token."""
    return {
        "active": True,
        "aud": house.base,
        "sub": "carol",
        "scope": "mcp tools",
        "exp": int(time.time()) + 600,
    } | claims


def private_file(folder: Path, name: str, data: bytes) -> Path:
    """A file that its owner alone can read."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def client_context(house: House, authority: Authority, folder: Path) -> tuple[ssl.SSLContext, str]:
    """What a client with a certificate of this authority connects with, and the certificate's thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = SpiffeId(trust_domain="clients.example", role=Role.CORE, name="client")
    leaf = authority.issue(name, key.public_key(), time.time())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = private_file(folder, f"client-{leaf.serial_number}.pem", leaf.public_bytes(Encoding.PEM) + pem)
    context = ssl.create_default_context(cafile=house.ready["ca_file"])
    context.load_cert_chain(path)
    return context, x5t_s256(leaf.public_bytes(Encoding.DER))


__all__ = [
    "WAIT_S",
    "Caller",
    "Hold",
    "Login",
    "Reply",
    "active",
    "as_json",
    "bearer",
    "calling",
    "client_context",
    "head",
    "issued",
    "private_file",
    "proved",
    "reply_of",
]
