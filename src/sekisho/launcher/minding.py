"""Holds a container to its limits where its engine has no control groups: `python -I -S <this file> PID MEMORY CPU`.

Guarantees that the tree below the container's first process, that one included, is killed when its memory (in bytes,
seen 20 times a second) exceeds what was granted, and is stopped in turns when it uses more than its share of a processor
(in percent). Says `r` when it watches, and `m` when it kills. Ends with the container.

The number of processes is the kernel's to hold: RLIMIT_NPROC counts within the container's own user namespace.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import Final

if __name__ == "__main__":
    sys.path.append(__file__.removesuffix("/sekisho/launcher/minding.py"))

from sekisho.launcher.kernel import resident, tree
from sekisho.launcher.throttle import Throttle

__all__ = ["EXCEEDED", "READY", "main"]

PERIOD_S: Final = 0.05  # 20 Hz, as the launcher's own guard
READY: Final = b"r"
EXCEEDED: Final = b"m"


def main(arguments: list[str]) -> None:
    """Watch until the first process has ended."""
    pid, memory_bytes, percent = map(int, arguments)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    os.write(1, READY)
    is_held = percent < 100 * (os.cpu_count() or 1)
    throttle = Throttle(pid, percent, time.monotonic(), holds_root=True) if is_held else None
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    while not waiting.poll(PERIOD_S * 1000):
        members = list(tree(pid))
        if throttle is not None:
            throttle.turn(members, time.monotonic())
        if sum(map(resident, members)) > memory_bytes:
            with contextlib.suppress(BrokenPipeError):  # nobody is left to be told
                os.write(1, EXCEEDED)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return


if __name__ == "__main__":
    main(sys.argv[1:])
