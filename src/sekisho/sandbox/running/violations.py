"""What the walls of one plugin refused, as far as the kernel tells.

It tells: system calls that the filter refused (each by name, the first time at once), a kill for a call through a
foreign entry (SIGSYS), kills for memory, and forks beyond the limit of processes. `Denied` is what a watcher saw of
attempts on files, which the kernel tells nobody.
"""

from __future__ import annotations

import platform
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sekisho.sandbox.calls.seccomp import call_name
from sekisho.sandbox.running.limits import Group, read_counts

__all__ = ["MAX_KEPT", "Denied", "DeniedPaths", "Violation", "crowded", "of_calls", "of_exit", "of_group"]

MAX_KEPT: Final = 256  # denials that wait for who tells them


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One kind of refusal: which wall, what was wanted, how often until now."""

    kind: Literal["seccomp", "oom", "pids", "disk"]
    what: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """An attempt on a path that the walls refused; `left_out` more of them are not told one by one.

    `path` is a plugin's own word. It is empty where there is nothing but the number.
    """

    act: Literal["read", "write", ""]
    path: str
    reason: Literal["unlisted", "read_only", "blocked", ""]
    left_out: int = 0


class DeniedPaths:
    """What a watcher told, until somebody takes it."""

    def __init__(self) -> None:
        self._kept: list[Denied] = []
        self._left_out = 0

    def hear(self, message: Mapping[str, Any]) -> None:
        """One word of a watcher's."""
        found, left_out = message["found"], message["left_out"]
        if found is None or len(self._kept) >= MAX_KEPT:
            self._left_out += left_out + (0 if found is None else found[3])
            return
        act, path, reason, times = found
        self._kept.append(Denied(act=act, path=path, reason=reason, left_out=left_out + times - 1))

    def take(self) -> tuple[Denied, ...]:
        """What came since the last time."""
        kept, self._kept = self._kept, []
        left_out, self._left_out = self._left_out, 0
        if left_out:
            kept.append(Denied(act="", path="", reason="", left_out=left_out - 1))
        return tuple(kept)


def of_calls(counts: Mapping[int, int]) -> tuple[Violation, ...]:
    """System calls that the filter refused, by their numbers."""
    machine = platform.machine()
    return tuple(
        Violation(kind="seccomp", what=call_name(machine, number), times=times)
        for number, times in counts.items()
    )


def crowded(times: int) -> Violation:
    """It has come to its limit of processes once more, as who watches in a control group's place has seen."""
    return Violation(kind="pids", what="fork", times=times + 1)


def of_exit(number: int | None, *, is_full: bool = False) -> tuple[Violation, ...]:
    """How it died: SIGSYS comes from the filter; a private folder that was full is told by who watched it."""
    if is_full:
        return (Violation(kind="disk", what="scratch space"),)
    if number != signal.SIGSYS:
        return ()
    return (Violation(kind="seccomp", what="a call of a foreign architecture"),)


def of_group(group: Group | None) -> tuple[Violation, ...]:
    """What the control group counted."""
    if group is None:
        return ()
    found = []
    if kills := group.oom_kills():
        found.append(Violation(kind="oom", what="memory", times=kills))
    if forks := _refused_forks(group):
        found.append(Violation(kind="pids", what="fork", times=forks))
    return tuple(found)


def _refused_forks(group: Group) -> int:
    for name, folder in group.folders:
        if name == "pids":
            try:
                words = read_counts(folder / "pids.events").split()
                return int(words[words.index("max") + 1])
            except (OSError, ValueError, IndexError):
                return 0
    return 0
