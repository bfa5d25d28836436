"""What a core process does beside serving calls, when it is the only one; and what every such role has to do.

A core is one process (`SoleDuties`) or several workers, of which worker 0 leads (`leader`, `follower`). All serve calls
in the same way; they differ in who chooses the port, who says that the house is ready, who looks after keys, and
whom they have to agree with before a plugin server is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from sekisho.protocol import PluginName

__all__ = ["Duties", "Listen", "SoleDuties", "tell_supervisor"]

# Opens the listener; without a port it is chosen, with one it is shared with the worker that chose it.
Listen = Callable[[int | None], Awaitable[int]]


class Duties(Protocol):
    """One role among the core's processes."""

    leads: bool
    """True for the process that writes what others only read: shelf, lock, renewed keys."""

    def start(self) -> None:
        """Begin to hear the others; inside the event loop."""

    async def listen_before(self, listen: Listen) -> None:
        """Take connections before the plugins are known, if that is ours to do."""

    async def listen_after(self, listen: Listen) -> int:
        """Take connections at the latest now; returns the port once the whole house can serve."""

    def noticed_approval(self) -> None:
        """The lock file changed."""

    def withdraw_elsewhere(self, client: str, session: str, request: int | str) -> None:
        """A request to be cancelled is not under way here."""

    def hear_elsewhere(self, ask: str, scope: str, said_yes: bool) -> None:
        """What a person said answers no question of ours."""

    def ask_for_room(self) -> None:
        """The house is full, and nothing here may be ended."""

    async def agree_on_replacement(self, plugin: PluginName) -> None:
        """No call of ours is under way at this plugin; wait until its server may be replaced."""

    def look(self) -> None:
        """A second has passed."""

    def problems(self) -> dict[str, str]:
        """What is wrong with the other processes."""

    def close(self) -> None:
        """Hear nothing more."""


class SoleDuties:
    """The duties of a core that is one process."""

    leads = True

    def __init__(self) -> None:
        self._port = 0

    def start(self) -> None:
        """Nobody else is there."""

    async def listen_before(self, listen: Listen) -> None:
        """Clients that come early are told that plugins are not there yet."""
        self._port = await listen(None)

    async def listen_after(self, listen: Listen) -> int:
        """Nothing is left to do."""
        del listen
        return self._port

    def noticed_approval(self) -> None:
        """Nobody else has to know."""

    def withdraw_elsewhere(self, client: str, session: str, request: int | str) -> None:
        """There is no elsewhere."""

    def hear_elsewhere(self, ask: str, scope: str, said_yes: bool) -> None:
        """There is no elsewhere."""

    def ask_for_room(self) -> None:
        """There is no elsewhere."""

    async def agree_on_replacement(self, plugin: PluginName) -> None:
        """Tell the supervisor at once."""
        tell_supervisor({"event": "drained", "plugin": plugin})

    def look(self) -> None:
        """Nobody else has to be looked after."""

    def problems(self) -> dict[str, str]:
        """There are no others."""
        return {}

    def close(self) -> None:
        """Nothing was opened."""


def tell_supervisor(line: dict[str, str | None]) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
