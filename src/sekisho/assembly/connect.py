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
from sekisho.protocol import (
    META_PROTOCOL_VERSION,
    JsonLimits,
    LineReader,
    Request,
    encode_header,
    error_bytes,
    parse_message,
)

__all__ = ["modern_headers", "run_connect"]

MAX_LINE_BYTES: Final = 16 << 20
NAMED: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
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
            url,
            receive=self._answered,
            on_failure=self._failed,
            max_body_bytes=MAX_LINE_BYTES,
            context=context,
            headers=(("Authorization", f"Bearer {token}"),),
            headers_for=modern_headers,
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

    def _answered(self, body: bytes) -> None:
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError:
            return  # the end of the response fails its request
        if answer.method == _PROGRESS and answer.id is None:
            _write(body)
            return
        if answer.id is None or answer.id not in self._pending:
            return
        if self._pending[answer.id] == "initialize" and answer.result:
            self._agree(answer.result)
        self._settle(answer.id)
        _write(body)

    def _agree(self, result: msgspec.Raw) -> None:
        """Later messages name the version the gateway chose."""
        try:
            version = msgspec.json.decode(result, type=_Initialized).protocol_version
        except msgspec.MsgspecError:
            return
        self._upstream.use_version(encode_header(version))

    def _failed(self, ident: int | str, error: SekishoError) -> None:
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


class _Meta(msgspec.Struct):
    version: str | None = msgspec.field(default=None, name=META_PROTOCOL_VERSION)


class _Params(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta, name="_meta")
    name: str | None = None
    uri: str | None = None


class _Modern(msgspec.Struct):
    method: str
    params: _Params = msgspec.field(default_factory=_Params)


def modern_headers(message: bytes) -> tuple[tuple[str, str], ...]:
    """The headers that repeat what a message of 2026-07-28 says of itself; none for one of an older revision."""
    try:
        read = msgspec.json.decode(message, type=_Modern)
    except msgspec.MsgspecError:
        return ()  # the gateway says what is wrong with it
    if read.params.meta.version is None:
        return ()
    name = read.params.uri if read.method == "resources/read" else read.params.name
    headers = (
        ("MCP-Protocol-Version", encode_header(read.params.meta.version)),
        ("Mcp-Method", encode_header(read.method)),
    )
    if name is None or read.method not in NAMED:
        return headers
    return (*headers, ("Mcp-Name", encode_header(name)))


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
