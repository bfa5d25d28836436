"""The standing of every plugin: whether its calls may pass, and by which definitions they are judged.

A plugin server reports the whole surface of its plugin. Every surface that was ever seen is kept and compared with
`sekisho.lock`; what comes of it is read by the gate. Rules:
- a plugin without an entry in the lock is quarantined;
- any difference in any byte of any definition, in the command, in the files of a package or in what it may touch stops
  its calls at once;
- only a person (or `--trust-on-first-use`, for a plugin never seen before) puts an entry into the lock;
- a lock file that cannot be read or verified stops every plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.gateway.caller import APPS, APPS_EXTENSION, TASKS, TASKS_EXTENSION, Instances
from sekisho.gateway.checkpoint import Standing
from sekisho.policy import RateRule, RootRules
from sekisho.protocol import PluginName
from sekisho.registry import (
    Definitions,
    DriftState,
    ItemKind,
    Listing,
    LockFile,
    Shelf,
    Surface,
    compare,
    load_lock,
    lock_entry,
    update_lock,
)

__all__ = ["Dossier", "Standings"]

_CHANGED: Final = "changed since it was approved"
_NOT_YET: Final = "has not reported yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What the configuration says of one plugin."""

    name: PluginName
    argv: tuple[str, ...]
    grants: str
    rate: RateRule
    timeout_s: float
    client_requests: frozenset[str] = frozenset()
    trace: frozenset[str] = frozenset()
    instances: Instances = "shared"
    extensions: frozenset[str] = frozenset()
    roots: RootRules | None = None


class Standings:
    """Keeps the standing of every plugin."""

    def __init__(
        self,
        *,
        dossiers: Mapping[PluginName, Dossier],
        shelf: Shelf,
        lock_path: Path,
        on_change: Callable[[PluginName, str, Standing], None],
        trust_on_first_use: bool = False,
    ) -> None:
        self._dossiers = dossiers
        self._shelf = shelf
        self._lock_path = lock_path
        self._on_change = on_change
        self._trust_on_first_use = trust_on_first_use
        self._surfaces: dict[PluginName, Surface | SekishoError] = {}
        self._states: dict[PluginName, str] = {}
        self._ended: set[PluginName] = set()  # before they said what they offer
        self._lock: LockFile | SekishoError = LockFile()
        self._lock_stamp: tuple[int, int, int] | None = None
        # What is known of every plugin now, replaced as a whole; read several times for each call.
        self.current: dict[PluginName, Standing] = {}
        self.refresh_lock(force=True)

    def reconfigure(self, dossiers: Mapping[PluginName, Dossier]) -> None:
        """Take over a new configuration."""
        self._dossiers = dossiers
        self._surfaces = {name: surface for name, surface in self._surfaces.items() if name in dossiers}
        self._ended.intersection_update(dossiers)
        self._judge_all()

    def report(self, name: PluginName, listing: Listing, now: float) -> None:
        """A plugin server says what its plugin offers now."""
        if name not in self._dossiers:
            return
        before, lock = self._surfaces.get(name), self._lock
        self._ended.discard(name)
        try:
            self._surfaces[name] = surface = self._shelf.store(name, listing, now)
            if self._trust_on_first_use:
                self._trust(name, surface, now)
            if isinstance(before, Surface) and before.root == surface.root and self._lock is lock:
                return  # listed again, as at every health check
        except SekishoError as error:
            self._surfaces[name] = error
        self.current = {**self.current, name: self._standing(self._dossiers[name])}
        self._announce(name)

    def ended(self, name: PluginName) -> None:
        """A plugin ended, or refused us; if nothing is known of it yet, clients are told that it does not start."""
        if name in self._dossiers and name not in self._surfaces and name not in self._ended:
            self._ended.add(name)
            self.current = {**self.current, name: self._standing(self._dossiers[name])}

    def refresh_lock(self, *, force: bool = False) -> bool:
        """Read the lock file again if it changed; True when it did."""
        try:
            status = self._lock_path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        if stamp == self._lock_stamp and not force:
            return False
        self._lock_stamp = stamp
        try:
            self._lock = load_lock(self._lock_path)
        except SekishoError as error:
            self._lock = error
        self._judge_all()
        return True

    def _trust(self, name: PluginName, surface: Surface, now: float) -> None:
        self.refresh_lock()  # what a person approved meanwhile must not be overwritten
        if isinstance(self._lock, SekishoError) or self._lock.get(name) is not None:
            return
        dossier = self._dossiers[name]
        entry = lock_entry(
            name=name,
            argv=dossier.argv,
            grants=dossier.grants,
            surface=surface,
            approved_by="trust-on-first-use",
            approved_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        )
        # on disk first: what could not be kept was not approved; and whoever approved meanwhile was first
        self._lock = update_lock(
            self._lock_path, lambda lock: lock if lock.get(name) is not None else lock.with_plugin(entry)
        )

    def _judge_all(self) -> None:
        self.current = {name: self._standing(dossier) for name, dossier in self._dossiers.items()}
        for name in self.current:
            self._announce(name)

    def _announce(self, name: PluginName) -> None:
        """Tell of a state that is another than the one before."""
        standing = self.current[name]
        problem = standing.problem
        state = "approved" if problem is None else problem.code
        if self._states.get(name) != state:
            self._states[name] = state
            self._on_change(name, state, standing)

    def _standing(self, dossier: Dossier) -> Standing:
        definitions: Definitions | None = None
        problem: SekishoError | None = None
        try:
            definitions = self._approved(dossier)
        except SekishoError as error:
            problem = error
        return Standing(
            definitions=definitions,
            rate=dossier.rate,
            timeout_s=dossier.timeout_s,
            problem=problem,
            client_requests=dossier.client_requests | _tasks(definitions) | _apps(dossier),
            trace=dossier.trace,
            instances=dossier.instances,
            roots=dossier.roots,
        )

    def _approved(self, dossier: Dossier) -> Definitions:
        if isinstance(self._lock, SekishoError):
            raise self._lock
        surface = self._surfaces.get(dossier.name)
        if surface is None:
            how = "does not start; the operator's log says why" if dossier.name in self._ended else _NOT_YET
            raise Unavailable("plugin_unavailable", f"plugin {dossier.name!r} {how}")
        if isinstance(surface, SekishoError):
            raise surface
        locked = self._lock.get(dossier.name)
        drift = compare(locked, surface, dossier.argv, dossier.grants)
        if locked is None or drift.state is DriftState.UNKNOWN:
            raise Refused("plugin_quarantined", f"plugin {dossier.name!r} was never approved")
        if not drift.is_unchanged:
            what = "runs from other files than were approved" if drift.is_package_alone else _CHANGED
            raise Refused("definition_changed", f"plugin {dossier.name!r} {what}")
        # Every tool is compiled, so that one that is not allowed is refused as such and not as unknown.
        tools = [item.id.name for item in surface.of_kind(ItemKind.TOOL)]
        return Definitions.build(locked, surface, tools, extensions=dossier.extensions)


def _apps(dossier: Dossier) -> frozenset[str]:
    """A plugin is told that a client shows its pages if the operator lists the extension."""
    return frozenset({APPS}) if APPS_EXTENSION in dossier.extensions else frozenset()


def _tasks(definitions: Definitions | None) -> frozenset[str]:
    """A plugin may make tasks if it announces them and the operator lists the extension."""
    is_announced = definitions is not None and TASKS_EXTENSION in definitions.announced.extensions
    return frozenset({TASKS}) if is_announced else frozenset()
