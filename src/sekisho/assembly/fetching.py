"""One bounded HTTP exchange with an authorization server.

Guarantees for every exchange: https with a verified certificate (plain HTTP on loopback only), no redirect followed, no
more than `MAX_BYTES` read, and an end after `EXCHANGE_S` whatever the other side does, also when it sends one byte at a
time. Each exchange has a connection of its own: they are rare, and a kept one would be a stranger's to disturb. Knows
nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.protocol import (
    HttpLimits,
    HttpResponse,
    ResponseEnd,
    ResponseEvent,
    ResponseReader,
    collect,
    request_head_bytes,
)

__all__ = ["Endpoint", "exchange", "trust_of"]

MAX_BYTES: Final = 256 << 10  # a key set, or a token's claims
MAX_HEAD_BYTES: Final = 16 << 10
EXCHANGE_S: Final = 5.0  # name, connection, handshake, question and answer together
_LIMITS: Final = HttpLimits(max_head_bytes=MAX_HEAD_BYTES, max_body_bytes=MAX_BYTES)
_PIECE: Final = 16 << 10
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Endpoint:
    """An address that may be asked."""

    __slots__ = ("host", "is_tls", "netloc", "port", "target")

    def __init__(self, url: str, *, may_be_plain: bool) -> None:
        parts = _parts(url)
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        if not self.is_tls and not (may_be_plain and parts.scheme == "http" and self.host in _LOOPBACK):
            raise _unavailable("an issuer's address is not https")
        self.port = parts.port or (443 if self.is_tls else 80)
        self.netloc = parts.netloc
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def trust_of(ca_cert_path: Path | None) -> ssl.SSLContext:
    """A context that believes the system's authorities, or this one alone."""
    try:
        context = ssl.create_default_context(cafile=None if ca_cert_path is None else str(ca_cert_path))
    except (OSError, ValueError) as error:
        raise Misconfigured("key_unavailable", f"{ca_cert_path} holds no certificate") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def exchange(
    endpoint: Endpoint,
    trust: ssl.SSLContext,
    *,
    headers: Iterable[tuple[str, str]] = (),
    form: bytes | None = None,
) -> HttpResponse:
    """Ask, with a form or without; raises Unavailable when no whole answer came in time."""
    try:
        async with asyncio.timeout(EXCHANGE_S):
            return await _exchange(endpoint, trust, headers, form)
    except TimeoutError as error:
        raise _unavailable("the issuer did not answer in time") from error
    except ssl.SSLError as error:
        raise _unavailable("the issuer's certificate or TLS was not accepted") from error
    except OSError as error:
        raise _unavailable("the issuer cannot be reached") from error


async def _exchange(
    endpoint: Endpoint, trust: ssl.SSLContext, headers: Iterable[tuple[str, str]], form: bytes | None
) -> HttpResponse:
    lines = [("Accept", "application/json"), ("Connection", "close"), *headers]
    if form is not None:
        lines.append(("Content-Type", "application/x-www-form-urlencoded"))
    method = "GET" if form is None else "POST"
    head = request_head_bytes(method, endpoint.target, endpoint.netloc, lines, len(form or b""))
    reader, writer = await asyncio.open_connection(
        endpoint.host, endpoint.port, ssl=trust if endpoint.is_tls else None, limit=_PIECE
    )
    try:
        writer.write(head + (form or b""))
        await writer.drain()
        return collect(await _read(reader))
    except SekishoError as error:  # what the parser refuses is worded for plugins
        raise _unavailable("the issuer's answer is too large, or not HTTP") from error
    finally:
        writer.transport.abort()  # no goodbye: it could be withheld


async def _read(reader: asyncio.StreamReader) -> list[ResponseEvent]:
    parser = ResponseReader(_LIMITS)
    events: list[ResponseEvent] = []
    size = 0
    while not (events and isinstance(events[-1], ResponseEnd)):
        data = await reader.read(_PIECE)
        size += len(data)
        if size > MAX_BYTES + MAX_HEAD_BYTES:  # an event stream has no limit of its own
            raise _unavailable("the issuer's answer is too large")
        events += parser.feed(data) if data else parser.eof()
        if not data:
            break
    return events


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.port == 0 or not parts.hostname or "@" in parts.netloc:
            raise _unavailable("an issuer's address cannot be called")
    except ValueError as error:
        raise _unavailable("an issuer's address cannot be called") from error
    return parts


def _unavailable(what: str) -> Unavailable:
    return Unavailable("issuer_unavailable", what)
