"""The client all rows share: one kept connection, one call at a time, as little of its own cost as possible.

Guarantees that a row is only measured with right answers: anything but HTTP 200 with the text that was sent
raises `BenchFailed`. Every wait is bounded.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["BenchFailed", "Caller"]

WAIT_S = 20.0
REVISION = "2025-11-25"
TEXT = "thirty-two characters of payload"


class BenchFailed(Exception):
    """A row cannot be measured."""


class Caller:
    """One MCP session over one kept connection."""

    def __init__(self, url: str, tool: str, *, token: str | None = None, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "", parts.port or 0)
        self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._fixed = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\n"
        )
        if token is not None:
            self._fixed += f"Authorization: Bearer {token}\r\n"
        self._tool = tool
        self._number = 0
        self._socket: socket.socket | None = None
        self._rest = b""

    def __enter__(self) -> Caller:
        self._open()
        params: dict[str, object] = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": {"name": "b", "version": "1"},
        }
        headers, _ = self._ask("initialize", params)
        self._fixed += f"MCP-Protocol-Version: {REVISION}\r\n"
        if "mcp-session-id" in headers:
            self._fixed += f"Mcp-Session-Id: {headers['mcp-session-id']}\r\n"
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, (200, 202))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def call(self) -> float:
        """One `tools/call`; returns how long it took, in seconds."""
        self._number += 1
        text = f"{TEXT} {self._number}"
        data = self._request("tools/call", {"name": self._tool, "arguments": {"text": text}})
        started = time.perf_counter()
        status, _, body = self._exchange(data)
        took = time.perf_counter() - started
        answer = json.loads(body) if status == 200 else {}
        if answer.get("result", {}).get("content", [{}])[0].get("text") != text:
            raise BenchFailed(f"{self._tool}: HTTP {status} {body[:300].decode(errors='replace')}")
        return took

    def _open(self) -> None:
        plain = socket.create_connection(self._where, timeout=WAIT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = self._where[0]
        self._socket = (
            plain if self._context is None else self._context.wrap_socket(plain, server_hostname=host)
        )

    def _ask(self, method: str, params: dict[str, object]) -> tuple[dict[str, str], bytes]:
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        return self._post(message, (200,))

    def _post(self, message: dict[str, object], wanted: tuple[int, ...]) -> tuple[dict[str, str], bytes]:
        status, headers, body = self._exchange(self._frame(json.dumps(message).encode()))
        if status not in wanted:
            raise BenchFailed(f"{message['method']}: HTTP {status} {body[:300].decode(errors='replace')}")
        return headers, body

    def _request(self, method: str, params: dict[str, object]) -> bytes:
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        return self._frame(json.dumps(message).encode())

    def _frame(self, body: bytes) -> bytes:
        return f"{self._fixed}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _exchange(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        assert self._socket is not None  # __enter__ opened it
        self._socket.sendall(data)
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._rest += self._more()
        lines = self._rest[:end].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if "transfer-encoding" in headers:
            raise BenchFailed("the answer is chunked; only answers with a length are measured")
        stop = end + 4 + int(headers.get("content-length", "0"))
        while len(self._rest) < stop:
            self._rest += self._more()
        body, self._rest = self._rest[end + 4 : stop], self._rest[stop:]
        return int(lines[0].split(" ")[1]), headers, body

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        if not data:
            raise BenchFailed("the connection was closed")
        return data
