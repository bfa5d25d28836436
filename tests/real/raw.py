"""A client that speaks bytes: for requests no library would send, and at a pace no library would keep."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.real.conftest import Answer, House

WAIT_S = 20.0
VERSION = "2026-07-28"


class Raw:
    """One TLS connection to the door of a house."""

    def __init__(self, house: House, *, handshake: bool = True, receive_buffer: int = 0) -> None:
        where = urlsplit(house.url)
        self.sock: socket.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT_S)
        self.sock.connect((where.hostname or "", where.port or 0))
        if handshake:
            self.sock = house.context.wrap_socket(self.sock, server_hostname=where.hostname)
        self._held = b""
        self.fields: dict[str, str] = {}  # the headers of the latest answer, in small letters

    def send(self, data: bytes) -> None:
        """Send all of it; a house that has hung up is an ordinary end."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def answer(self) -> Answer | None:
        """The next whole answer; None when the house hung up first."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                return None
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines[1:]]
        self.fields = {name.lower(): value for name, _, value in pairs}
        length = int(self.fields.get("content-length", "0"))
        while len(self._held) < length:
            if not self._more():
                return None
        body, self._held = self._held[:length], self._held[length:]
        status = int(lines[0].split()[1])
        if status < 200:
            return self.answer()
        return Answer(status, json.loads(body) if body else {})

    def is_cut(self) -> bool:
        """Whether the house ends the connection within the wait; what it says before does not matter."""
        try:
            while self._more():
                self._held = b""
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 16)
        except (ConnectionError, ssl.SSLError):
            _forget_failures()
            return False
        self._held += data
        return bool(data)


def _forget_failures() -> None:
    """OpenSSL 3.5 beneath Python 3.13 leaves the failure of one connection for this thread's next call to stumble over.

    Then another connection, whose answer has not come yet, reads as ended. A call that fails takes the word away.
    """
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost"
    )
    with contextlib.suppress(ssl.SSLError):
        nobody.do_handshake()


@contextlib.contextmanager
def connected(house: House, count: int = 1, **options: Any) -> Iterator[list[Raw]]:
    """Some connections, closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Raw(house, **options))) for _ in range(count)]


def params_of(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a stateless request of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {**params, "_meta": meta}


def request(
    house: House,
    method: str = "server/discover",
    params: dict[str, Any] | None = None,
    *,
    ident: int = 1,
    token: str | None = None,
    extra: bytes = b"",
    body: bytes | None = None,
) -> bytes:
    """One whole HTTP request; it needs no session."""
    params = params_of(method, params or {})
    if body is None:
        body = json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}).encode()
    name = f"Mcp-Name: {params['name']}\r\n" if "name" in params else ""
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token or house.token}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {VERSION}\r\nMcp-Method: {method}\r\n{name}Content-Length: {len(body)}\r\n"
    )
    return head.encode() + extra + b"\r\n" + body


def call(house: House, tool: str, /, *, token: str | None = None, ident: int = 1, **arguments: Any) -> bytes:
    """One tool call as bytes."""
    params = {"name": tool, "arguments": arguments}
    return request(house, "tools/call", params, token=token, ident=ident)
