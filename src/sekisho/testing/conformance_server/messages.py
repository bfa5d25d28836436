"""HTTP/1.1 as far as the fixture needs it: requests with a Content-Length, answers with one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .content import Json

LIMIT = 16 << 20
_REASONS = {200: "OK", 202: "Accepted", 204: "No Content", 400: "Bad Request", 403: "Forbidden"}
_REASONS |= {404: "Not Found", 405: "Method Not Allowed"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; header names in lower case."""

    method: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_local(self) -> bool:
        """Whether Host and Origin are this machine's: the guard against DNS rebinding."""
        host = urlsplit(f"//{self.headers.get('host', '')}").hostname
        origin = self.headers.get("origin")
        return host in _LOCAL and (origin is None or urlsplit(origin).hostname in _LOCAL)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None when the client closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip(" \t") for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    if length > LIMIT or "transfer-encoding" in headers:
        raise ValueError("the fixture takes bodies with a Content-Length only")
    body = await reader.readexactly(length)
    return Request(method=first.split(" ")[0], headers=headers, body=body)


def write_head(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], session: str) -> None:
    """Status line and headers."""
    all_ = dict(headers) | ({"Mcp-Session-Id": session} if session else {})
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in all_.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


async def write_answer(
    writer: asyncio.StreamWriter, status: int, body: Json | None, session: str = ""
) -> bool:
    """A whole answer; the connection stays."""
    data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    headers = {"Content-Length": str(len(data))} | ({"Content-Type": "application/json"} if data else {})
    write_head(writer, status, headers, session)
    writer.write(data)
    await writer.drain()
    return True
