"""A second TLS greeting names the same host as the first (RFC 8446, sections 4.1.2 and 4.1.4).

A host that cannot use what the first greeting offers asks for another one (HelloRetryRequest), and many take the server
name of that one. So a front that serves a listed host and others could be led to the others behind a first greeting that
names the listed one.

- Until the host has answered, nothing of the handshake follows the first greeting: only early data may.
- If the host asks again, what comes next must be a whole greeting, with that name and no other.
- If it does not, the handshake is settled, and nothing more is looked at. Only the first bytes of each side ever are, and
  so few records that nobody keeps the gate busy with empty ones.

Judgement only. Takes bytes of both sides in the order they pass, before they are passed on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from sekisho.egress.hello import MAX_HELLO_BYTES, name_of
from sekisho.errors import Refused

__all__ = ["Greetings"]

MAX_BETWEEN_BYTES: Final = 1 << 20  # of early data, which the host that asks again throws away
MAX_RECORDS: Final = 1024  # of each side until then; honest ones need a few, and early data 16 KiB each
_HEADER: Final = 5
_CHANGE, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO: Final = 1
_SERVER_HELLO: Final = b"\2"
_RANDOM_AT: Final = 6  # behind the message's kind, its length and the version
_RANDOM_END: Final = _RANDOM_AT + 32
# SHA-256 of "HelloRetryRequest": what stands in the place of random bytes.
_ASKS_AGAIN: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


class Greetings:
    """One handshake, from the first byte of either side."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state: Literal["first", "waiting", "again", "settled"] = "first"
        self._plugin, self._host = _Records(), _Records()
        self._said = self._answered = b""
        self._seen = 0

    def from_plugin(self, data: bytes) -> bool:
        """Whether the handshake is still to be looked at; raises Refused."""
        self._seen += len(data)
        if self._state != "settled" and self._seen > MAX_BETWEEN_BYTES:
            raise _refused("the TLS handshake does not begin")
        for kind, content in self._plugin.feed(data):
            if self._state == "settled":
                break
            if kind == _HANDSHAKE:
                self._handshake(content)
            elif kind not in (_CHANGE, _ALERT, _DATA) or self._state == "first":
                raise _refused("not TLS")
        return self._state != "settled"

    def from_host(self, data: bytes) -> bool:
        """The same, of what the host says."""
        for kind, content in self._host.feed(data):
            if self._state != "waiting":
                break
            if kind == _ALERT:
                continue  # a warning may come first
            self._answered += content
            is_other = kind != _HANDSHAKE or self._answered[:1] not in (b"", _SERVER_HELLO)
            if is_other or len(self._answered) >= _RANDOM_END:
                asks_again = not is_other and self._answered[_RANDOM_AT:_RANDOM_END] == _ASKS_AGAIN
                self._state = "again" if asks_again else "settled"
        return self._state == "waiting"

    def _handshake(self, content: bytes) -> None:
        if self._state == "waiting":
            raise _refused("the TLS greeting is followed by another one unasked")
        self._said += content
        if not self._said.startswith(bytes([_CLIENT_HELLO])):
            raise _refused("the TLS greeting is malformed")
        end = 4 + int.from_bytes(self._said[1:4], "big")
        if end > MAX_HELLO_BYTES:
            raise _refused("the TLS greeting is too long")
        if len(self._said) < 4 or len(self._said) < end:
            return
        if len(self._said) > end:
            raise _refused("the TLS greeting is followed by another one unasked")
        if name_of(self._said[4:end]) != self._name:
            raise _refused("the TLS server name is another host")
        self._said = b""
        self._state = "waiting" if self._state == "first" else "settled"


class _Records:
    """The records of one side, so many and no more; a piece of a long one is told as soon as it comes."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._count = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at < len(data):
            if not self._left:
                if len(self._header) == _HEADER:
                    self._header = b""
                taken = data[at : at + _HEADER - len(self._header)]
                self._header += taken
                at += len(taken)
                if len(self._header) < _HEADER:
                    return
                self._left = int.from_bytes(self._header[3:], "big")
                self._count += 1
                if self._count > MAX_RECORDS:
                    raise _refused("the TLS handshake does not begin")
                if not self._left:
                    yield self._header[0], b""
                continue
            content = data[at : at + self._left]
            at += len(content)
            self._left -= len(content)
            yield self._header[0], content


def _refused(reason: str) -> Refused:
    return Refused("egress_refused", reason)
