"""Runs a launcher: `python -I -S <this file> FD OWNER_PID`, or `probe OWNER_PID` to try the network wall once.

Started by path, because `-I -S` leaves out the folder where the package lies; it is added behind the standard library.
"""

from __future__ import annotations

import socket
import sys

if __name__ == "__main__":
    sys.path.append(__file__.removesuffix("/sekisho/launcher/__main__.py"))

from sekisho.launcher.kernel import die_with_parent
from sekisho.launcher.network import probe_network
from sekisho.launcher.serving import serve_owner


def main(arguments: list[str]) -> None:
    """Serve one owner until it goes away."""
    owner = int(arguments[1])
    if arguments[0] == "probe":
        die_with_parent(owner)
        probe_network()
        return
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    serve_owner(control, owner)


if __name__ == "__main__":
    main(sys.argv[1:])
