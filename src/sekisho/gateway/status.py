"""/healthz, /readyz and /metrics on an address of their own, for operators on this machine.

Needs no token and therefore says nothing about clients, calls or payloads: alive or not, ready or not, counters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec

from sekisho.errors import SekishoError
from sekisho.gateway.guard import check_origin, loopback_names
from sekisho.protocol import HttpLimits, HttpRequest, RequestReader, response_bytes

__all__ = ["StatusPage"]

_LIMITS = HttpLimits(max_head_bytes=8 << 10, max_body_bytes=0)
_TIMEOUT_S = 5.0


class StatusPage(asyncio.Protocol):
    """One connection to the status address; one request each."""

    def __init__(
        self, *, readiness: Callable[[], dict[str, str]], metrics: Callable[[], tuple[str, bytes]]
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._reader = RequestReader(_LIMITS)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound the wait for the request."""
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_TIMEOUT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer the first request and close."""
        if self._transport is None:
            return
        try:
            requests = self._reader.feed(data)
            if not requests:
                return
            answer = self._answer(requests[0])
        except SekishoError as error:
            answer = response_bytes(error.info.http_status, b"", close=True)
        self._transport.write(answer)
        self._transport.close()
        self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to keep."""
        del exc
        if self._timer is not None:
            self._timer.cancel()

    def _answer(self, request: HttpRequest) -> bytes:
        check_origin(request.headers, loopback_names(), frozenset())
        if request.method != "GET":
            return response_bytes(405, b"", headers=(("Allow", "GET"),), close=True)
        match request.target:
            case "/healthz":
                return response_bytes(200, b'{"status":"alive"}', close=True)
            case "/readyz":
                problems = self._readiness()
                body = msgspec.json.encode({"ready": not problems, "problems": problems})
                return response_bytes(503 if problems else 200, body, close=True)
            case "/metrics":
                content_type, text = self._metrics()
                return response_bytes(200, text, content_type=content_type, close=True)
            case _:
                return response_bytes(404, b"", close=True)
