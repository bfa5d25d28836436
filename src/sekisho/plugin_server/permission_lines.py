"""What Deno says that it was asked for, where it asks no broker: lines on its standard error, judged by the grants.

Guarantees
- what its flags refuse is told as a denial, by the same value that the flags are made of;
- a plugin that writes beside these lines, in front of one or behind it hides none, and what it writes itself goes on;
- what is kept of an unfinished line is bounded.

Deno says what was asked for, and not what it answered; so an answer is worked out here. Three things it does not say or
we cannot know: of a program that it would have to run it says nothing; a module from the network may come from what was
cached, so that is not told; and a relative path is taken from the folder that the program was started in.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import Final

import msgspec

from sekisho.plugin_server.permission_broker import denial_of
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.wire import DenialFrame

__all__ = ["AUDIT_VARIABLE", "PermissionLines"]

AUDIT_VARIABLE: Final = "DENO_AUDIT_PERMISSIONS"
MAX_LINE_BYTES: Final = 64 << 10  # as of a question to the broker
_BEGIN: Final = b'{"v":1,"datetime":"'  # within a value its quotes would be escaped
_UNTOLD: Final = ("env", "import")


class _Asked(msgspec.Struct):
    """One line of Deno's."""

    permission: str
    value: str | None = None


_first_of: Final = json.JSONDecoder().raw_decode


class PermissionLines:
    """Standard error of one Deno, on its way to who keeps its last words; `folder` is where it was started."""

    def __init__(self, access: DenoAccess, folder: str, on_denial: Callable[[DenialFrame], None]) -> None:
        self._access = access
        self._folder = folder
        self._on_denial = on_denial
        self._heard = b""

    def take(self, data: bytes) -> bytes:
        """What came, without Deno's lines."""
        *whole, self._heard = (self._heard + data).split(b"\n")
        said = b"".join(map(self._words_of, whole))
        if len(self._heard) > MAX_LINE_BYTES:
            said, self._heard = said + self._heard, b""
        return said

    def _words_of(self, line: bytes) -> bytes:
        at = line.rfind(_BEGIN)
        if at < 0:
            return line + b"\n"
        text = line[at:].decode(errors="replace")
        try:
            said, end = _first_of(text)  # before the line ends, another thread may have written
            asked = msgspec.convert(said, _Asked)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return line + b"\n"
        self._judge(asked.permission, asked.value)
        rest = text[end:].encode()
        return line[:at] + (rest + b"\n" if rest else b"")

    def _judge(self, permission: str, value: str | None) -> None:
        if value is None or permission in _UNTOLD or (permission == "net" and "://" in value):
            return  # of an address its host and port follow
        if permission in {"read", "write"} and not value.startswith(("/", "<")):
            value = posixpath.join(self._folder, value)
        reason = self._access.refusal(permission, value)
        if reason is not None:
            self._on_denial(denial_of(permission, value, reason))
