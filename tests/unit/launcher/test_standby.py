"""Who waits for the next launch is used once, and replaced when it went."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from sekisho.launcher.kernel import memory_file
from sekisho.launcher.reserve import Expected, Reserve
from sekisho.launcher.standby import Standby
from sekisho.launcher.watcher import Watcher


class Kit:
    """A standby whose children are reaped, whatever became of them."""

    def __init__(self, control: socket.socket) -> None:
        self.dismissed: list[Watcher] = []
        self.standby = Standby(control, self.dismissed.append)
        self.request = memory_file(b"{}\n{}")
        self.reserves: list[Reserve] = []
        self.watchers: list[Watcher] = []

    def child(self) -> Reserve:
        self.reserves.append(self.standby.child(1, [self.request]))
        return self.reserves[-1]

    def watcher(self) -> Watcher:
        gate, other = socket.socketpair()
        with gate, other:
            self.watchers.append(self.standby.watcher(self.request, gate))
        return self.watchers[-1]

    def close(self) -> None:
        for reserve in self.reserves:
            reserve.drop()
        for watcher in (*self.watchers, *self.dismissed):
            watcher.dismiss()
            watcher.reap()
        os.close(self.request)


@pytest.fixture
def kit() -> Iterator[Kit]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        made = Kit(theirs)
        yield made
        made.close()


def waiting(standby: Standby) -> tuple[int, int]:
    """The processes of both, once they are there."""
    reserve, watcher = standby._reserve, standby._watcher
    assert reserve is not None
    assert watcher is not None
    return reserve.pid, watcher.pid


def test_nobody_is_forked_ahead_of_what_is_not_known(kit: Kit) -> None:
    kit.standby.fork()
    assert (kit.standby._reserve, kit.standby._watcher) == (None, None)


def test_who_waited_is_used_and_then_others_are_forked(kit: Kit) -> None:
    kit.standby.expect(Expected("unsafe-none"))
    kit.standby.fork()
    pids = waiting(kit.standby)
    kit.standby.fork()
    assert waiting(kit.standby) == pids, "there is one of each"
    assert (kit.child().pid, kit.watcher().pid) == pids
    assert not {kit.child().pid, kit.watcher().pid} & set(pids)


def test_who_went_meanwhile_is_replaced(kit: Kit) -> None:
    kit.standby.expect(Expected("unsafe-none"))
    kit.standby.fork()
    pids = waiting(kit.standby)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not {kit.child().pid, kit.watcher().pid} & set(pids)
    assert [one.pid for one in kit.dismissed] == [pids[1]]
