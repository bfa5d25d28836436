"""`sekisho connect`: a stdio front for clients that start a command; it relays to a running gateway over HTTPS.

Holds the token so that the client does not have to, trusts only the CA file it is given, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from sekisho.assembly.running import run_until_stopped
from sekisho.errors import Misconfigured, SekishoError
from sekisho.plugin_server import Site, StaticHeaders, Upstream
from sekisho.protocol import (
    JsonLimits,
    LineReader,
    Request,
    encode_header,
    error_bytes,
    parse_message,
)

__all__ = ["run_connect"]

MAX_LINE_BYTES: Final = 16 << 20
_PROGRESS: Final = "notifications/progress"
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
            Site.parse(url),
            hearer=self,
            max_body_bytes=MAX_LINE_BYTES,
            authoriser=StaticHeaders({"Authorization": f"Bearer {token}"}),
            context=context,
            may_be_private=True,  # the gateway is ours
        )
        self._limits = JsonLimits(max_bytes=MAX_LINE_BYTES)
        self._pending: dict[int | str, str] = {}  # id and method
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
            self._pending[message.id] = message.method
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

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        """Messages of the gateway."""
        for line in lines:
            self.receive(line, of)

    def is_waiting(self, ident: int | str) -> bool:
        """True while the client waits for this answer."""
        return ident in self._pending

    def fail_all(self, error: SekishoError) -> None:
        """No request will be answered."""
        for ident in tuple(self._pending):
            self.fail_one(ident, error)

    def receive(self, line: bytes, of: int | None = None) -> None:
        """One message of the gateway."""
        del of
        try:
            answer = msgspec.json.decode(line, type=_Answer)
        except msgspec.MsgspecError:
            return  # the end of the response fails its request
        if answer.method is not None:
            _write(line)  # the gateway tells or asks; it knows from the client's own words what may be asked
            return
        if answer.id is None or answer.id not in self._pending:
            return
        if self._pending[answer.id] == "initialize" and answer.result:
            self._agree(answer.result)
        self._settle(answer.id)
        _write(line)

    def _agree(self, result: msgspec.Raw) -> None:
        """Later messages name the version the gateway chose."""
        try:
            version = msgspec.json.decode(result, type=_Initialized).protocol_version
        except msgspec.MsgspecError:
            return
        self._upstream.use_version(encode_header(version))

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """One request will not be answered."""
        if ident in self._pending:
            self._settle(ident)
            _write(error_bytes(ident, error))

    def _settle(self, ident: int | str) -> None:
        del self._pending[ident]
        if not self._pending:
            self._idle.set()


class _Answer(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw()


class _Initialized(msgspec.Struct, rename="camel"):
    protocol_version: str


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
