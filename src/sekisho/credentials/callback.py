"""Where a login comes back to: one path, on a loopback port, for as long as one login takes (RFC 8252 section 7.3).

Guarantees that it listens on 127.0.0.1 alone, answers a person with fixed words (it repeats nothing and leads nowhere),
and hands on the query of the first request that `is_ours` accepts. Others are answered and forgotten: any page in the
person's browser can send requests here. Judges no login; `authorization` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.protocol import HttpLimits, HttpRequest, RequestReader, response_bytes

__all__ = ["CALLBACK_PATH", "Callback", "open_callback"]

CALLBACK_PATH: Final = "/callback"
LOGIN_TIMEOUT_S: Final = 300.0  # a person reads, types a password, looks for a second factor
READ_TIMEOUT_S: Final = 5.0
MAX_VISITS: Final = 64  # a page that knocks again and again ends the login, it does not hold it
_LIMITS: Final = HttpLimits(max_head_bytes=32 << 10, max_body_bytes=0)
_DONE: Final = b"<!doctype html><title>Sekisho</title><p>Thank you. You may close this window.</p>"
_OTHER: Final = b"<!doctype html><title>Sekisho</title><p>This is not the answer that is waited for.</p>"
_SAFE: Final = (
    ("Content-Security-Policy", "default-src 'none'"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
)


class Callback:
    """A listener that waits for one answer."""

    def __init__(self) -> None:
        self.redirect_uri = ""
        self.port = 0
        self._visits = 0
        self._is_ours: Callable[[str], bool] | None = None
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def expect(self, is_ours: Callable[[str], bool]) -> None:
        """Say what to wait for, before anybody is sent to the login page: some browsers are back at once."""
        self._is_ours = is_ours

    async def answer(self, timeout_s: float = LOGIN_TIMEOUT_S) -> str:
        """The query of the answer; raises `Unavailable` if none comes."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer
        except TimeoutError as error:
            raise Unavailable("login_needed", "nobody logged in") from error

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One visit."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                request = await _request(reader)
            if request is not None:
                writer.write(self._reply(request))
                await writer.drain()
        except (OSError, TimeoutError, SekishoError):
            pass  # a visitor that speaks no HTTP is no answer
        finally:
            writer.close()

    def _reply(self, request: HttpRequest) -> bytes:
        path, _, query = request.target.partition("?")
        self._visits += 1
        if self._visits > MAX_VISITS and not self._answer.done():
            self._answer.set_exception(
                Unavailable("login_needed", "something else knocks at the login's port")
            )
        is_here = request.headers.get("host") == f"127.0.0.1:{self.port}"
        is_path = request.method == "GET" and path == CALLBACK_PATH
        if not (is_here and is_path and self._is_ours is not None and self._is_ours(query)):
            return _page(400, _OTHER)
        if not self._answer.done():
            self._answer.set_result(query)
        return _page(200, _DONE)


@asynccontextmanager
async def open_callback(port: int = 0) -> AsyncIterator[Callback]:
    """Listen on this port of loopback; 0 takes a free one."""
    callback = Callback()
    try:
        server = await asyncio.start_server(callback.serve, "127.0.0.1", port)
    except OSError as error:
        raise Misconfigured(
            "config_invalid",
            f"port {port} of 127.0.0.1 is taken: {error.strerror}",
            remedy="close what uses it, or set another oauth.redirect_port",
        ) from error
    callback.port = server.sockets[0].getsockname()[1]
    callback.redirect_uri = f"http://127.0.0.1:{callback.port}{CALLBACK_PATH}"
    try:
        yield callback
    finally:
        server.close()


async def _request(reader: asyncio.StreamReader) -> HttpRequest | None:
    requests = RequestReader(_LIMITS)
    while data := await reader.read(1 << 14):
        for request in requests.feed(data):
            return request
    return None


def _page(status: int, body: bytes) -> bytes:
    return response_bytes(status, body, content_type="text/html; charset=utf-8", headers=_SAFE, close=True)
