"""DNS inside a sandbox: names that may be reached get an address of their own, everything else does not
exist.

- No question ever leaves this machine, so a question cannot carry data out.
- An allowed name gets one address of 127.1.0.0/16, which lands on the gate's own sockets; the address of a
  connection therefore tells the name the program asked for. It is judged again there.
- Only one well-formed question of class IN is answered: A with the address, other types with nothing, an
  unlisted name with NXDOMAIN. What cannot be a question gets no answer at all.
- The number of names is bounded; the oldest is forgotten, which can only lead to a refusal (the name in the
  connection must equal the name of the address).

Judgement only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from sekisho.errors import Refused
from sekisho.policy import canonical_host

__all__ = ["MAX_NAMES", "DnsReply", "SyntheticNames", "answer"]

MAX_NAMES: Final = 4096  # a plugin with a *.suffix rule can invent names; they must not grow our memory
_FIRST: Final = int(IPv4Address("127.1.0.1"))
_TTL_S: Final = 30
_HEADER: Final = struct.Struct("!6H")
_QUESTION: Final = struct.Struct("!2H")
_TYPE_A: Final = 1
_CLASS_IN: Final = 1
_IS_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_RECURSION_DESIRED: Final = 0x0100
_AUTHORITATIVE_AND_AVAILABLE: Final = 0x8480
_NO_ERROR: Final = 0
_FORMAT_ERROR: Final = 1
_NO_SUCH_NAME: Final = 3
_POINTER_TO_QUESTION: Final = 0xC000 | _HEADER.size


class SyntheticNames:
    """Which name owns which synthetic address, in one sandbox."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._by_name: dict[str, IPv4Address] = {}
        self._by_address: dict[IPv4Address, str] = {}

    def address_of(self, host: str) -> IPv4Address:
        """The address of a canonical host, given out now if it has none."""
        known = self._by_name.get(host)
        if known is not None:
            return known
        address = IPv4Address(_FIRST + len(self._by_name))
        if len(self._by_name) >= self._max_names:
            oldest = next(iter(self._by_name))
            address = self._by_name.pop(oldest)
        self._by_name[host] = address
        self._by_address[address] = host
        return address

    def name_of(self, address: IPv4Address) -> str | None:
        """The host an address was given to."""
        return self._by_address.get(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsReply:
    """The datagram to send back, and the name that was refused, if any (an unreadable one is empty)."""

    data: bytes
    refused: str | None = None


def answer(query: bytes, is_listed: Callable[[str], bool], names: SyntheticNames) -> DnsReply | None:
    """Answer one query; None for what must not be answered."""
    if len(query) < _HEADER.size:
        return None
    ident, flags, questions, answers, authorities, _additional = _HEADER.unpack_from(query)
    if flags & _IS_RESPONSE:
        return None  # answering answers makes two servers talk forever
    wanted = flags & _RECURSION_DESIRED
    end = _question_end(query)
    if end is None or flags & _OPCODE or (questions, answers, authorities) != (1, 0, 0):
        return DnsReply(data=_reply(ident, wanted, _FORMAT_ERROR), refused="")
    question = query[_HEADER.size : end]
    kind, klass = _QUESTION.unpack_from(question, len(question) - _QUESTION.size)
    try:
        host = canonical_host(_name(question))
    except Refused:
        return DnsReply(data=_reply(ident, wanted, _NO_SUCH_NAME, question), refused="")
    if klass != _CLASS_IN or not is_listed(host):
        return DnsReply(data=_reply(ident, wanted, _NO_SUCH_NAME, question), refused=host)
    record = b""
    if kind == _TYPE_A:
        fixed = struct.pack("!HHHIH", _POINTER_TO_QUESTION, _TYPE_A, _CLASS_IN, _TTL_S, 4)
        record = fixed + names.address_of(host).packed
    return DnsReply(data=_reply(ident, wanted, _NO_ERROR, question, record))


def _reply(ident: int, wanted: int, code: int, question: bytes = b"", record: bytes = b"") -> bytes:
    flags = _AUTHORITATIVE_AND_AVAILABLE | wanted | code
    return _HEADER.pack(ident, flags, bool(question), bool(record), 0, 0) + question + record


def _question_end(query: bytes) -> int | None:
    at = _HEADER.size
    while at < len(query):
        length = query[at]
        at += 1 + length
        if length > 63:
            return None  # compression has nothing to point to in a question
        if length == 0:
            end = at + _QUESTION.size
            return end if end <= len(query) else None
    return None


def _name(question: bytes) -> str:
    labels: list[str] = []
    at = 0
    while question[at]:
        label = question[at + 1 : at + 1 + question[at]]
        # A dot inside a label would make two names look like one.
        labels.append("?" if b"." in label else label.decode("latin-1"))
        at += 1 + question[at]
    return ".".join(labels)
