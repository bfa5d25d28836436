"""A plugin that runs here: in a sandbox, started with a warm launcher where that is possible.

Guarantees that a plugin starts with what the gate leased to it or not at all, and that it ends with that lease. The walls
are drawn by `sandbox`; sessions are kept by `plugin_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from sekisho.assembly.asking import client_requests
from sekisho.assembly.enclosed import Enclosed, enclosed
from sekisho.assembly.housing import housed
from sekisho.assembly.post import Post
from sekisho.assembly.runtimes import access_of, asks_broker, with_audit, with_broker
from sekisho.assembly.sandbox_spec import sandbox_spec, sockets_in_reach
from sekisho.assembly.spares import Spares
from sekisho.egress import Lease, take_lease
from sekisho.errors import Misconfigured, Unavailable
from sekisho.plugin_server import connect_walled, told_roots
from sekisho.plugin_server.permission_broker import permission_broker
from sekisho.plugin_server.permission_lines import PermissionLines
from sekisho.plugin_server.warden import Connection
from sekisho.sandbox import Driver, ForkedLauncher, SandboxSpec, Warm, driver_for, make_ready
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.sandbox.host.uids import is_host_root
from sekisho.sandbox.plans.spec import INNER_HOME
from sekisho.telemetry import Logger
from sekisho.wire import DenialFrame

__all__ = ["BehindWalls"]

MAX_SOCKETS_TOLD: Final = 8


class BehindWalls:
    """The walls of one plugin, from `async with` to its end."""

    def __init__(
        self,
        post: Post,
        environment: Mapping[str, str],
        log: Logger,
        launcher: ForkedLauncher | None,
        on_denial: Callable[[DenialFrame], None],
    ) -> None:
        self._on_denial = on_denial
        self._post = post
        self._environment = environment
        self._log = log
        self._launcher = launcher
        self._driver: Driver
        self._stack = AsyncExitStack()
        self._lease: Lease | None = None
        self._says: DenoAccess | None = None

    async def __aenter__(self) -> BehindWalls:
        try:
            await self._raise()
        except BaseException:
            await self._stack.aclose()  # whoever tries again starts from nothing
            raise
        return self

    async def _raise(self) -> None:
        workload = self._post.workload
        if not workload.command:
            raise Misconfigured(
                "config_invalid",
                f"plugin {workload.name!r} has neither command nor upstream",
                remedy="write command = [...] or package = in its file, or give the command after --",
            )
        if workload.grants.needs_lease:
            self._lease = self._stack.enter_context(await take_lease(self._post.lease_path))
        inside = await self._enclosed()
        spec = sandbox_spec(workload, self._environment, inside)
        spec = housed(spec, workload, self._post.places, is_root=is_host_root())
        self._driver = driver_for(spec, self._launcher, self._environment)
        access = access_of(workload)
        if access is not None and not asks_broker(workload, self._driver.name, has_sockets=spec.unix_sockets):
            spec, self._says = with_audit(spec), access
        elif access is not None:
            folder = self._post.gate_of(0).with_suffix(".deno")
            broker = permission_broker(folder, access, self._on_denial, workload.gates)
            spec = with_broker(spec, await self._stack.enter_async_context(broker))
        # What is missing for its walls is told before a launcher runs: it is tried again until somebody has acted.
        self._spares = await self._starters(spec)
        await self._stack.enter_async_context(self._driver)
        self._stack.push_async_callback(self._spares.close)
        self._start = await self._stack.enter_async_context(self._spares.listed())
        if not spec.unix_sockets and workload.unix_sockets == "auto":
            self._log.warning(
                "plugin_without_unix_sockets",
                plugin=workload.name,
                meaning="services listen in what it is shown, and no mount would keep it from them; block their "
                'folder, list the socket\'s own path, or write sandbox.unix_sockets = "always" or "never"',
                sockets=list(sockets_in_reach(workload, spec))[:MAX_SOCKETS_TOLD],
            )

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _enclosed(self) -> Enclosed:
        """A secret may lie where asking takes time; a thread of its own is worth it for nothing else."""
        workload, lease, environment = self._post.workload, self._lease, self._environment
        if any(one.in_environment for one in workload.grants.secrets):
            return await asyncio.to_thread(enclosed, workload, lease, environment)
        return enclosed(workload, lease, environment)

    async def follow_lease(self) -> None:
        """End with what the gate issued: placeholders and certificate are of no use any more, and are baked in."""
        if self._lease is not None:
            await self._lease.wait_ended()
            raise Unavailable(
                "plugin_unavailable",
                f"the egress process ended, and with it the secrets of {self._post.workload.name}",
                remedy="nothing to do: the plugin starts anew with new ones",
            )

    @asynccontextmanager
    async def connect(self, slot: int, on_list_changed: Callable[[], None]) -> AsyncIterator[Connection]:
        """One sandbox. The listed plugin is started again within its walls, a client's has walls that nobody had."""
        workload = self._post.workload
        if self._driver.name == "unsafe-none":
            self._log.warning(
                "plugin_without_walls",
                plugin=workload.name,
                meaning='sandbox.isolation = "unsafe-none": it can do all that you can do',
            )
        async with AsyncExitStack() as stack:
            start = self._start if not slot else await stack.enter_async_context(self._spares.fresh())
            yield await stack.enter_async_context(
                connect_walled(
                    start=start,
                    limits=self._post.message_limits,
                    max_queued_bytes=self._post.limits.max_queued_bytes,
                    roots=told_roots(workload.grants.files, workload.roots, is_walled=True),
                    may_ask=tuple(sorted(client_requests(workload.client_requests))),
                    gate_path=self._post.gate_of(slot),
                    log=self._log.info,
                    on_list_changed=on_list_changed,
                    on_denial=self._on_denial,
                    grant=workload.grants.limits,
                    sift=self._sifter(),
                )
            )

    def _sifter(self) -> Callable[[bytes], bytes]:
        """What takes Deno's own lines out of what its program prints, and tells what they say was refused."""
        folder = self._post.workload.working_directory
        return (
            PermissionLines(self._says, str(folder or INNER_HOME), self._on_denial).take
            if self._says
            else bytes
        )

    async def _starters(self, spec: SandboxSpec) -> Spares:
        """How its processes are started: with an interpreter of their own, or forked where one is warm."""
        plain = await self._driver.plan(spec)
        launch = partial(self._driver.launch, plain)
        workload = self._post.workload
        # an inner runtime is no Python program to be forked, and walls without namespaces hold one life
        is_plain = spec.argv == workload.command and plain.can_be_warm
        ready = make_ready(spec, plain.command, workload.preload) if workload.warm and is_plain else None
        if ready is None:
            return Spares(launch, None)
        warm_spec, message = ready
        make = partial(
            Warm,
            driver=self._driver,
            plain=plain,
            warm=await self._driver.plan(warm_spec),
            message=message,
            log=self._log.info,
        )
        return Spares(launch, make)
