"""The gate's sockets, apart from the namespace they are opened in (tests/real shows that)."""

from __future__ import annotations

import json
import os
import socket

from sekisho.launcher.kernel import receive
from sekisho.launcher.network import hand_over


def test_the_doors_are_handed_over_in_their_order_under_the_number_of_the_launch() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        doors = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        hand_over(theirs, 7, doors)
        data, fds = receive(ours)
        assert json.loads(data) == {"event": "sockets", "id": 7}
        for door, fd in zip(doors, fds, strict=True):
            assert (
                os.path.sameopenfile(door.fileno(), fd)
                or os.fstat(door.fileno()).st_ino == os.fstat(fd).st_ino
            )
            door.close()
            os.close(fd)
