"""The system call filter as it is loaded: silent, or with an alarm that tells what it refused.

Guarantees
- a filter with an alarm lets nothing pass that a silent one refuses: the kernel waits for an answer, and without one
  (nobody listens any more) the call fails;
- refusals come at a bounded rate, so that a plugin that rings for ever waits for us, and we never work for it.

Needs no privilege but no_new_privs. One listener for each process tree: where somebody above has one, the kernel says
EBUSY, and the filter is loaded silently. Decides nothing about calls: what rings is written in the
filter, and `watch` says which of it passes.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from sekisho.launcher.calls import call

__all__ = ["COVERS", "Alarm", "Notice", "load", "send_listener"]

SET_MODE_FILTER: Final = 1
NEW_LISTENER: Final = 1 << 3
NOTIF_RECV: Final = 0xC050_2100
NOTIF_SEND: Final = 0xC018_2101
NOTIF_ID_VALID: Final = 0x4008_2102
NOTIF_SET_FLAGS: Final = 0x4008_2104
SYNC_WAKE_UP: Final = 1
CONTINUE: Final = 1
EPERM: Final = 1
ENOSYS: Final = 38
EAFNOSUPPORT: Final = 97
COVERS: Final = b"c"
ANSWERS_PER_PERIOD: Final = (
    8  # at 20 periods a second: what a ringing plugin costs us stays below one percent
)
MAX_KINDS: Final = 64  # different calls that are told apart for one plugin
_NOTICE: Final = struct.Struct(
    "=QI4xi12x6Q"
)  # its flags, its architecture and where the caller stands are not asked for
_EMPTY: Final = struct.Struct(f"={_NOTICE.size}x")  # the kernel takes nothing else
_KEY: Final = struct.Struct("=Q")
_ANSWER: Final = struct.Struct("=QqiI")
_PROGRAM: Final = struct.Struct("@HP")
_SOCK_FILTER_BYTES: Final = 8


Notice = tuple[int, int, int, Sequence[int]]  # its key, the thread, the number of the call, its arguments


def load(code: bytes, *, alarm: bool) -> int | None:
    """Filter this process and all it will start; the listener, when an alarm was asked for and may be had."""
    # In one piece: what is only pointed to is freed, where this is compiled, after it was named for the last time.
    program = ctypes.create_string_buffer(bytes(_PROGRAM.size) + code, _PROGRAM.size + len(code))
    _PROGRAM.pack_into(program, 0, len(code) // _SOCK_FILTER_BYTES, ctypes.addressof(program) + _PROGRAM.size)
    fd = call("seccomp", SET_MODE_FILTER, NEW_LISTENER if alarm else 0, program)
    return fd if alarm else None


def send_listener(gate: socket.socket, listener: int | None, *, covers: bool = False) -> None:
    """Give the listener to the watcher, which waits for it, or the word that there is none.

    Args:
        covers: whether the watcher is to cover what its request lists, because nobody else does.
    """
    if listener is None:
        gate.send(b"n")
        return
    socket.send_fds(gate, [COVERS if covers else b"l"], [listener])
    os.close(listener)


class Alarm:
    """Our end of one plugin's filter: reads what rings, answers, and counts."""

    def __init__(self, fd: int, refusals: dict[int, int]) -> None:
        self.fd = fd
        self.counts: dict[int, int] = {}
        self._refusals = refusals
        # Of what may not be written to, `ioctl` finds so out by an exception, which costs more than all else here.
        self._notice = bytearray(_NOTICE.size)
        self._answer = bytearray(_ANSWER.size)
        # Found once: for each call that rings, to find these by their names costs as much as what they do.
        self._ioctl, self._clear = fcntl.ioctl, _EMPTY.pack_into
        self._fields_of, self._fill = _NOTICE.unpack, _ANSWER.pack_into
        with contextlib.suppress(OSError):  # since Linux 6.6: who waits for whom is told to the scheduler
            fcntl.ioctl(fd, NOTIF_SET_FLAGS, SYNC_WAKE_UP)  # the number itself, no place that holds it
        self._left = ANSWERS_PER_PERIOD

    @property
    def is_patient(self) -> bool:
        """Whether it has refused enough for this period."""
        return self._left <= 0

    def refill(self) -> None:
        """A new period."""
        self._left = ANSWERS_PER_PERIOD

    def hear(self) -> Notice | None:
        """The one call that waits; None when whoever rang is gone, which costs as much as a refusal."""
        self._clear(self._notice, 0)
        try:
            self._ioctl(self.fd, NOTIF_RECV, self._notice)
        except OSError:
            self._left -= 1
            return None
        fields = self._fields_of(self._notice)
        return fields[0], fields[1], fields[2], fields[3:]

    def still_waits(self, key: int) -> bool:
        """Whether whoever made this call waits for its answer: its process is nobody else's then."""
        try:
            fcntl.ioctl(self.fd, NOTIF_ID_VALID, _KEY.pack(key))
        except OSError:
            return False
        return True

    def let_pass(self, key: int) -> bool:
        """The call goes on to the walls; False when whoever made it is gone."""
        return self._say(key, 0, CONTINUE)

    def refuse(self, key: int, number: int) -> bool:
        """The call fails, as the filter alone would have let it fail; False when whoever made it is gone."""
        self._left -= 1
        return self._say(key, -self._refusals.get(number, EPERM), 0)

    def is_absent(self, number: int) -> bool:
        """Whether this call is one that does not exist for the plugin, which is nothing to tell: programs try it."""
        return self._refusals.get(number) == ENOSYS

    def be_absent(self, key: int) -> None:
        """The call fails as one that the kernel does not have."""
        self._say(key, -ENOSYS, 0)

    def count(self, number: int) -> bool:
        """Remember a refusal; True when it is the first of its kind."""
        if number not in self.counts and len(self.counts) >= MAX_KINDS:
            return False
        self.counts[number] = self.counts.get(number, 0) + 1
        return self.counts[number] == 1

    def _say(self, key: int, error: int, flags: int) -> bool:
        self._fill(self._answer, 0, key, 0, error, flags)
        try:
            self._ioctl(self.fd, NOTIF_SEND, self._answer)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Nobody listens any more: from now on what rings fails by itself."""
        os.close(self.fd)
