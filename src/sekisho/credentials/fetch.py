"""A tiny HTTP client for documents and tokens: one request, one bounded answer, one connection.

Guarantees
- redirects are not followed: where a secret or a code goes is decided before it is sent;
- an answer is at most 256 KiB and takes at most ten seconds, names, TLS and all;
- a name is resolved once, every address it has is judged, and a judged one is dialled: an authorization server that a
  stranger named may not be nearer to us (loopback, private) than the plugin's own server is, unless the operator wrote
  its address down.

Sends what it is given and nothing else: no cookies, no user agent, no credentials of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult

from sekisho.credentials.addresses import checked_url, origin_of
from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.policy.hosts import is_public
from sekisho.protocol import (
    HttpLimits,
    HttpResponse,
    ResponseEnd,
    ResponseEvent,
    ResponseReader,
    request_head_bytes,
)
from sekisho.protocol.http_response import collect

__all__ = ["Fetcher"]

MAX_ANSWER_BYTES: Final = 256 << 10  # metadata and tokens are a few KiB
TIMEOUT_S: Final = 10.0
_LOOPBACK, _PRIVATE, _PUBLIC = range(3)  # how near an address is


class Fetcher:
    """Fetches for one plugin; `home_url` is the plugin's server, `named` are addresses the operator wrote down."""

    def __init__(
        self, home_url: str, *, named: Sequence[str] = (), context: ssl.SSLContext | None = None
    ) -> None:
        self._home = checked_url(home_url, "the plugin's address")
        self._named = {origin_of(checked_url(one)) for one in (home_url, *named)}
        self._context = context
        self._nearest: int | None = None

    async def get(self, url: str) -> HttpResponse:
        """One document; raises `SekishoError`."""
        return await self._exchange("GET", url, (("Accept", "application/json"),), b"")

    async def post(
        self, url: str, body: bytes, content_type: str, headers: Sequence[tuple[str, str]] = ()
    ) -> HttpResponse:
        """One form or document sent; raises `SekishoError`."""
        own = (("Content-Type", content_type), ("Accept", "application/json"))
        return await self._exchange("POST", url, (*own, *headers), body)

    async def _exchange(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> HttpResponse:
        parts = checked_url(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [*headers, ("Connection", "close")]
        head = request_head_bytes(method, target, parts.netloc, lines, len(body))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask(parts, head + body)
        except (OSError, TimeoutError) as error:
            raise Unavailable("authorization_failed", f"{parts.netloc} does not answer") from error
        except SekishoError as error:
            if error.code == "authorization_failed":
                raise
            raise Refused("authorization_failed", f"{parts.netloc} gave no usable answer") from error

    async def _ask(self, parts: SplitResult, request: bytes) -> HttpResponse:
        address = await self._judged_address(parts)
        host, port = parts.hostname or "", origin_of(parts)[2]
        secured = parts.scheme == "https"
        context = (self._context or ssl.create_default_context()) if secured else None
        reader, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=host if secured else None
        )
        try:
            writer.write(request)
            await writer.drain()
            return await _whole_answer(reader)
        finally:
            writer.transport.abort()

    async def _judged_address(self, parts: SplitResult) -> str:
        addresses = await _addresses(parts)
        if origin_of(parts) not in self._named:
            if self._nearest is None:
                self._nearest = min(map(_distance, await _addresses(self._home)))
            if min(map(_distance, addresses)) < self._nearest:
                raise Refused(
                    "authorization_failed",
                    f"{parts.netloc} was named by the plugin's server and lies inside this network",
                    remedy="write its address down as oauth.issuer, if it is the right one",
                )
        return addresses[0]


async def _addresses(parts: SplitResult) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, origin_of(parts)[2], type=socket.SOCK_STREAM
    )
    # IPv4 first: servers of this machine often listen on 127.0.0.1 alone, and localhost names both
    ordered = sorted(found, key=lambda one: one[0] != socket.AF_INET)
    return [str(one[4][0]) for one in ordered]


def _distance(text: str) -> int:
    address = ip_address(text.partition("%")[0])
    if address.is_loopback:
        return _LOOPBACK
    return _PUBLIC if is_public(address) else _PRIVATE


async def _whole_answer(reader: asyncio.StreamReader) -> HttpResponse:
    limits = HttpLimits(max_head_bytes=32 << 10, max_body_bytes=MAX_ANSWER_BYTES)
    responses = ResponseReader(limits)
    events: list[ResponseEvent] = []
    size = 0
    while not (events and isinstance(events[-1], ResponseEnd)):
        data = await reader.read(1 << 16)
        size += len(data)
        if size > 2 * MAX_ANSWER_BYTES:  # an event stream has no limit of its own in the reader
            raise Refused("authorization_failed", "the answer is too large")
        new = responses.feed(data) if data else responses.eof()
        if not data and not new:
            raise Refused("authorization_failed", "the connection ended without an answer")
        events += new
        ends = [index for index, event in enumerate(events) if isinstance(event, ResponseEnd)]
        if ends:
            events = events[: ends[0] + 1]
    return collect(events)
