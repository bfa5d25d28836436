"""Whether packets to an address leave this machine, by the kernel's own answer at this moment.

- An address of this machine, on whichever interface and in whichever local route, never counts as away, nor does a
  broadcast or anycast address that the machine itself listens to.
- An address without a route counts as away: dialling it fails as well.
- A kernel that does not answer, or not in a way we understand, means no.

A list of the interfaces' addresses would miss local routes. The source address the kernel would pick misses second
addresses of an interface: packets to those come from the first one. So the kernel is asked for the route, over a
netlink socket of its own for each question; nothing is sent anywhere.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from sekisho.policy import Address

__all__ = ["leads_away"]

# linux/netlink.h and linux/rtnetlink.h
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_ROUTE: Final = struct.Struct(
    "=8BI"
)  # family, bits of destination and source, tos, table, protocol, scope, type
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR_CODE: Final = struct.Struct("=i")
_TYPE_ERROR: Final = 2
_TYPE_NEW_ROUTE: Final = 24
_TYPE_GET_ROUTE: Final = 26
_FLAG_REQUEST: Final = 1
_DESTINATION: Final = 1
_UNICAST: Final = 1
_NOWHERE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL})
_MAX_ANSWER_BYTES: Final = 8192
_ANSWER_TIMEOUT_S: Final = 1.0  # the kernel answers within the call; this only bounds what should not happen


def leads_away(address: Address) -> bool:
    """Do packets to this address leave the machine, or go nowhere?"""
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        ) as asked:
            asked.settimeout(_ANSWER_TIMEOUT_S)
            asked.send(_question(address))
            return _is_away(asked.recv(_MAX_ANSWER_BYTES))
    except OSError:
        return False


def _question(address: Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DESTINATION) + address.packed
    length = _HEADER.size + len(route) + len(attribute)
    return _HEADER.pack(length, _TYPE_GET_ROUTE, _FLAG_REQUEST, 1, 0) + route + attribute


def _is_away(answer: bytes) -> bool:
    if len(answer) < _HEADER.size + _ERROR_CODE.size:
        return False
    kind = _HEADER.unpack_from(answer)[1]
    if kind == _TYPE_ERROR:
        return -_ERROR_CODE.unpack_from(answer, _HEADER.size)[0] in _NOWHERE
    if kind != _TYPE_NEW_ROUTE or len(answer) < _HEADER.size + _ROUTE.size:
        return False
    return bool(_ROUTE.unpack_from(answer, _HEADER.size)[7] == _UNICAST)
