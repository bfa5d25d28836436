"""The server name a TLS client asks for, read from its first message (RFC 8446 section 4.1.2, RFC 6066
section 3).

- Anything that is not a TLS handshake beginning with one well-formed ClientHello is refused.
- Exactly one server name is needed, and it is a plain DNS name.
- An encrypted ClientHello is refused: the name it hides could be any host behind the same front.
- At most 16 KiB are read; the bytes are passed on unchanged by whoever reads them.

Judgement only. Knows no certificate: the client itself checks who answers.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import Refused
from sekisho.policy import canonical_host

__all__ = ["ALERT_ACCESS_DENIED", "MAX_HELLO_BYTES", "name_of", "server_name"]

MAX_HELLO_BYTES: Final = 16 << 10  # held in memory before it is judged; real ones stay below 3 KiB
ALERT_ACCESS_DENIED: Final = bytes((21, 3, 3, 0, 2, 2, 49))  # fatal access_denied, which clients print
# The greeting is read anew whenever more of it has come: crumbs in thousands of records would cost seconds of
# processor time, at the expense of every other plugin. Real clients use one record, or two or three.
MAX_RECORDS: Final = 64
_RECORD_HEADER: Final = 5
_RECORD_HANDSHAKE: Final = 22
_MAX_RECORD_BYTES: Final = 1 << 14
_CLIENT_HELLO: Final = 1
_EXT_SERVER_NAME: Final = 0
_EXT_ENCRYPTED_HELLO: Final = 0xFE0D
_HOST_NAME: Final = 0
_RANDOM_BYTES: Final = 32


def server_name(data: bytes) -> str | None:
    """The canonical server name of the ClientHello these bytes begin with; None while it is not complete.

    Raises:
        Refused: it is not TLS, names no or several servers, or hides the name.
    """
    message = _first_message(data)
    if message is None:
        if len(data) >= MAX_HELLO_BYTES:
            raise _refused("the TLS greeting is too long")
        return None
    return name_of(message)


def _first_message(data: bytes) -> bytes | None:
    """The body of the first handshake message, collected from as many records as it was cut into."""
    message, at, records = b"", 0, 0
    while len(data) > at:
        records += 1
        if records > MAX_RECORDS:
            raise _refused("the TLS greeting is cut into too many records")
        if data[at] != _RECORD_HANDSHAKE or data[at + 1 : at + 2] not in (b"", b"\x03"):
            raise _refused("not TLS")
        header = data[at : at + _RECORD_HEADER]
        length = int.from_bytes(header[3:5], "big")
        if len(header) == _RECORD_HEADER and not 0 < length <= _MAX_RECORD_BYTES:
            raise _refused("not TLS")
        message += data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        if message and message[0] != _CLIENT_HELLO:
            raise _refused("not TLS")
        if len(message) >= 4:
            needed = 4 + int.from_bytes(message[1:4], "big")
            if needed > MAX_HELLO_BYTES:
                raise _refused("the TLS greeting is too long")
            if len(message) >= needed:
                return message[4:needed]
        at += _RECORD_HEADER + length
        if len(header) < _RECORD_HEADER:
            return None
    return None


def name_of(message: bytes) -> str:
    """The canonical server name in the body of one ClientHello; raises Refused."""
    names: list[str] = []
    hello = _Cursor(message)
    hello.take(2 + _RANDOM_BYTES)
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    extensions = _Cursor(hello.vector(2) if hello.has_more else b"")
    hello.end()
    while extensions.has_more:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _EXT_ENCRYPTED_HELLO:
            raise _refused("an encrypted TLS greeting hides the server name")
        if kind == _EXT_SERVER_NAME:
            names.append(_host_name(content))
    if len(names) != 1:
        raise _refused("the TLS greeting names no single server")
    return names[0]


def _host_name(content: bytes) -> str:
    outer = _Cursor(content)
    inner = _Cursor(outer.vector(2))
    outer.end()
    if inner.number(1) != _HOST_NAME:
        raise _refused("the TLS greeting names no single server")
    name = inner.vector(2)
    inner.end()
    return canonical_host(name.decode("latin-1"))


class _Cursor:
    """Reads length-prefixed fields; whatever does not fit exactly is refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise _refused("the TLS greeting is malformed")
        self._at += count
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def end(self) -> None:
        if self.has_more:
            raise _refused("the TLS greeting is malformed")


def _refused(reason: str) -> Refused:
    return Refused("egress_refused", reason)
