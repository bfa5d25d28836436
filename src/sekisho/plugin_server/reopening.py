"""How a legacy session was opened, so that it can be opened once more when the server has forgotten it.

Guarantees that the second handshake says what the first one said, and that a server which now agrees to another version
is not talked to as if it were the same: then the session is over, and the plugin begins a new life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol import notification_bytes

__all__ = ["Reopening"]


class _Hello(msgspec.Struct):
    id: int | str
    method: str


class _Result(msgspec.Struct, rename="camel"):
    protocol_version: str


class _Answer(msgspec.Struct):
    result: _Result


class Reopening:
    """Remembers the `initialize` of a session."""

    NOTICE: Final = notification_bytes("notifications/initialized", None)

    def __init__(self) -> None:
        self.message = b""
        self.ident: int | str = 0

    @property
    def is_known(self) -> bool:
        """True once there was a handshake."""
        return bool(self.message)

    def saw(self, message: bytes) -> None:
        """A request left while no version was agreed on."""
        read = msgspec.json.decode(message, type=_Hello)
        if read.method == "initialize":
            self.message, self.ident = message, read.id

    def is_hello(self, message: bytes) -> bool:
        """Was this the handshake?"""
        return self.is_known and message == self.message

    def again(self, version: str) -> tuple[_SecondAnswer, asyncio.Future[None]]:
        """Who hears the answer to the second handshake, and when it is good."""
        hearer = _SecondAnswer(version)
        return hearer, hearer.is_good


class _SecondAnswer:
    """A hearer for one answer."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.is_good: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        """Several messages."""
        for line in lines:
            self.receive(line, of)

    def receive(self, line: bytes, of: int | None = None) -> None:
        """The answer, or something that came before it."""
        del of
        try:
            version = msgspec.json.decode(line, type=_Answer).result.protocol_version
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # the end of the reply fails it
        if self.is_good.done():
            return
        if version == self._version:
            self.is_good.set_result(None)
        else:
            self.is_good.set_exception(
                RemoteProtocolError("plugin_protocol", "the MCP server agrees to another version than before")
            )

    def receive_large(self, place: memoryview, size: int) -> bool:
        """A large one: like any other."""
        del place, size
        return False

    def is_waiting(self, ident: int | str) -> bool:
        """True until it was heard."""
        del ident
        return not self.is_good.done()

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """There is none."""
        del ident
        self.fail_all(error)

    def fail_all(self, error: SekishoError) -> None:
        """There is none."""
        if not self.is_good.done():
            self.is_good.set_exception(error)
