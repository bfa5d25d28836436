"""The core process: gate, log, registry and keys; no plugin code, and nobody asked but plugin servers and issuers.

One process, or one of several workers that share the port and everything that limits, ends or records a call
(decision 0011). What a worker does beside serving calls is its `Duties`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from sekisho.assembly.authentication import Authentication, authentication
from sekisho.assembly.duties import Duties, SoleDuties, tell_supervisor
from sekisho.assembly.follower import LEADER, Follower
from sekisho.assembly.household import Household, door_rules, dossiers, needs_restart
from sekisho.assembly.identities import DEFAULT_CLIENT, audit_key, ensure_all, renew_all
from sekisho.assembly.issuers import Issuers
from sekisho.assembly.leader import Leader
from sekisho.assembly.listening import FrontDoor, listen_on
from sekisho.assembly.memory import give_back, resident_bytes, settle
from sekisho.assembly.places import Places
from sekisho.assembly.plug_lines import PlugLines
from sekisho.assembly.running import run_until_stopped, worker_count
from sekisho.assembly.tallies import Tallies
from sekisho.audit import Journal, records
from sekisho.config import CoreConfig, check_paths, load_core
from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.gateway import (
    GATE,
    BerthLimits,
    CallIds,
    Desk,
    Door,
    FrontLimits,
    Gate,
    LocalBerths,
    LocalEndings,
    Road,
    RoadJournal,
    Room,
    Sessions,
    SharedBerths,
    SharedEndings,
    SharedLimiter,
    SharedMemory,
    SharedReplay,
    StatusPage,
)
from sekisho.keys import (
    KeyFolder,
    Replay,
    Revocations,
    SeenProofs,
    TokenBook,
    ensure_bearer,
    load_token_book,
)
from sekisho.protocol import HttpLimits, PluginName, plugin_name
from sekisho.registry import Listing, Shelf, Surface, surface_of
from sekisho.telemetry import Logger, Metrics
from sekisho.wire import DenialFrame, StateFrame, SurfaceFrame

__all__ = ["run_core"]

LOOK_S: Final = 1.0  # how soon an approval, a renewed certificate or a revocation is noticed
TRIM_S: Final = 10.0
MUCH_MEMORY: Final = 96 << 20  # three times what an idle core needs
RENEW_S: Final = 60.0
JOIN_S: Final = 60.0  # the leader reads the whole log before anybody may join it
JOIN_LOOK_S: Final = 0.1


def run_core(
    config_path: Path, home: Path, *, trust_on_first_use: bool = False, worker: int | None = None
) -> int:
    """Run the core until SIGTERM, or one worker of it when it has a number; returns the exit status."""
    core = Core(config_path, home, trust_on_first_use=trust_on_first_use, worker=worker)
    return run_until_stopped(core.serve(), on_hangup=core.reload)


class Core:
    """The core's parts and their connections; judges nothing."""

    def __init__(
        self, config_path: Path, home: Path, *, trust_on_first_use: bool, worker: int | None
    ) -> None:
        self._config = load_core(config_path)
        check_paths(self._config)
        self._places = Places(home=home, config=config_path)
        self._places.make_folders()
        self._worker = worker or LEADER
        self._workers = worker_count(self._config) if worker is not None else 1
        name = f"core {worker}" if worker else "core"
        self._log = Logger(name, level=self._config.audit.log_level)
        if worker is None and self._config.core_server.workers != 1:
            self._log.warning("one_worker", meaning="several workers are started by sekisho up only")
        self._metrics = Metrics()
        self._journal: Journal | None = None
        self._clock = _LoopClock()
        self._door: Door | None = None
        self._keys = KeyFolder(self._places.keys, self._config.core_server.trust_domain)
        ensure_all(self._keys, self._config, (), time.time())
        self._token_file = ensure_bearer(self._keys, DEFAULT_CLIENT)
        self._rules = door_rules(self._config)  # one value until a reload: heads are remembered with it
        self._front = FrontDoor(
            self._config.core_server,
            self._keys,
            self._places,
            handshake_s=self._config.limits.handshake_timeout_seconds,
            client_ca_path=self._config.auth.client_ca_path,
        )
        self._revoked = Revocations(self._keys.revoked_serials())
        self._memory = (
            SharedMemory(self._places.run, self._worker, self._workers) if self._workers > 1 else None
        )
        self._tallies = Tallies(self._places.run, self._worker, self._metrics)
        self._duties = self._assign()
        self._desk = Desk(
            dossiers=dossiers(self._config),
            shelf=Shelf(home) if self._duties.leads else _Onlooker(home),
            lock_path=self._places.lock,
            on_change=self._standing_changed,
            trust_on_first_use=trust_on_first_use and self._duties.leads,
        )
        limiter = None if self._memory is None else SharedLimiter(self._memory)
        self._issuers = Issuers(self._config.auth.issuers, tell=self._issuer_failed)
        self._replay: Replay | None = None
        self._tokens = load_token_book(self._keys)
        self._authentication = self._authenticate(self._config, self._tokens)
        self._household = Household(
            self._config,
            self._authentication,
            self._desk,
            rules_file=self._places.content_rules,
            limiter=limiter,
        )
        self._plugins = PlugLines(
            config=lambda: self._config,
            keys=self._keys,
            places=self._places,
            revoked=self._revoked,
            hears=self,
            agree_on_replacement=self._duties.agree_on_replacement,
        )
        self._status_url: str | None = None
        self._front_problem = ""
        self._line_problems: dict[PluginName, str] = {}

    def _assign(self) -> Duties:
        if self._memory is None:
            return SoleDuties()
        if self._worker == LEADER:
            return Leader(
                self._places,
                self._memory,
                self._workers,
                withdraw=self._withdraw,
                hear_word=self._hear_word,
                log=self._log,
            )
        return Follower(
            self._places,
            self._memory,
            self._workers,
            withdraw=self._withdraw,
            hear_word=self._hear_word,
            read_approvals=self._read_approvals,
            port_without_leader=self._front.port_without_leader,
        )

    def _authenticate(self, config: CoreConfig, tokens: TokenBook) -> Authentication:
        if config.auth.issuers and self._replay is None:  # one for good: a reload forgets no proof
            self._replay = SeenProofs() if self._memory is None else SharedReplay(self._memory)
        return authentication(config, self._keys, tokens, self._issuers, time.time, replay=self._replay)

    def _issuer_failed(self, issuer: str, error: SekishoError) -> None:
        self._log.warning("issuer_unavailable", issuer=issuer, code=error.code, reason=error.message)

    async def serve(self) -> None:
        """Serve until cancelled."""
        if self._memory is not None:
            self._tallies.take_over()
        self._journal = journal = await self._open_journal()
        try:
            async with asyncio.TaskGroup() as group:
                await self._open(group, journal)
        finally:
            self._duties.close()
            self._front.close()
            if self._door is not None:
                self._door.close()
            self._plugins.close()
            await journal.close()

    async def _open_journal(self) -> Journal:
        audit = self._config.audit
        path = self._config.audit_log(self._places.home)
        if self._duties.leads:
            return Journal.open(
                path,
                audit_key(self._keys),
                f"{self._config.core_server.trust_domain}/audit",
                durability=audit.durability,
                tamper_protection=audit.tamper_protection,
                shared=self._memory is not None,
                on_commit=self._metrics.committed,
            )
        deadline = time.monotonic() + JOIN_S
        while True:
            try:
                return Journal.join(path, durability=audit.durability, on_commit=self._metrics.committed)
            except Unavailable:  # the leader is still checking the log, or is being started again
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(JOIN_LOOK_S)

    async def _open(self, group: asyncio.TaskGroup, journal: Journal) -> None:
        duties, plugins = self._duties, self._config.plugins
        self._record("core_started", **({} if duties.leads else {"worker": self._worker}))
        self._door = door = self._make_door(journal)
        room = Room(door, _front_limits(self._config))
        duties.start()
        self._issuers.open(group)
        self._authentication.credentials.look(time.time())
        self._plugins.open_all(group)
        await duties.listen_before(partial(self._listen, room))
        if duties.leads:
            await self._listen_status(journal)
        group.create_task(self._look_after(journal))
        late = await self._plugins.wait_reported(plugins.discovery_timeout_seconds)
        if late:
            self._log.warning("plugins_late", missing=late)
        settle()
        port = await duties.listen_after(partial(self._listen, room))
        if duties.leads:
            self._say_ready(self._front.url(port))

    def _make_road(self, journal: RoadJournal, gate: Gate = GATE) -> Road:
        memory, limits = self._memory, self._config.limits
        berths = BerthLimits(
            total=self._config.security.max_in_flight,
            of_client=limits.max_in_flight_per_client,
            of_plugin=limits.max_in_flight_per_plugin,
        )
        return Road(
            house=self._household.house,
            lines=self._plugins.lines,
            journal=journal,
            metrics=self._metrics,
            clock=self._clock,
            berths=LocalBerths(berths) if memory is None else SharedBerths(memory, berths),
            # Who only has the log cannot test guesses about what was asked or answered.
            salt_of=records.salter(self._keys.ensure_secret("audit-salt")),
            gate=gate,
        )

    def _make_door(self, journal: Journal) -> Door:
        memory, limits = self._memory, self._config.limits
        endings = LocalEndings(limits.max_ended_sessions) if memory is None else SharedEndings(memory)
        return Door(
            rules=lambda: self._rules,
            house=self._household.house,
            road=self._make_road(journal),
            sessions=Sessions(self._keys.ensure_secret("sessions"), endings),
            clock=self._clock,
            new_id=CallIds(),
            round_key=self._keys.ensure_secret("rounds"),
            elsewhere=self._duties,
        )

    async def _listen(self, room: Room, port: int | None) -> int:
        if port is not None:
            return await self._front.open_shared(room.connect, port)
        is_ours = isinstance(self._duties, Leader) and self._duties.others_live
        return await self._front.open(room.connect, shared=self._memory is not None, is_ours=is_ours)

    async def _listen_status(self, journal: Journal) -> None:
        address = self._config.core_server.status_addr
        if address is None:
            return
        others = range(1, self._workers)
        listener = await listen_on(
            lambda: StatusPage(
                readiness=lambda: self._problems(journal), metrics=lambda: self._tallies.page(others)
            ),
            address,
            None,
        )
        host, port = listener.sockets[0].getsockname()[:2]
        self._log.info("status_listening", address=f"{host}:{port}")
        self._status_url = f"http://{host}:{port}"

    # what comes over the lines

    def took_surface(self, name: PluginName, frame: SurfaceFrame) -> None:
        """A plugin server says what its plugin offers."""
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
        self._duties.noticed_approval()  # it may have been approved on first use

    def took_state(self, name: PluginName, frame: StateFrame) -> None:
        """A plugin server says how its plugin is."""
        self._line_problems.pop(name, None)
        self._metrics.plugin_state(name, is_up=frame.state in ("ready", "idle"), restarts=frame.restarts)
        say = self._log.warning if frame.detail else self._log.info  # a detail is why it does not run
        say("plugin_state", plugin=name, state=frame.state, detail=frame.detail, restarts=frame.restarts)

    def took_denial(self, name: PluginName, frame: DenialFrame, recorded: Callable[[], None]) -> None:
        """A wall of a plugin refused something; `recorded` is called once the log holds it."""
        told = {"wall": frame.kind, "rule": frame.rule, "reason": frame.reason}
        if frame.target:
            told["target"] = frame.target
        self._metrics.denied(name, frame.kind, 1 + frame.left_out)
        self._log.warning("plugin_denied", plugin=name, left_out=frame.left_out, **told)
        if self._journal is None:
            return

        def done(problem: SekishoError | None) -> None:
            if problem is None:
                recorded()

        entry = records.event(
            now=time.time(), name="plugin_denied", plugin=name, left_out=frame.left_out or None, **told
        )
        self._journal.append(entry, effect=False, done=done)

    def line_down(self, name: PluginName, error: SekishoError) -> None:
        """A line was lost or could not be opened."""
        self._metrics.plugin_state(name, is_up=False, restarts=None)
        if self._line_problems.get(name) == error.message:
            return  # it is tried again and again, and said once
        self._line_problems[name] = error.message
        self._log.warning("plugin_line_down", plugin=name, code=error.code, reason=error.message)

    def _standing_changed(self, name: PluginName, state: str) -> None:
        standing = self._desk.standings.get(name) if self._journal is not None else None
        if standing is not None and standing.definitions is not None:
            self._metrics.know(name, standing.definitions.tools)
        problem = None if standing is None else standing.problem
        if problem is None or problem.code == "plugin_unavailable":  # it has not reported yet
            self._log.info("plugin_standing", plugin=name, state=state)
        else:
            remedy = problem.remedy.replace("NAME", name)
            self._log.warning("plugin_standing", plugin=name, state=state, remedy=remedy)
        if self._door is not None:  # once the change is complete
            asyncio.get_running_loop().call_soon(self._door.house_changed)
        if self._duties.leads:
            self._record("plugin_standing", plugin=name, state=state)

    def _withdraw(self, client: str, session: str, request: int | str) -> bool:
        return self._door is not None and self._door.withdraw(client, session, request)

    def _hear_word(self, ask: str, scope: str, said_yes: bool) -> bool:
        return self._door is not None and self._door.hear_word(ask, scope, said_yes)

    def _read_approvals(self) -> None:
        self._desk.refresh_lock()

    def _record(self, name: str, **fields: str | int | bool | None) -> None:
        if self._journal is not None:
            entry = records.event(now=time.time(), name=name, **fields)
            self._journal.append(entry, effect=False, done=lambda problem: None)

    def _problems(self, journal: Journal) -> dict[str, str]:
        problems = {} if journal.problem is None else {"audit": journal.problem.message}
        for name in self._plugins.missing():
            problems[f"plugin {name}"] = "its plugin server is not connected"
        issuers = self._authentication.credentials.problems(time.time())
        problems |= {f"issuer {name}": problem for name, problem in issuers.items()}
        return problems | self._duties.problems()

    async def _look_after(self, journal: Journal) -> None:
        """Notice what changes on disk: approvals, revocations, certificates."""
        renewed = trimmed = time.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.time()
            if now - trimmed > TRIM_S and resident_bytes() > MUCH_MEMORY:
                trimmed = now
                give_back()
            if self._desk.refresh_lock():
                self._duties.noticed_approval()
            self._metrics.audit_healthy(journal.healthy)
            self._keys.refresh_revoked(self._revoked)
            self._authentication.credentials.look(now)
            if self._door is not None:
                self._door.look(now)
            await self._take_up_renewal(now)
            self._duties.look()
            if self._memory is not None:
                self._tallies.write()
            if self._duties.leads and now - renewed > RENEW_S:
                renewed = now
                here = [one.name for one in self._config.plugins.servers if one.runs_here]
                renew_all(self._keys, self._config, here, now)

    async def _take_up_renewal(self, now: float) -> None:
        try:
            await self._front.take_up_renewal(now, self._config.auth.client_ca_path)
            self._front_problem = ""
        except Misconfigured as error:  # looked at again in a second; said once
            if self._front_problem != error.message:
                self._front_problem = error.message
                self._log.error("certificate_unusable", code=error.code, reason=error.message)

    def reload(self) -> None:
        """Take over a changed configuration file; calls in flight are not touched. A wrong file changes nothing."""
        try:
            config = load_core(self._places.config)
            check_paths(config)
            self._front.check_authorities(config.auth.client_ca_path)
            tokens = load_token_book(self._keys)
            # with an unchanged table the issuers' keys stay: they may not be reached just now
            is_same = config.auth == self._config.auth
            shown = self._authentication if is_same else self._authenticate(config, tokens)
            self._issuers.replace(config.auth.issuers)  # the last that can fail: it reads their secrets
        except SekishoError as error:
            self._log.error("reload_refused", code=error.code, reason=error.message)
            return
        before = {one.name: one for one in self._config.plugins.servers}
        self._config = config
        after = {one.name: one for one in config.plugins.servers}
        for name in [name for name in before if needs_restart(before[name], after.get(name))]:
            self._plugins.retire(plugin_name(name))
        self._rules = door_rules(config)
        if self._door is not None and not (is_same and tokens.knows_same(self._tokens)):
            self._door.close()  # who opened a stream may not be let in any more; others open theirs again
        self._authentication, self._tokens = shown, tokens
        shown.credentials.replace_tokens(tokens)
        shown.credentials.look(time.time())
        self._household.reconfigure(config, shown)
        self._plugins.open_new()
        self._log.info("reloaded", plugins=sorted(after))
        if self._duties.leads:
            self._record("reloaded")

    def _say_ready(self, url: str) -> None:
        tell_supervisor(
            {
                "event": "ready",
                "url": url,
                "token_file": str(self._token_file),
                "ca_file": str(self._keys.path / "authority" / "ca.crt"),
                "status_url": self._status_url,
            }
        )


class _Onlooker(Shelf):
    """The shelf of a worker that does not lead: every surface is digested, the leader keeps it."""

    def store(self, plugin: PluginName, listing: Listing, now: float) -> Surface:
        """The surface of a listing."""
        del plugin, now
        return surface_of(listing)


class _LoopClock:
    """Wall time for records: one instant for everything that happens in one turn of the loop."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        if not self._now:
            self._now = time.time()
            asyncio.get_running_loop().call_soon(self._forget)
        return self._now

    def soon(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def _forget(self) -> None:
        self._now = 0.0


def _front_limits(config: CoreConfig) -> FrontLimits:
    limits = config.limits
    return FrontLimits(
        http=HttpLimits(
            max_head_bytes=limits.max_head_bytes,
            max_body_bytes=config.security.max_request_bytes,
            max_headers=limits.max_headers,
        ),
        request_timeout_s=limits.receive_timeout_seconds,
        send_timeout_s=limits.send_timeout_seconds,
        idle_timeout_s=limits.idle_timeout_seconds,
        max_connections=limits.max_connections,
        max_connections_per_client=limits.max_connections_per_client,
        max_pipelined=limits.max_pipelined,
        max_unsent_bytes=limits.max_unsent_bytes,
        max_held_bytes=limits.max_held_bytes,
    )
