"""The core process: gate, log, registry and keys; no plugin code, no internet."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from sekisho.assembly.household import Household, door_rules, dossiers, needs_restart
from sekisho.assembly.identities import (
    DEFAULT_CLIENT,
    audit_key,
    core_id,
    ensure_all,
    front_id,
    plugin_id,
    renew_all,
)
from sekisho.assembly.places import Places
from sekisho.assembly.running import run_until_stopped
from sekisho.audit import Journal, records
from sekisho.config import BindAddress, PluginEntry, check_paths, load_core
from sekisho.errors import Misconfigured, SekishoError
from sekisho.gateway import Desk, Door, FrontLimits, Road, Room, Sessions, StatusPage
from sekisho.keys import (
    KeyFolder,
    PeerRule,
    Revocations,
    ensure_bearer,
    front_context,
    load_token_book,
    spki_sha256,
)
from sekisho.protocol import HttpLimits, PluginName, plugin_name
from sekisho.registry import Listing, Shelf
from sekisho.telemetry import Logger, Metrics
from sekisho.wire import Address, PlugLine, StateFrame, SurfaceFrame, UnixAddress, parse_address

__all__ = ["run_core"]

LOOK_S: Final = 1.0  # how soon an approval, a renewed certificate or a revocation is noticed
RENEW_S: Final = 60.0
DRAIN_S: Final = 60.0  # calls under way when their plugin is reconfigured
DRAIN_LOOK_S: Final = 0.05


def run_core(config_path: Path, home: Path, *, trust_on_first_use: bool = False) -> int:
    """Run the core until SIGTERM; returns the exit status."""
    core = Core(config_path, home, trust_on_first_use=trust_on_first_use)
    return run_until_stopped(core.serve(), on_hangup=core.reload)


class Core:
    """The core's parts and their connections; judges nothing."""

    def __init__(self, config_path: Path, home: Path, *, trust_on_first_use: bool) -> None:
        self._config = load_core(config_path)
        check_paths(self._config)
        self._places = Places(home=home, config=config_path)
        self._places.make_folders()
        self._log = Logger("core", level=self._config.audit.log_level)
        self._metrics = Metrics()
        self._journal: Journal | None = None
        self._keys = KeyFolder(self._places.keys, self._config.core_server.trust_domain)
        now = time.time()
        ensure_all(self._keys, self._config, (), now)
        self._token_file = ensure_bearer(self._keys, DEFAULT_CLIENT)
        self._trust_on_first_use = trust_on_first_use
        self._desk = Desk(
            dossiers=dossiers(self._config),
            shelf=Shelf(home),
            lock_path=self._places.lock,
            on_change=self._standing_changed,
            trust_on_first_use=trust_on_first_use,
        )
        self._household = Household(self._config, load_token_book(self._keys), self._desk)
        self._revoked = Revocations(self._keys.revoked_serials())
        self._lines: dict[PluginName, PlugLine] = {}
        self._line_tasks: dict[PluginName, asyncio.Task[None]] = {}
        self._retiring: set[PluginName] = set()
        self._reported: set[PluginName] = set()
        self._all_reported = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._status_url: str | None = None

    async def serve(self) -> None:
        """Serve until cancelled."""
        audit = self._config.audit
        self._journal = journal = Journal.open(
            self._config.audit_log(self._places.home),
            audit_key(self._keys),
            f"{self._config.core_server.trust_domain}/audit",
            durability=audit.durability,
            tamper_protection=audit.tamper_protection,
            on_commit=self._metrics.committed,
        )
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._open(journal)
        finally:
            for line_task in self._line_tasks.values():
                line_task.cancel()
            await journal.close()

    async def _open(self, journal: Journal) -> None:
        assert self._group is not None  # noqa: S101  # serve made it
        self._record("core_started")
        road = Road(
            house=self._household.house,
            lines=self._lines,
            journal=journal,
            metrics=self._metrics,
            clock=_LoopClock(),
            max_in_flight=self._config.security.max_in_flight,
            # Who only has the log cannot test guesses about what was asked or answered.
            salt_of=partial(records.salt_for, self._keys.ensure_secret("audit-salt")),
        )
        door = Door(
            rules=lambda: door_rules(self._config),
            house=self._household.house,
            road=road,
            sessions=Sessions(self._keys.ensure_secret("sessions")),
            clock=_LoopClock(),
            new_id=lambda: secrets.token_hex(12),
        )
        for entry in self._config.plugins.servers:
            self._open_line(entry)
        url, context = await self._listen(door)
        await self._listen_status(journal)
        self._group.create_task(self._look_after(context, journal))
        if not self._lines:
            self._all_reported.set()
        try:
            async with asyncio.timeout(self._config.plugins.discovery_timeout_seconds):
                await self._all_reported.wait()
        except TimeoutError:
            self._log.warning("plugins_late", missing=sorted(set(self._lines) - self._reported))
        self._say_ready(url)

    async def _listen(self, door: Door) -> tuple[str, ssl.SSLContext | None]:
        server = self._config.core_server
        context = self._front_context() if server.tls == "on" else None
        limits = FrontLimits(
            http=HttpLimits(max_body_bytes=self._config.security.max_request_bytes),
            request_timeout_s=self._config.security.request_timeout_seconds,
        )
        room = Room(door, limits)
        listener = await self._listen_again(room.connect, server.bind_addr, context)
        port = listener.sockets[0].getsockname()[1]
        host = "127.0.0.1" if server.bind_addr.host == "0.0.0.0" else server.bind_addr.host
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if context is None else 'https'}://{host}:{port}/mcp", context

    async def _listen_again(
        self, factory: Callable[[], asyncio.Protocol], address: BindAddress, context: ssl.SSLContext | None
    ) -> asyncio.Server:
        """Listen; a port that was chosen freely is chosen again after a restart, so that clients find us."""
        remembered = self._places.chosen_port()
        if address.port == 0 and remembered is not None:
            with contextlib.suppress(Misconfigured):  # taken meanwhile: choose another
                return await _listen_on(factory, BindAddress(address.host, remembered), context)
        listener = await _listen_on(factory, address, context)
        if address.port == 0:
            self._places.remember_port(listener.sockets[0].getsockname()[1])
        return listener

    async def _listen_status(self, journal: Journal) -> None:
        address = self._config.core_server.status_addr
        if address is None:
            return
        listener = await _listen_on(
            lambda: StatusPage(readiness=lambda: self._problems(journal), metrics=self._metrics.exposition),
            address,
            None,
        )
        host, port = listener.sockets[0].getsockname()[:2]
        self._log.info("status_listening", address=f"{host}:{port}")
        self._status_url = f"http://{host}:{port}"

    def _front_files(self) -> tuple[Path, Path]:
        server = self._config.core_server
        if server.tls_cert_path is not None and server.tls_key_path is not None:
            return server.tls_cert_path, server.tls_key_path
        identity = self._keys.identity(front_id(server.trust_domain))
        return identity.cert_path, identity.key_path

    def _front_context(self) -> ssl.SSLContext:
        return front_context(*self._front_files())

    def _open_line(self, entry: PluginEntry) -> None:
        assert self._group is not None  # noqa: S101
        name = plugin_name(entry.name)
        domain = self._config.core_server.trust_domain
        address, peer, hpke_public = self._peer_of(entry)
        line = PlugLine(
            address=address,
            peer=peer,
            peer_hpke_public=hpke_public,
            identity=self._keys.identity(core_id(domain)),
            ca_pem=self._ca_pem(),
            ops=frozenset(entry.allowed_operations),
            clock=time.time,
            on_surface=lambda frame: self._took_surface(name, frame),
            on_state=lambda frame: self._took_state(name, frame),
            on_down=lambda error: self._line_down(name, error),
            revoked=self._revoked,
        )
        self._lines[name] = line
        self._line_tasks[name] = self._group.create_task(line.run())

    def _peer_of(self, entry: PluginEntry) -> tuple[Address, PeerRule, bytes]:
        domain = self._config.core_server.trust_domain
        spiffe = plugin_id(domain, entry.name)
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

    def _ca_pem(self) -> bytes:
        path = self._config.core_server.ca_cert_path
        return path.read_bytes() if path is not None else self._keys.ca_pem()

    def _took_surface(self, name: PluginName, frame: SurfaceFrame) -> None:
        listing = Listing(
            server_info=bytes(frame.server_info),
            capabilities=bytes(frame.capabilities),
            instructions=frame.instructions,
            tools=tuple(bytes(one) for one in frame.tools),
            prompts=tuple(bytes(one) for one in frame.prompts),
            resources=tuple(bytes(one) for one in frame.resources),
            templates=tuple(bytes(one) for one in frame.templates),
        )
        self._desk.report(name, listing, time.time())
        self._reported.add(name)
        if self._reported >= set(self._lines):
            self._all_reported.set()

    def _took_state(self, name: PluginName, frame: StateFrame) -> None:
        self._metrics.plugin_state(name, is_up=frame.state == "ready", restarts=frame.restarts)
        self._log.info(
            "plugin_state", plugin=name, state=frame.state, detail=frame.detail, restarts=frame.restarts
        )

    def _line_down(self, name: PluginName, error: SekishoError) -> None:
        self._metrics.plugin_state(name, is_up=False, restarts=None)
        self._log.warning("plugin_line_down", plugin=name, code=error.code, reason=error.message)

    def _standing_changed(self, name: PluginName, state: str) -> None:
        standing = self._desk.standings.get(name) if self._journal is not None else None
        if standing is not None and standing.definitions is not None:
            self._metrics.know(name, standing.definitions.tools)
        self._log.info("plugin_standing", plugin=name, state=state)
        self._record("plugin_standing", plugin=name, state=state)

    def _record(self, name: str, **fields: str | int | bool | None) -> None:
        if self._journal is not None:
            entry = records.event(now=time.time(), name=name, **fields)
            self._journal.append(entry, effect=False, done=lambda problem: None)

    def _problems(self, journal: Journal) -> dict[str, str]:
        problems = {} if journal.problem is None else {"audit": journal.problem.message}
        for name, line in self._lines.items():
            if not line.is_up:
                problems[f"plugin {name}"] = "its plugin server is not connected"
        return problems

    async def _look_after(self, context: ssl.SSLContext | None, journal: Journal) -> None:
        """Notice what changes on disk: approvals, revocations, certificates."""
        renewed = loaded = time.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.time()
            self._desk.refresh_lock()
            self._metrics.audit_healthy(journal.healthy)
            self._keys.refresh_revoked(self._revoked)
            if now - renewed > RENEW_S:
                renewed = now
                here = [one.name for one in self._config.plugins.servers if one.runs_here]
                renew_all(self._keys, self._config, here, now)
            if context is not None and self._front_files()[0].stat().st_mtime > loaded:
                loaded = now
                context.load_cert_chain(*self._front_files())

    def reload(self) -> None:
        """Take over a changed configuration file; calls in flight are not touched. A wrong file changes nothing."""
        try:
            config = load_core(self._places.config)
            check_paths(config)
        except SekishoError as error:
            self._log.error("reload_refused", code=error.code, reason=error.message)
            return
        before = {one.name: one for one in self._config.plugins.servers}
        self._config = config
        after = {one.name: one for one in config.plugins.servers}
        for name in [name for name in before if needs_restart(before[name], after.get(name))]:
            self._retire(plugin_name(name))
        self._household.reconfigure(config, load_token_book(self._keys))
        for name, entry in after.items():
            if plugin_name(name) not in self._lines and plugin_name(name) not in self._retiring:
                self._open_line(entry)
        self._log.info("reloaded", plugins=sorted(after))
        self._record("reloaded")

    def _retire(self, name: PluginName) -> None:
        """Send no more calls to a plugin; its line ends when the calls under way are answered."""
        line, task = self._lines.pop(name, None), self._line_tasks.pop(name, None)
        if line is not None and task is not None and self._group is not None:
            self._retiring.add(name)
            self._group.create_task(self._drain(name, line, task))

    async def _drain(self, name: PluginName, line: PlugLine, task: asyncio.Task[None]) -> None:
        with contextlib.suppress(TimeoutError):  # a plugin that does not answer has its own deadline
            async with asyncio.timeout(DRAIN_S):
                while line.in_flight:  # noqa: ASYNC110  # a count of the line, which has nothing to wait on
                    await asyncio.sleep(DRAIN_LOOK_S)
        task.cancel()
        self._retiring.discard(name)
        _tell({"event": "drained", "plugin": name})
        for entry in self._config.plugins.servers:
            if entry.name == name:
                self._open_line(entry)

    def _say_ready(self, url: str) -> None:
        line = {
            "event": "ready",
            "url": url,
            "token_file": str(self._token_file),
            "ca_file": str(self._keys.path / "authority" / "ca.crt"),
            "status_url": self._status_url,
        }
        _tell(line)


def _tell(line: dict[str, str | None]) -> None:
    """One JSON line for the supervisor."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


class _LoopClock:
    """Wall time for records, the loop's timers for waits."""

    def now(self) -> float:
        return time.time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def _listen_on(
    factory: Callable[[], asyncio.Protocol], address: BindAddress, context: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(factory, address.host, address.port, ssl=context, backlog=1024)
    except OSError as error:
        raise Misconfigured(
            "config_invalid", f"cannot listen on {address}: {error.strerror}", remedy="choose a free address"
        ) from error
