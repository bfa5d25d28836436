"""How the sockets of a sandbox come to the egress process: one message on a Unix socket of that plugin.

- The path of the socket is the identity of the plugin; only our own user (or root) may bring sockets to it.
- One message `{"v":1}` carries exactly four descriptors in the order proxy, 443, 80, DNS. Anything else is
  refused and every descriptor that came with it is closed.
- The connection stays open afterwards: it is the line on which refusals are told (`line`), and its end is how each
  side learns of the end of the other.

Hands only. What the sockets may be used for is the gate's business.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from sekisho.egress.line import GateLine
from sekisho.errors import RemoteProtocolError, Unavailable

__all__ = [
    "DESCRIPTORS_GONE",
    "DESCRIPTORS_GONE_WAIT_S",
    "GateSockets",
    "accept",
    "check_sender",
    "listen",
    "readable",
    "receive_gate",
    "send_gate",
]

_MESSAGE: Final = b'{"v":1}'
_MAX_MESSAGE_BYTES: Final = 256
_COUNT: Final = 4
_MAX_DESCRIPTORS: Final = 16  # more than wanted, so that surplus ones arrive and are closed
_TIMEOUT_S: Final = 5.0
FULL_QUEUE_WAIT_S: Final = 0.02
DESCRIPTORS_GONE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
DESCRIPTORS_GONE_WAIT_S: Final = 0.1  # others close theirs; at once would spin
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSockets:
    """The four sockets inside one plugin's network namespace. Owns them; leaving the context closes them."""

    proxy: socket.socket
    tls: socket.socket
    http: socket.socket
    dns: socket.socket

    def close(self) -> None:
        """Close all four."""
        for sock in (self.proxy, self.tls, self.http, self.dns):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


async def send_gate(path: Path, descriptors: Sequence[int], *, patience_s: float = _TIMEOUT_S) -> GateLine:
    """Hand the four sockets of one sandbox to the egress process; the caller still owns and closes its
    copies, and now owns the line, which holds the gate open.

    An egress process that is stopped takes some hand-offs into its queue and then no more. Waiting for it takes
    `patience_s` at most and holds up nothing else.

    Raises:
        Unavailable: the egress process does not listen at this path, or takes nothing.
    """
    try:
        async with asyncio.timeout(patience_s):
            sock = await _connected(path)
    except OSError as error:
        raise _silent() from error
    try:
        socket.send_fds(sock, [_MESSAGE], list(descriptors))  # the first message on a line always has room
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise _silent() from error
        raise
    return GateLine(sock)


async def _connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(str(path))
            except BlockingIOError:
                await asyncio.sleep(FULL_QUEUE_WAIT_S)  # the kernel tells nobody when there is room again
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _silent() -> Unavailable:
    return Unavailable(
        "plugin_unavailable",
        "the egress proxy does not answer",
        remedy="check that the egress process is running",
    )


def listen(path: Path) -> socket.socket:
    """Listen for the sockets of the plugin this path stands for; a socket left by a dead process is
    replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


async def accept(listener: socket.socket) -> socket.socket:
    """The next connection, also when the descriptors of this process are used up for a while: connections of plugins are
    what uses them, and must not end the gates of all."""
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError as error:
            if error.errno not in DESCRIPTORS_GONE:
                raise
            await asyncio.sleep(DESCRIPTORS_GONE_WAIT_S)
        else:
            connection.setblocking(False)
            return connection


async def receive_gate(connection: socket.socket) -> GateSockets:
    """Receive one hand-off on an accepted connection.

    Raises:
        RemoteProtocolError: it came from another user, too late, or is not four sockets of the right kind.
    """
    check_sender(connection)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await readable(connection)
        data, descriptors, _flags, _address = socket.recv_fds(
            connection, _MAX_MESSAGE_BYTES, _MAX_DESCRIPTORS
        )
    except OSError as error:
        raise RemoteProtocolError("plugin_protocol", "the hand-off of sockets was cut short") from error
    sockets = [socket.socket(fileno=descriptor) for descriptor in _only_sockets(descriptors)]
    try:
        return _gate_of(data, sockets)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


def _gate_of(data: bytes, sockets: list[socket.socket]) -> GateSockets:
    if not _is_version_one(data):
        raise RemoteProtocolError("plugin_protocol", "the hand-off message is not understood")
    kinds = [(sock.family, sock.type) for sock in sockets]
    stream, datagram = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)
    if kinds != [stream, stream, stream, datagram]:
        raise RemoteProtocolError(
            "plugin_protocol", "the hand-off needs three listening sockets and one for DNS"
        )
    for sock in sockets:
        sock.setblocking(False)
        sock.set_inheritable(False)
    proxy, tls, http, dns = sockets
    return GateSockets(proxy=proxy, tls=tls, http=http, dns=dns)


def _is_version_one(data: bytes) -> bool:
    try:
        return bool(json.loads(data) == json.loads(_MESSAGE))
    except ValueError:
        return False


def _only_sockets(descriptors: Sequence[int]) -> list[int]:
    """Descriptors that are sockets; everything is closed when one of them is not."""
    if not all(stat.S_ISSOCK(os.fstat(descriptor).st_mode) for descriptor in descriptors):
        for descriptor in descriptors:
            os.close(descriptor)
        raise RemoteProtocolError("plugin_protocol", "the hand-off brought something that is no socket")
    return list(descriptors)


def check_sender(connection: socket.socket) -> None:
    """Refuse whoever is neither our own user nor root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    if uid not in (0, os.geteuid()):
        raise RemoteProtocolError("plugin_protocol", "the hand-off came from another user")


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
