"""What the walls of one sandbox refused, seen in time and told as denials.

Guarantees that what the kernel counted (refused system calls, forks beyond the limit, kills for memory) is told within
half a second, once for each new count, and once more when the sandbox has ended. What was counted before it was watched
belongs to somebody else: a plugin that is started again within its walls. Judges nothing; a denial is a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from sekisho.policy import LimitGrant
from sekisho.sandbox import Denied, Exit, Violation
from sekisho.wire import DenialFrame

__all__ = ["Watch"]

LOOK_S: Final = 0.5
MAX_SHOWN: Final = 200
REASONS: Final = {
    "unlisted": "the path is not listed",
    "read_only": "the path is listed for reading only",
    "blocked": "the path is blocked",
}


class Watch:
    """One sandbox; `violations` says what its walls refused until now, `take_denied` which paths since it was asked."""

    def __init__(
        self,
        violations: Callable[[], Iterable[Violation]],
        take_denied: Callable[[], Iterable[Denied]],
        limits: LimitGrant,
        on_denial: Callable[[DenialFrame], None],
    ) -> None:
        self._violations = violations
        self._take_denied = take_denied
        self._limits = limits
        self._on_denial = on_denial
        self._told = {(one.kind, one.what): one.times for one in violations()}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def ended(self, how: Exit) -> None:
        """A last look, after the sandbox has ended like this."""
        has_told = self._look()
        if how.reason == "oom" and "oom" not in has_told:  # where nothing but we ourselves watched its memory
            self._tell(Violation(kind="oom", what="memory"), 1)

    def _look(self) -> set[str]:
        kinds = set[str]()
        for denied in self._take_denied():
            self._on_denial(_path_denial(denied))
        for one in self._violations():
            news = one.times - self._told.get((one.kind, one.what), 0)
            if news > 0:
                self._told[one.kind, one.what] = one.times
                self._tell(one, news)
                kinds.add(one.kind)
        return kinds

    def _tell(self, violation: Violation, news: int) -> None:
        match violation.kind:
            case "seccomp":
                told = DenialFrame(
                    "seccomp",
                    "system call filter",
                    "the plugin made a system call it may not make",
                    violation.what,
                )
            case "pids":
                rule = f"max_pids = {self._limits.max_pids}"
                told = DenialFrame("pids", rule, "the plugin wanted more processes than it may have")
            case "oom":
                rule = f"max_memory_mb = {self._limits.max_memory_mb}"
                told = DenialFrame(
                    "memory", rule, "the plugin used more memory than it may; a process was ended"
                )
            case "disk":
                rule = f"max_tmp_mb = {self._limits.max_tmp_mb}"
                told = DenialFrame("disk", rule, "the plugin filled its private folder; it was ended")
        self._on_denial(msgspec.structs.replace(told, left_out=news - 1))


def _path_denial(denied: Denied) -> DenialFrame:
    """An attempt on a path as a denial, with the plugin's own word made fit for a log."""
    if not denied.path:
        return DenialFrame(
            "path", "filesystem_policy", "more paths were tried than are told", left_out=denied.left_out
        )
    shown = ascii(denied.path[:MAX_SHOWN])[1:-1][: 2 * MAX_SHOWN]
    return DenialFrame(
        "path",
        "filesystem_policy",
        f"{denied.act}: {REASONS[denied.reason]}",
        shown,
        denied.left_out,
    )
