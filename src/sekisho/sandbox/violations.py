"""What the walls of one plugin refused, as far as the kernel tells.

It tells: system calls that the filter refused (each by name, the first time at once), a kill for a call through a
foreign entry (SIGSYS), kills for memory, and forks beyond the limit of processes.
It does not tell: paths that are not there, files without a grant, and what Landlock denied (its records go to the
kernel's audit log, which only root may read).
"""

from __future__ import annotations

import platform
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sekisho.sandbox.limits import Group
from sekisho.sandbox.seccomp import call_name

__all__ = ["Violation", "of_calls", "of_exit", "of_group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One kind of refusal: which wall, what was wanted, how often until now."""

    kind: Literal["seccomp", "oom", "pids", "disk"]
    what: str
    times: int = 1


def of_calls(counts: Mapping[int, int]) -> tuple[Violation, ...]:
    """System calls that the filter refused, by their numbers."""
    machine = platform.machine()
    return tuple(
        Violation(kind="seccomp", what=call_name(machine, number), times=times)
        for number, times in counts.items()
    )


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
                words = (folder / "pids.events").read_text().split()
                return int(words[words.index("max") + 1])
            except (OSError, ValueError, IndexError):
                return 0
    return 0
