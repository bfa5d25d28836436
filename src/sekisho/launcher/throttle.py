"""Processor time of a tree of processes, held to a share by stopping it now and then, where no control group can.

Guarantees that a tree uses at most its share in the long run, besides one burst of a tenth of a second; that time of
children which ended counts too (unless their parent ignores them and they live shorter than one look); and that no
process outside the tree is ever signalled, since each is looked at again after it was pinned. A tree that stays below
its share is never stopped. The instant is an argument.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from typing import Final

from sekisho.launcher.kernel import read_text, tree

__all__ = ["Throttle", "cpu_s", "signal_below"]

BURST_S: Final = 0.1  # the accounting period of the kernel's own limit
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Throttle:
    """One tree below `root` and its share in percent of a processor; `turn` is called again and again.

    `holds_root`: the root is no process of ours, and is held with the others.
    """

    def __init__(self, root: int, percent: int, now: float, *, holds_root: bool = False) -> None:
        self._root = root
        self._spared = -1 if holds_root else root
        self._share = percent / 100
        self._seen_s = 0.0
        self._at = now
        # processor time used beyond the share; below zero: what may be used at once
        self._debt_s = -BURST_S * self._share
        self.is_stopped = False

    def turn(self, members: Iterable[int], now: float) -> None:
        """Look at what the tree has used, and stop it or let it go on."""
        members = [pid for pid in members if pid != self._spared]  # ours uses nothing
        seen_s = cpu_s(members)
        used_s = max(seen_s - self._seen_s, 0.0)  # a child that nobody waited for takes its time away with it
        accrued_s = (now - self._at) * self._share
        self._debt_s = max(self._debt_s + used_s - accrued_s, -BURST_S * self._share)
        self._seen_s, self._at = seen_s, now
        if self._debt_s > 0:
            self._signal(
                members, signal.SIGSTOP
            )  # each time: something may have been forked since the last look
            self.is_stopped = True
        elif self.is_stopped:
            self._signal(members, signal.SIGCONT)
            self.is_stopped = False

    def _signal(self, members: Iterable[int], number: signal.Signals) -> None:
        signal_below(self._root, members, number)


def signal_below(root: int, members: Iterable[int], number: signal.Signals) -> None:
    """Signal these, each as far as it is still below `root` once a descriptor pins it: until then its number may have
    passed to a stranger. All are looked at in one round, because a look costs as much as the tree is large.
    """
    pinned: dict[int, int] = {}
    try:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                pinned[pid] = os.pidfd_open(pid)
        for pid in pinned.keys() & set(tree(root)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pinned[pid], number)
    finally:
        for pidfd in pinned.values():
            os.close(pidfd)


def cpu_s(members: Iterable[int]) -> float:
    """Processor time of these processes and of their children that ended, in seconds."""
    return sum(map(_ticks, members)) / _TICKS


def _ticks(pid: int) -> int:
    try:
        fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # utime, stime, cutime and cstime of proc(5)
