"""`sekisho up`: every process of one machine, kept running, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from sekisho.assembly.arrivals import Arrival, Arrivals
from sekisho.assembly.children import JSON, Child, Life, Starter, start_program
from sekisho.assembly.claim import Claim
from sekisho.assembly.cradle import Cradle
from sekisho.assembly.identities import ensure_all
from sekisho.assembly.inheritance import inherited
from sekisho.assembly.orders import Orders, orders_of, write_orders
from sekisho.assembly.places import Places
from sekisho.assembly.running import run_until_stopped, worker_count
from sekisho.config import CoreConfig, check_paths, fetched_at_start, load_core
from sekisho.errors import SekishoError
from sekisho.keys import KeyFolder
from sekisho.telemetry import Logger

__all__ = ["run_up"]

RETIRE_S = 65.0  # longer than the core waits for calls under way


def run_up(
    config_path: Path,
    home: Path,
    cradle: Cradle,
    *,
    trust_on_first_use: bool = False,
    tell: Callable[[Arrival], None] = lambda _arrival: None,
    as_json: bool = False,
) -> int:
    """Start core, plugin servers and egress proxy; run until SIGTERM. Returns the exit status.

    Prints the core's ready line on standard output once calls can be served, once. `cradle` is entered by the caller, as
    early as can be: its nursery imports while the configuration is read. `tell` hears how each plugin comes up;
    with `as_json` the errors of all processes are lines of JSON.
    """
    up = Up(config_path, home, cradle, trust_on_first_use=trust_on_first_use, tell=tell, as_json=as_json)
    run_until_stopped(up.serve(), on_hangup=up.reload)
    return up.status


class Up:
    """The supervisor. Holds no keys in memory and opens no socket.

    A core that fails before it was ever ready has said why; started again it would say the same. So `up` ends with its
    status. One that was ready once is started again whatever happens.
    """

    def __init__(
        self,
        config_path: Path,
        home: Path,
        cradle: Cradle,
        *,
        trust_on_first_use: bool,
        tell: Callable[[Arrival], None],
        as_json: bool,
    ) -> None:
        self._tell = tell
        self._form = [JSON] if as_json else []
        self._cradle = cradle
        self._config = load_core(config_path)
        check_paths(self._config)
        self._places = Places(home=home.absolute(), config=config_path.absolute())
        self._places.make_folders()
        self._claim = Claim(self._places.home)
        self._log = Logger("up", level=self._config.audit.log_level)
        self._trust_on_first_use = trust_on_first_use
        self._children: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._retiring: dict[str, asyncio.TimerHandle] = {}
        self._is_ready = False
        self.status = 0
        self._arrivals = Arrivals(_local(self._config), time.monotonic())

    async def serve(self) -> None:
        """Run until cancelled."""
        if self._trust_on_first_use:
            self._log.warning(
                "trust_on_first_use",
                meaning="plugins never seen before are approved unread; use sekisho review and approve instead",
            )
        for arrival in self._arrivals.begin():
            self._tell(arrival)
        keys = KeyFolder(self._places.keys, self._config.core_server.trust_domain)
        whole = asyncio.current_task()
        assert whole is not None  # noqa: S101  # a coroutine runs in one
        async with asyncio.TaskGroup() as self._group:
            # The core first: it imports while the keys are made, and takes turns with us at making its own.
            extra = ["--trust-on-first-use"] if self._trust_on_first_use else []
            core = self._start("core", ["core"], "--worker", "0", *extra)
            core.on_line = self._took_line
            core.is_over = partial(self._is_over, whole)
            await asyncio.to_thread(ensure_all, keys, self._config, _local(self._config), time.time())
            if (
                _local(self._config) and "egress" not in self._children
            ):  # a reload meanwhile may have started it
                self._start("egress", ["egress"])
            self._start_missing()
            for worker in range(1, worker_count(self._config)):
                self._start(f"core {worker}", ["core"], "--worker", str(worker))

    def reload(self) -> None:
        """Take over a changed configuration: the core first reads it, changed plugins are started anew."""
        from sekisho.assembly.household import needs_restart, unapplied  # noqa: PLC0415  # half of our start would be its imports

        try:
            config = load_core(self._places.config)
            check_paths(config)
            keys = KeyFolder(self._places.keys, config.core_server.trust_domain)
            # Before anything changes: what failed here would not be seen as a difference the next time.
            ensure_all(keys, config, _local(config), time.time())
        except SekishoError as error:
            self._log.error("reload_refused", code=error.code, reason=error.message, remedy=error.remedy)
            return
        before, self._config = self._config, config
        if late := unapplied(before, config):
            self._log.warning(
                "restart_needed", settings=late, remedy="stop sekisho up and start it again for these"
            )
        for name in _local(before):
            if name not in _local(config) or needs_restart(before.plugin(name), config.plugin(name)):
                self._retire(name)
        if _ways_out(before) != _ways_out(config):
            self._restart_egress()
        self._start_missing()
        for role, child in self._children.items():
            if role.startswith("core"):
                child.send_signal(signal.SIGHUP)

    def _start_missing(self) -> None:
        for name in _local(self._config):
            if f"plugin {name}" not in self._children:
                if self._config.plugin(name).grants.isolation == "unsafe-none":
                    self._log.warning(
                        "plugin_without_walls",
                        plugin=name,
                        meaning='sandbox.isolation = "unsafe-none": it can do all that you can do',
                    )
                self._warn_of_fetching(name)
                self._start_plugin(name)

    def _warn_of_fetching(self, name: str) -> None:
        instead = fetched_at_start(self._config.plugin(name).workload.command)
        if instead is not None:
            self._log.warning(
                "plugin_fetches",
                plugin=name,
                meaning="its command fetches at each start, and a plugin has no registry: it will not come up",
                remedy=f"write {instead}, its words as arguments, and type sekisho install {name}",
            )

    def _start_plugin(self, name: str) -> None:
        child = self._start(f"plugin {name}", ["plugin"], name)
        child.on_line = partial(self._took_plugin_line, name)

    def _retire(self, name: str) -> None:
        """Stop a plugin server once the core says that nothing is under way there, or after a bound."""
        wait = asyncio.get_running_loop().call_later(RETIRE_S, self._replace, name)
        self._retiring[name] = wait

    def _replace(self, name: str) -> None:
        wait = self._retiring.pop(name, None)
        if wait is None:
            return
        wait.cancel()
        self._tasks.pop(f"plugin {name}").cancel()
        self._children.pop(f"plugin {name}")
        if name in _local(self._config):
            self._start_plugin(name)

    def _restart_egress(self) -> None:
        task = self._tasks.pop("egress", None)
        if task is not None:
            task.cancel()
        self._start("egress", ["egress"])

    def _start(self, role: str, command: list[str], *rest: str) -> Child:
        assert self._group is not None  # noqa: S101  # serve made it
        arguments = [*command, str(self._places.config), str(self._places.home), *rest, *self._form]
        # The core has an address layout and secrets of its own, so it is never forked beside plugin servers.
        given = inherited(self._config, [*command, *rest], self._cradle.environment)
        start: Starter
        match command[0]:
            case "core":
                start = partial(start_program, environment=given)
            case "plugin":
                start = partial(self._bear, given, orders_of(self._config, rest[0]))
            case _:
                start = partial(self._cradle.start, environment=given)
        child = self._children[role] = Child(role, arguments, log=self._log.warning, start=start)
        self._tasks[role] = self._group.create_task(child.run())
        return child

    async def _bear(self, environment: Mapping[str, str], first: Orders, arguments: list[str]) -> Life:
        """A plugin server, of the configuration that holds now; one that is left out of it lives on for a moment."""
        name = first.workload.name
        orders = orders_of(self._config, name) if name in _local(self._config) else first
        return await self._cradle.start(arguments, environment, write_orders(orders))

    def _is_over(self, whole: asyncio.Task[None], status: int) -> bool:
        """The core ended; by a signal it is nobody's decision, and started again."""
        if self._is_ready or status <= 0:
            return False
        self.status = status
        whole.cancel()
        return True

    def _took_line(self, line: bytes) -> None:
        """The core says it is ready after each of its starts; the caller of `up` hears it once."""
        try:
            told = msgspec.json.decode(line, type=_Told)
        except msgspec.MsgspecError:
            return
        if told.event == "drained":
            self._replace(told.plugin)
        elif told.event in ("plugin_standing", "plugin_state"):
            self._took_news(told)
        elif told.event == "ready" and not self._is_ready:
            self._is_ready = True
            sys.stdout.write(line.decode("utf-8", "replace"))
            sys.stdout.flush()

    def _took_plugin_line(self, name: str, line: bytes) -> None:
        """A plugin server says what it waits for. It stands next to the plugin: it may speak of that one only."""
        with contextlib.suppress(msgspec.MsgspecError):
            told = msgspec.json.decode(line, type=_Told)
            if told.event == "plugin_held":
                now = time.monotonic()
                arrival = self._arrivals.held(name, told.detail, told.remedy or "", now)
                if arrival is not None:
                    self._tell(arrival)

    def _took_news(self, told: _Told) -> None:
        now = time.monotonic()
        if told.event == "plugin_standing":
            arrival = self._arrivals.standing(told.plugin, told.state, now)
        else:
            arrival = self._arrivals.state(told.plugin, told.state, told.detail, now)
        if arrival is not None:
            self._tell(arrival)


class _Told(msgspec.Struct):
    """What the core says on its standard output."""

    event: str
    plugin: str = ""
    state: str = ""
    detail: str = ""
    remedy: str | None = ""


def _ways_out(config: CoreConfig) -> dict[str, object]:
    """What the egress process has to know of each plugin."""
    entries = {name: config.plugin(name) for name in _local(config)}
    return {
        name: (one.grants.network, one.grants.secrets, one.workload.gates) for name, one in entries.items()
    }


def _local(config: CoreConfig) -> tuple[str, ...]:
    return tuple(one.name for one in config.plugins.servers if one.runs_here)
