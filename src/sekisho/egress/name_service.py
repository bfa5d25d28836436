"""Carries the questions of one sandbox to a judgement, and its replies back, within the plugin's share.

- A question counts like a read: a flood of them uses up the turns of its own plugin and nobody else's.
- Both directions count as bytes carried; while the plugin is in debt nothing is taken, and the kernel drops what its
  queue cannot hold. A name that is asked for again is answered later.
- A reply that cannot be sent at once is dropped.

Hands only; `names` decides.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

from sekisho.egress.handoff import readable
from sekisho.egress.share import Share

__all__ = ["answer_questions"]

MAX_QUESTION_BYTES: Final = (
    4096  # no question is as long; what is cut short is malformed, and refused as that
)
_NO_SOCKET: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.ENOTCONN})


async def answer_questions(
    sock: socket.socket, share: Share, reply_to: Callable[[bytes], bytes | None]
) -> None:
    """Answer until cancelled."""
    while True:
        await share.wait_room()
        try:
            data, address = sock.recvfrom(MAX_QUESTION_BYTES)
        except (BlockingIOError, InterruptedError):
            await readable(sock)
            continue
        except OSError as error:
            if error.errno in _NO_SOCKET:
                raise
            share.charge(0)
            continue
        reply = reply_to(data)
        share.charge(len(data) + len(reply or b""))
        if reply is not None:
            with contextlib.suppress(OSError):
                sock.sendto(reply, address)
