"""`sekisho connect`: a stdio front for clients that start a command; it relays to a running gateway over HTTPS.

Holds the token so that the client does not have to, trusts only the CA file it is given, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path
from typing import Final

import msgspec

from sekisho.assembly.running import run_until_stopped
from sekisho.errors import Misconfigured, SekishoError
from sekisho.plugin_server import Upstream
from sekisho.protocol import JsonLimits, LineReader, Request, error_bytes, parse_message

__all__ = ["run_connect"]

MAX_LINE_BYTES: Final = 16 << 20
DRAIN_S: Final = 30.0  # after the client closes its end, answers under way may still arrive


def run_connect(url: str, token_file: Path, ca_file: Path | None) -> int:
    """Relay standard input and output to the gateway at `url` until standard input ends."""
    try:
        token = token_file.read_text(encoding="ascii").strip()
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ValueError) as error:
        raise Misconfigured(
            "key_unavailable",
            f"the token or CA file cannot be read: {error}",
            remedy="check --token-file and --ca",
        ) from error
    return run_until_stopped(_relay(url, token, context))


class _Relay:
    """Messages between the client's pipes and the gateway."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext) -> None:
        self._upstream = Upstream(
            url,
            receive=self._answered,
            on_failure=self._failed,
            max_body_bytes=MAX_LINE_BYTES,
            context=context,
            headers=(("Authorization", f"Bearer {token}"),),
        )
        self._limits = JsonLimits(max_bytes=MAX_LINE_BYTES)
        self._pending: set[int | str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, line: bytes) -> None:
        """One message of the client."""
        if not line.strip():
            return
        try:
            message = parse_message(line, self._limits)
        except SekishoError as error:
            _write(error_bytes(None, error))
            return
        if isinstance(message, Request):
            self._pending.add(message.id)
            self._idle.clear()
        self._upstream.send(line)

    async def finish(self) -> None:
        """Wait for answers under way, then close."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._idle.wait()
        except TimeoutError:
            pass
        await self._upstream.close()

    def _answered(self, body: bytes) -> None:
        ident = msgspec.json.decode(body, type=_Ident).id
        if ident is not None and ident in self._pending:
            self._settle(ident)
            _write(body)

    def _failed(self, ident: int | str, error: SekishoError) -> None:
        if ident in self._pending:
            self._settle(ident)
            _write(error_bytes(ident, error))

    def _settle(self, ident: int | str) -> None:
        self._pending.discard(ident)
        if not self._pending:
            self._idle.set()


class _Ident(msgspec.Struct):
    id: int | str | None = None


async def _relay(url: str, token: str, context: ssl.SSLContext) -> None:
    relay = _Relay(url, token, context)
    lines = LineReader(max_line_bytes=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(sys.stdin.fileno()), "rb", 0)
    )
    while data := await reader.read(1 << 16):
        for line in lines.feed(data):
            relay.take(line)
    await relay.finish()


def _write(message: bytes) -> None:
    sys.stdout.buffer.write(message.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()
