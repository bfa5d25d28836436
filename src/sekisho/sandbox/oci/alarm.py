"""The alarm of a container's filter: its runtime hands us the listener, and we answer what rings.

Guarantees
- a call that rings is refused, and told by name the first time at once; nothing is ever let through;
- answers come at a bounded rate, so that a plugin that rings for ever waits for us, and we never work for it;
- without a listener nothing rings and everything is refused all the same.

Knows one folder, in which the socket for the hand-over lies, and no engine. It tells calls that are refused whatever
their arguments are: for the others a profile has no word.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sekisho.launcher.alarm import Alarm
from sekisho.launcher.kernel import receive
from sekisho.sandbox.oci.words import LISTENER_FILE
from sekisho.sandbox.running.sandbox import close_fds

__all__ = ["ContainerAlarm"]

PERIOD_S: Final = 0.05  # as the launcher's, for the same rate of answers

Tell = Callable[[dict[str, Any], list[int]], None]


class ContainerAlarm:
    """One container's; made before its runtime is asked for anything, closed after its end."""

    def __init__(self, folder: Path, refusals: Mapping[int, int], tell: Tell) -> None:
        self._refusals = dict(refusals)
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._alarm: Alarm | None = None
        self._guest: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.setblocking(False)
        self._door.bind(str(folder / LISTENER_FILE))
        self._door.listen(1)
        self._loop.add_reader(self._door, self._receive)

    def close(self) -> None:
        """Tell how often each call was refused, and listen no more."""
        self._shut_door()
        self._dismiss()
        if self._again is not None:
            self._again.cancel()
        if self._alarm is not None:
            self._loop.remove_reader(self._alarm.fd)
            for number, times in self._alarm.counts.items():
                if times > 1:  # the first time was told at once
                    self._tell({"event": "alarm", "call": number, "times": times}, [])
            self._alarm.close()
            self._alarm = None

    def _receive(self) -> None:
        """The runtime comes, once; what it brings may come a moment later."""
        try:
            self._guest, _ = self._door.accept()
        except OSError:
            return
        self._shut_door()
        self._guest.setblocking(False)
        self._loop.add_reader(self._guest, self._take)

    def _take(self) -> None:
        """The listener, in its one message."""
        assert self._guest is not None  # noqa: S101  # it is what was readable
        try:
            _, fds = receive(self._guest)
        except BlockingIOError:
            return
        except OSError:
            fds = []
        self._dismiss()
        close_fds(*fds[1:])
        if fds:
            self._alarm = Alarm(fds[0], self._refusals)
            self._loop.add_reader(fds[0], self._answer, self._alarm)

    def _dismiss(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            self._loop.remove_reader(guest)
            guest.close()

    def _answer(self, alarm: Alarm) -> None:
        waiting = select.poll()
        waiting.register(alarm.fd, select.POLLIN)
        events = dict(waiting.poll(0))
        if not events.get(alarm.fd, 0) & select.POLLIN:  # everybody whom it watched is gone
            self._loop.remove_reader(alarm.fd)
            return
        notice = alarm.hear()
        if notice is not None:
            key, _, number, _ = notice
            if alarm.refuse(key, number) and alarm.count(number):
                self._tell({"event": "alarm", "call": number, "times": 1}, [])
        if alarm.is_patient:
            self._loop.remove_reader(alarm.fd)
            self._again = self._loop.call_later(PERIOD_S, self._go_on, alarm)

    def _go_on(self, alarm: Alarm) -> None:
        alarm.refill()
        self._loop.add_reader(alarm.fd, self._answer, alarm)

    def _shut_door(self) -> None:
        if self._door.fileno() >= 0:
            self._loop.remove_reader(self._door)
            self._door.close()
