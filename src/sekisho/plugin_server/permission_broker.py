"""The broker that Deno asks before it does anything: outside the walls, judging by the grants, telling what it refused.

Guarantees
- the answer is that of `DenoAccess`, the same value that the flags are made of; nothing is asked of a person;
- what cannot be read as a question is not answered: the line is cut, and Deno ends itself when it has no broker;
- lines and connections are bounded, and a question costs no file, name or network of ours to judge;
- each refusal becomes a denial, with what was asked for in characters that are fit for a log.

The socket stands in a folder that holds nothing else and is shown inside read-only. Whoever connects to it can do one
thing: ask, and be told what the program may do anyway.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

import msgspec

from sekisho.errors import Misconfigured
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.wire import DenialFrame

__all__ = ["BROKER_VARIABLE", "answer", "denial_of", "permission_broker"]

BROKER_VARIABLE: Final = "DENO_PERMISSION_BROKER_PATH"
SOCKET: Final = "broker.sock"
MAX_LINE_BYTES: Final = 64 << 10  # a path of Linux is at most 4 KiB
SPARE_LINES: Final = 8  # one Deno makes one; an old one may not have ended when the next begins
MAX_SHOWN: Final = 200
_RULES: Final = {"read": "filesystem_policy", "write": "filesystem_policy", "net": "network_policy"}

OnDenial = Callable[[DenialFrame], None]


class _Question(msgspec.Struct):
    """One line of Deno's; `v` is the version of its protocol."""

    v: int
    id: int
    permission: str
    value: str | None = None


_question: Final = msgspec.json.Decoder(_Question)
_encode: Final = msgspec.json.Encoder().encode


def answer(line: bytes, access: DenoAccess, on_denial: OnDenial) -> bytes | None:
    """The line that answers one of Deno's; None for one that is no question."""
    try:
        asked = _question.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if asked.v != 1:
        return None
    reason = access.refusal(asked.permission, asked.value)
    if reason is None:
        return _encode({"id": asked.id, "result": "allow"}) + b"\n"
    on_denial(denial_of(asked.permission, asked.value or "", reason))
    return _encode({"id": asked.id, "result": "deny", "reason": f"sekisho: {reason}"}) + b"\n"


def denial_of(permission: str, value: str, reason: str) -> DenialFrame:
    """What Deno may not do, as a denial; both words may be a plugin's."""
    shown = _shown(permission)
    return DenialFrame(
        "connect" if shown == "net" else "path" if shown in _RULES else "permission",
        _RULES.get(shown, "runtime = deno"),
        f"{shown}: {reason}",
        _shown(value),
    )


@asynccontextmanager
async def permission_broker(
    folder: Path, access: DenoAccess, on_denial: OnDenial, instances: int = 0
) -> AsyncIterator[Path]:
    """Serve a broker in a folder of its own, made anew; yields the path of its socket.

    Args:
        instances: how many processes of the plugin may run beside the one that is listed.

    Raises:
        Misconfigured: the socket cannot be made.
    """
    lines: set[_Line] = set()
    path = folder / SOCKET
    try:
        _make_folder(folder)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Line(access, on_denial, lines, instances + SPARE_LINES), str(path)
        )
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - a plugin may be another user; the folders above let nobody else in
    except OSError as problem:
        raise Misconfigured(
            "sandbox_unavailable",
            f"the permission broker cannot listen at {path}: {problem.strerror or problem}",
            remedy="use a shorter home folder that can be written",
        ) from problem
    try:
        yield path
    finally:
        server.close()
        for line in tuple(lines):
            line.cut()
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)


class _Line(asyncio.Protocol):
    """One connection; answers as soon as it hears, and keeps no more than one unfinished line."""

    def __init__(self, access: DenoAccess, on_denial: OnDenial, lines: set[_Line], most: int) -> None:
        self._access = access
        self._on_denial = on_denial
        self._lines = lines
        self._most = most
        self._heard = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more, if there is room."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases
        if len(self._lines) >= self._most:
            self._transport.abort()
        else:
            self._lines.add(self)

    def data_received(self, data: bytes) -> None:
        """Answer every whole line."""
        *whole, self._heard = (self._heard + data).split(b"\n")
        for line in whole:
            said = answer(line, self._access, self._on_denial)
            if said is None:
                self.cut()
                return
            self._transport.write(said)
        if len(self._heard) > MAX_LINE_BYTES:
            self.cut()

    def pause_writing(self) -> None:
        """It asks and does not listen."""
        self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Room for another."""
        del exc
        self._lines.discard(self)

    def cut(self) -> None:
        """End it now."""
        self._transport.abort()


def _shown(text: str) -> str:
    """A plugin's word, fit for a log."""
    return ascii(text[:MAX_SHOWN])[1:-1]
