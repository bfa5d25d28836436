"""Children for tests: one that runs a piece of a test, because what it does to a process cannot be undone, and one that
does nothing.
"""

# ruff: noqa: PTH123 - the calls themselves are tried here
from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

from sekisho.launcher.kernel import close_others

__all__ = ["in_a_child", "sleeper"]


def in_a_child(body: Callable[[], object]) -> str:
    """What `body` returned, as text, or how it failed."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, str(body()).encode())
        except BaseException:  # noqa: BLE001 - whatever it was, the parent asserts on its text
            os.write(theirs, traceback.format_exc().encode()[-3000:])
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    return text


def sleeper() -> int:
    """A child that waits to be killed, and holds no end of anything: one that it held too would never close."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        close_others(set())
        while True:
            signal.pause()
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    return pid
