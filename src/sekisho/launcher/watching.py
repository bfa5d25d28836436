"""A container's watcher, started beside it: `python -I -S <this file> LINE OWNER`.

Guarantees that it dies with its owner. On its line come one message with two descriptors, the request and the gate at
which the listener will arrive; what it tells goes back the same way. What it does is said in `watch`.
"""

from __future__ import annotations

import socket
import sys

if __name__ == "__main__":
    sys.path.append(__file__.removesuffix("/sekisho/launcher/watching.py"))

from sekisho.launcher.kernel import die_with_parent, entitle, receive
from sekisho.launcher.request import read_request
from sekisho.launcher.watch import watch
from sekisho.launcher.watcher import NAME

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Watch until nobody is left who could ring."""
    line, owner = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    die_with_parent(owner)
    entitle(NAME)
    _, fds = receive(line)
    if len(fds) == 2:
        request, gate = fds
        watch(read_request(request), socket.socket(fileno=gate), line)


if __name__ == "__main__":
    main(sys.argv[1:])
