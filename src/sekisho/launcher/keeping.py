"""Removes a container when whoever answers for it is gone: `python -I -S <this file> FD ENGINE WORDS...`.

The descriptor is the end of a pipe; a container outlives the process that started it, and this does not let it. It runs
the command once the other end is closed, however that came about.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Wait for the end of the pipe, then become the command."""
    fd = int(arguments[0])
    os.setsid()  # what ends the group of our owner must not end us
    while os.read(fd, 512):
        pass
    os.execvp(arguments[1], arguments[1:])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
