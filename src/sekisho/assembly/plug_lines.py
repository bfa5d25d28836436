"""The sealed lines of one worker to all plugin servers: opened, told apart, drained before a plugin is replaced.

Guarantees that calls under way at a plugin that is reconfigured may end (within a bound) before its line is cut, and
that no new line is opened before everybody agreed that the plugin server may be replaced. Judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from cryptography import x509

from sekisho.assembly.identities import core_id, plugin_id
from sekisho.assembly.places import Places
from sekisho.config import CoreConfig, PluginEntry
from sekisho.errors import Misconfigured, SekishoError
from sekisho.keys import KeyFolder, PeerRule, Revocations, spki_sha256
from sekisho.policy import METHODS
from sekisho.protocol import PluginName, plugin_name
from sekisho.wire import Address, DenialFrame, PlugLine, StateFrame, SurfaceFrame, UnixAddress, parse_address

__all__ = ["Hears", "PlugLines"]

DRAIN_S: Final = 60.0  # calls under way when their plugin is reconfigured
DRAIN_LOOK_S: Final = 0.05


class Hears(Protocol):
    """Who is told what comes over the lines."""

    def took_surface(self, name: PluginName, frame: SurfaceFrame) -> None:
        """A plugin server says what its plugin offers."""

    def took_state(self, name: PluginName, frame: StateFrame) -> None:
        """A plugin server says how its plugin is."""

    def took_denial(self, name: PluginName, frame: DenialFrame, recorded: Callable[[], None]) -> None:
        """A wall of a plugin refused something; `recorded` is called once the log holds it."""

    def line_down(self, name: PluginName, error: SekishoError) -> None:
        """A line was lost or could not be opened."""


class PlugLines:
    """All lines of one worker; `lines` is what the road reads."""

    def __init__(
        self,
        *,
        config: Callable[[], CoreConfig],
        keys: KeyFolder,
        places: Places,
        revoked: Revocations,
        hears: Hears,
        agree_on_replacement: Callable[[PluginName], Awaitable[None]],
    ) -> None:
        self.lines: dict[PluginName, PlugLine] = {}
        self._config = config
        self._keys = keys
        self._places = places
        self._revoked = revoked
        self._hears = hears
        self._agree = agree_on_replacement
        self._tasks: dict[PluginName, asyncio.Task[None]] = {}
        self._retiring: set[PluginName] = set()
        self._reported: set[PluginName] = set()
        self._all_reported = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    def check(self, config: CoreConfig) -> None:
        """Could a line be opened to each plugin server? One that cannot must not end a core that serves the others.

        Raises:
            SekishoError: not to this one.
        """
        for entry in config.plugins.servers:
            try:
                self._peer_of(entry)
            except (OSError, ValueError) as error:
                raise Misconfigured(
                    "config_invalid",
                    f"the keys of the plugin {entry.name} cannot be read",
                    remedy="correct cert_path and url, or copy the plugin's public keys here",
                ) from error

    def open_all(self, group: asyncio.TaskGroup) -> None:
        """Open a line to every configured plugin server; they end with `close` or with the group."""
        self._group = group
        for entry in self._config().plugins.servers:
            self._open(entry)
        if not self.lines:
            self._all_reported.set()

    def close(self) -> None:
        """Cut all lines."""
        for task in self._tasks.values():
            task.cancel()

    async def wait_reported(self, limit_s: float) -> list[PluginName]:
        """Wait until every plugin server has shown its surface; returns those that did not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._all_reported.wait()
        return sorted(set(self.lines) - self._reported)

    def retire(self, name: PluginName) -> None:
        """Send no more calls to a plugin; its line ends when the calls under way are answered."""
        line, task = self.lines.pop(name, None), self._tasks.pop(name, None)
        if line is not None and task is not None and self._group is not None:
            self._retiring.add(name)
            self._group.create_task(self._drain(name, line, task))

    def open_new(self) -> None:
        """Open lines to plugins that were added to the configuration."""
        for entry in self._config().plugins.servers:
            name = plugin_name(entry.name)
            if name not in self.lines and name not in self._retiring:
                self._open(entry)

    def missing(self) -> list[PluginName]:
        """Plugins whose server is not connected."""
        return [name for name, line in self.lines.items() if not line.is_up]

    def _open(self, entry: PluginEntry) -> None:
        assert self._group is not None  # noqa: S101  # open_all took it
        name = plugin_name(entry.name)
        config = self._config()
        address, peer, hpke_public = self._peer_of(entry)
        ca_path = config.core_server.ca_cert_path
        line = PlugLine(
            address=address,
            peer=peer,
            peer_hpke_public=hpke_public,
            identity=self._keys.identity(core_id(config.core_server.trust_domain)),
            ca_pem=ca_path.read_bytes() if ca_path is not None else self._keys.ca_pem(),
            ops=frozenset(entry.allowed_operations) | METHODS,
            clock=time.time,
            on_surface=lambda frame: self._took_surface(name, frame),
            on_state=lambda frame: self._hears.took_state(name, frame),
            on_denial=lambda frame, recorded: self._hears.took_denial(name, frame, recorded),
            on_down=lambda error: self._hears.line_down(name, error),
            revoked=self._revoked,
        )
        self.lines[name] = line
        self._tasks[name] = self._group.create_task(line.run())

    def _took_surface(self, name: PluginName, frame: SurfaceFrame) -> None:
        self._hears.took_surface(name, frame)
        self._reported.add(name)
        if self._reported >= set(self.lines):
            self._all_reported.set()

    def _peer_of(self, entry: PluginEntry) -> tuple[Address, PeerRule, bytes]:
        spiffe = plugin_id(self._config().core_server.trust_domain, entry.name)
        if entry.runs_here:
            self._keys.ensure_identity(spiffe, time.time())
        public = self._keys.public_identity(spiffe)
        rule = public.rule
        if entry.cert_path is not None:
            certificate = x509.load_pem_x509_certificate(entry.cert_path.read_bytes())
            rule = PeerRule(spiffe=spiffe, spki_pins=frozenset({spki_sha256(certificate)}))
        if entry.url is not None:
            return parse_address(entry.url), rule, public.hpke_public
        return UnixAddress(path=str(self._places.plugin_socket(entry.name))), rule, public.hpke_public

    async def _drain(self, name: PluginName, line: PlugLine, task: asyncio.Task[None]) -> None:
        with contextlib.suppress(TimeoutError):  # a plugin that does not answer has its own deadline
            async with asyncio.timeout(DRAIN_S):
                while line.in_flight:  # noqa: ASYNC110  # a count of the line, which has nothing to wait on
                    await asyncio.sleep(DRAIN_LOOK_S)
        task.cancel()
        await self._agree(name)
        self._retiring.discard(name)
        self.open_new()
