"""The core process: gate, log, registry and keys; no plugin code, and nobody asked but plugin servers and issuers.

One process, or one of several workers that share the port and everything that limits, ends or records a call
(decision 0011). Here its parts are made and joined, opened in order, and told of a new configuration. The gate itself is
made in the `Gatehouse`; what a worker does beside serving calls is its `Duties`, what it looks at every second its
`Upkeep`.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

from sekisho.assembly.duties import tell_supervisor
from sekisho.assembly.follower import LEADER, Onlooker
from sekisho.assembly.gatehouse import Gatehouse
from sekisho.assembly.household import (
    Household,
    door_rules,
    dossiers,
    needs_restart,
)
from sekisho.assembly.identities import DEFAULT_CLIENT, ensure_all
from sekisho.assembly.leader import Leader
from sekisho.assembly.listening import Listener, listen_for_operators
from sekisho.assembly.logbook import Logbook
from sekisho.assembly.memory import settle
from sekisho.assembly.places import Places
from sekisho.assembly.plug_lines import PlugLines
from sekisho.assembly.plugin_reports import PluginReports
from sekisho.assembly.roles import role_of
from sekisho.assembly.running import run_until_stopped, worker_count
from sekisho.assembly.tallies import Tallies
from sekisho.assembly.trust import Trust
from sekisho.assembly.upkeep import Upkeep
from sekisho.audit import Journal
from sekisho.config import check_paths, load_core
from sekisho.errors import SekishoError
from sekisho.gateway import (
    Door,
    Front,
    SharedLimiter,
    SharedMemory,
    Standing,
    Standings,
    StatusPage,
)
from sekisho.keys import KeyFolder, Revocations, ensure_bearer
from sekisho.protocol import PluginName, plugin_name
from sekisho.registry import Shelf
from sekisho.telemetry import Logger, Metrics

__all__ = ["run_core"]


def run_core(
    config_path: Path, home: Path, *, trust_on_first_use: bool = False, worker: int | None = None
) -> None:
    """Run the core until SIGTERM, or one worker of it when it has a number."""
    core = Core(config_path, home, trust_on_first_use=trust_on_first_use, worker=worker)
    run_until_stopped(core.serve(), on_hangup=core.reload)


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
        self._has_supervisor = worker is not None
        self._workers = worker_count(self._config) if worker is not None else 1
        name = f"core {worker}" if worker else "core"
        self._log = Logger(name, level=self._config.audit.log_level)
        if worker is None and self._config.core_server.workers != 1:
            self._log.warning("one_worker", meaning="several workers are started by sekisho up only")
        self._metrics = Metrics()
        self._door: Door | None = None
        self._front: Front | None = None
        self._keys = KeyFolder(self._places.keys, self._config.core_server.trust_domain)
        ensure_all(self._keys, self._config, (), time.time())
        self._logbook = Logbook(self._config, home, self._keys, self._metrics)
        self._token_file = ensure_bearer(self._keys, DEFAULT_CLIENT)
        self._rules = door_rules(self._config)  # one value until a reload: heads are remembered with it
        self._listener = Listener(
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
        self._duties = role_of(
            self._memory,
            self._places,
            self._workers,
            withdraw=self._withdraw,
            hear_word=self._hear_word,
            make_room=self._make_room,
            read_approvals=self._read_approvals,
            port_without_leader=self._listener.port_without_leader,
            log=self._log,
        )
        self._standings = Standings(
            dossiers=dossiers(self._config),
            shelf=Shelf(home) if self._duties.leads else Onlooker(home),
            lock_path=self._places.lock,
            on_change=self._standing_changed,
            trust_on_first_use=trust_on_first_use and self._duties.leads,
        )
        self._trust = Trust(
            self._config, self._keys, self._memory, run=self._places.run, issuer_failed=self._issuer_failed
        )
        self._household = Household(
            self._config,
            self._trust.authentication,
            self._standings,
            rules_file=self._places.content_rules,
            limiter=None if self._memory is None else SharedLimiter(self._memory),
        )
        self._plugins = PlugLines(
            config=lambda: self._config,
            keys=self._keys,
            places=self._places,
            revoked=self._revoked,
            hears=PluginReports(
                tell_state=partial(self._tell_supervisor, "plugin_state"),
                standings=self._standings,
                metrics=self._metrics,
                log=self._log,
                logbook=self._logbook,
                noticed_approval=self._duties.noticed_approval,
            ),
            agree_on_replacement=self._duties.agree_on_replacement,
        )
        self._gatehouse = Gatehouse(
            config=lambda: self._config,
            rules=lambda: self._rules,
            keys=self._keys,
            household=self._household,
            lines=self._plugins.lines,
            memory=self._memory,
            duties=self._duties,
            metrics=self._metrics,
        )
        self._status_url: str | None = None
        self._upkeep = Upkeep(
            config=lambda: self._config,
            keys=self._keys,
            revoked=self._revoked,
            trust=self._trust,
            standings=self._standings,
            duties=self._duties,
            listener=self._listener,
            metrics=self._metrics,
            tallies=None if self._memory is None else self._tallies,
            log=self._log,
        )

    def _issuer_failed(self, issuer: str, error: SekishoError) -> None:
        self._log.warning("issuer_unavailable", issuer=issuer, code=error.code, reason=error.message)

    async def serve(self) -> None:
        """Serve until cancelled."""
        if self._memory is not None:
            self._tallies.take_over()
        journal = await self._logbook.open(leads=self._duties.leads, shared=self._memory is not None)
        try:
            async with asyncio.TaskGroup() as group:
                await self._open(group, journal)
        finally:
            self._duties.close()
            self._listener.close()
            if self._door is not None:
                self._door.close()
            self._plugins.close()
            await journal.close()
            self._trust.close()

    async def _open(self, group: asyncio.TaskGroup, journal: Journal) -> None:
        duties, plugins = self._duties, self._config.plugins
        self._logbook.record("core_started", {} if duties.leads else {"worker": self._worker})
        self._door, self._front = door, front = self._make_gate(journal)
        duties.start()
        self._trust.open(group)
        self._plugins.open_all(group)
        await duties.listen_before(partial(self._listen, front))
        if duties.leads:
            await self._listen_status(journal)
        group.create_task(self._upkeep.go_round(door, journal))
        late = await self._plugins.wait_reported(plugins.discovery_timeout_seconds)
        if late:
            self._log.warning("plugins_late", missing=late)
        settle()
        port = await duties.listen_after(partial(self._listen, front))
        if duties.leads:
            self._say_ready(self._listener.url(port))

    def _make_gate(self, journal: Journal) -> tuple[Door, Front]:
        return self._gatehouse.open(journal)

    async def _listen(self, front: Front, port: int | None) -> int:
        if port is not None:
            return await self._listener.open_shared(front.connect, port)
        is_ours = isinstance(self._duties, Leader) and self._duties.others_live
        return await self._listener.open(front.connect, shared=self._memory is not None, is_ours=is_ours)

    async def _listen_status(self, journal: Journal) -> None:
        address = self._config.core_server.status_addr
        if address is None:
            return
        others = range(1, self._workers)
        self._status_url = await listen_for_operators(
            lambda: StatusPage(
                readiness=lambda: self._problems(journal), metrics=lambda: self._tallies.page(others)
            ),
            address,
        )
        self._log.info("status_listening", address=self._status_url.removeprefix("http://"))

    def _standing_changed(self, name: PluginName, state: str, standing: Standing) -> None:
        if standing.definitions is not None:
            self._metrics.know(name, standing.definitions.tools)
        self._tell_supervisor("plugin_standing", name, state)
        problem = standing.problem
        if problem is None or problem.code == "plugin_unavailable":  # it has not reported yet
            self._log.info("plugin_standing", plugin=name, state=state)
        else:
            remedy = problem.remedy.replace("NAME", name)
            self._log.warning("plugin_standing", plugin=name, state=state, remedy=remedy)
        if self._door is not None:  # once the change is complete
            asyncio.get_running_loop().call_soon(self._door.house_changed)
        if self._duties.leads:
            self._logbook.record("plugin_standing", {"plugin": name, "state": state})

    def _tell_supervisor(self, event: str, name: PluginName, state: str, detail: str = "") -> None:
        """`sekisho up` shows it to whoever waits there; started by itself, a core has nobody to show it to."""
        if self._has_supervisor and self._duties.leads:
            tell_supervisor({"event": event, "plugin": name, "state": state, "detail": detail})

    def _withdraw(self, client: str, session: str, request: int | str) -> bool:
        return self._door is not None and self._door.withdraw(client, session, request)

    def _hear_word(self, ask: str, scope: str, said_yes: bool) -> bool:
        return self._door is not None and self._door.hear_word(ask, scope, said_yes)

    def _make_room(self) -> None:
        if self._front is not None:
            self._front.occupancy.make_room()

    def _read_approvals(self) -> None:
        self._standings.refresh_lock()

    def _problems(self, journal: Journal) -> dict[str, str]:
        problems = {} if journal.problem is None else {"audit": journal.problem.message}
        for name in self._plugins.missing():
            problems[f"plugin {name}"] = "its plugin server is not connected"
        return problems | self._trust.problems(time.time()) | self._duties.problems()

    def reload(self) -> None:
        """Take over a changed configuration file; calls in flight are not touched. A wrong file changes nothing."""
        try:
            config = load_core(self._places.config)
            check_paths(config)
            self._listener.check_authorities(config.auth.client_ca_path)
            self._plugins.check(config)
            is_same = self._trust.reconfigure(config)  # the last that can fail
        except SekishoError as error:
            self._log.error("reload_refused", code=error.code, reason=error.message, remedy=error.remedy)
            return
        before = {one.name: one for one in self._config.plugins.servers}
        self._config = config
        after = {one.name: one for one in config.plugins.servers}
        for name in [name for name in before if needs_restart(before[name], after.get(name))]:
            self._plugins.retire(plugin_name(name))
        self._rules = door_rules(config)
        if self._door is not None and not is_same:
            self._door.close()  # who opened a stream may not be let in any more; others open theirs again
        self._household.reconfigure(config, self._trust.authentication)
        self._plugins.open_new()
        self._log.info("reloaded", plugins=sorted(after))
        if self._duties.leads:
            self._logbook.record("reloaded", {})

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
