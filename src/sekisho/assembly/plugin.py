"""The plugin server process: one plugin, its wall, and the sealed line to the core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from sekisho.assembly.asking import client_requests
from sekisho.assembly.enclosed import Enclosed, enclosed, sketched
from sekisho.assembly.header_values import header_values
from sekisho.assembly.housing import follow_drafts, housed
from sekisho.assembly.identities import core_id, plugin_id
from sekisho.assembly.logins import authoriser_for
from sekisho.assembly.memory import keep_between_calls
from sekisho.assembly.packages import follow_package, wait_installed
from sekisho.assembly.places import Places
from sekisho.assembly.running import run_until_stopped
from sekisho.assembly.runtimes import asks_broker, with_broker, within_runtime
from sekisho.assembly.spares import Spares
from sekisho.assembly.telling import told
from sekisho.config import PluginLimits, Workload, check_paths, load_core, load_plugin
from sekisho.egress import Lease, take_lease
from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.keys import Identity, KeyFolder, PeerRule, Revocations, Role, SpiffeId
from sekisho.plugin_server import (
    InstanceRules,
    Instances,
    Reach,
    Resting,
    StaticHeaders,
    Warden,
    WardenRules,
    connect_url,
    connect_walled,
    told_roots,
    trusting,
)
from sekisho.plugin_server.instance import SlotConnector
from sekisho.plugin_server.permission_broker import permission_broker
from sekisho.plugin_server.warden import Connection
from sekisho.policy import METHODS
from sekisho.protocol import JsonLimits
from sekisho.sandbox import Driver, ForkedLauncher, SandboxSpec, Warm, driver_for, make_ready
from sekisho.sandbox.uids import is_host_root
from sekisho.telemetry import Logger
from sekisho.wire import Address, DenialFrame, Listener, TcpAddress, UnixAddress

__all__ = ["run_plugin", "sandbox_spec"]

HEALTH_INTERVAL_S = 30.0
LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Post:
    """Everything one plugin server needs to know."""

    workload: Workload
    address: Address
    identity: Identity
    ca_pem: bytes
    core: PeerRule
    core_token_public: bytes
    ops: frozenset[str] | None  # None: what the core's token names is the only limit
    gate_of: Callable[[int], Path]
    lease_path: Path
    health_interval_s: float
    keys: KeyFolder
    limits: PluginLimits
    places: Places
    log_level: str = "INFO"


def run_plugin(
    config_path: Path,
    home: Path,
    *,
    name: str | None,
    environment: Mapping[str, str],
    command: tuple[str, ...] = (),
    launcher: ForkedLauncher | None = None,
) -> int:
    """Run one plugin server until SIGTERM; returns the exit status.

    Args:
        config_path: a plugin file, or with `name` the core file that holds the plugin.
        environment: ours, of which the plugin gets the parts its configuration names.
        command: replaces the configured command.
        launcher: runs already; else one is started.
    """
    post = _from_plugin_file(config_path, home) if name is None else _from_core_file(config_path, home, name)
    if command:
        post = replace(post, workload=replace(post.workload, command=command, upstream=None, package=None))
    keep_between_calls()
    return run_until_stopped(_serve(post, environment, launcher))


def sandbox_spec(
    workload: Workload, environment: Mapping[str, str], inside: Enclosed | None = None
) -> SandboxSpec:
    """The wall of one plugin, as its configuration states it; `environment` is ours, of which it gets named parts.

    `inside`: what stands for its secrets; without it, walls are drawn to be read, with the names of secrets alone.
    """
    passed = {key: environment[key] for key in workload.grants.environment if key in environment}
    inside = inside or sketched(workload)
    stated = SandboxSpec(
        name=workload.name,
        argv=workload.command,
        grants=workload.grants,
        environment={
            **passed,
            **workload.settings_environment,
            **told(workload),
            **inside.environment,
        },
        certificate=inside.certificate,
        cwd=str(workload.working_directory) if workload.working_directory is not None else None,
        runtime_paths=tuple(str(path) for path in workload.runtime_paths),
        isolation=workload.isolation,
        driver=workload.driver,
        engine=workload.engine,
        image=workload.image,
        oci_runtime=workload.oci_runtime,
        wants_network=not workload.grants.network.is_closed,
        search_path=environment.get("PATH"),
    )
    return within_runtime(stated, workload.runtime)


async def _serve(post: _Post, environment: Mapping[str, str], launcher: ForkedLauncher | None) -> None:
    log = Logger(f"plugin {post.workload.name}", level=post.log_level)
    for reason in post.workload.idle_roots:
        log.warning("root_gives_nothing", plugin=post.workload.name, reason=reason)
    active, workload = await wait_installed(post.workload, post.places.packages, log)
    post = replace(post, workload=workload)
    revoked = Revocations(post.keys.revoked_serials())
    listener = Listener(
        address=post.address,
        identity=post.identity,
        ca_pem=post.ca_pem,
        peer=post.core,
        core_token_public=post.core_token_public,
        ops=post.ops,
        clock=time.time,
        on_call=lambda inbound: warden.call(inbound),  # noqa: PLW0108  # the warden is made below
        on_cancel=lambda inbound: warden.cancel(inbound),  # noqa: PLW0108
        on_answer=lambda answer: warden.answer(answer),  # noqa: PLW0108
        on_refused=lambda error: log.warning("core_refused", code=error.code, reason=error.message),
        revoked=revoked,
    )
    limits = post.workload.grants.limits
    rules = WardenRules(
        start_timeout_s=limits.start_timeout_s,
        execution_timeout_s=limits.execution_timeout_s,
        health_interval_s=post.health_interval_s,
    )
    async with _Walls(post, environment, log, launcher, listener.publish_denial) as walls:
        warden = _keeper(post.workload, walls.connect, listener, rules, log)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.serve())
            group.create_task(warden.run())
            group.create_task(_follow_revocations(post.keys, revoked))
            group.create_task(walls.follow_lease())
            if active is not None:
                group.create_task(follow_package(workload.name, post.places.packages, active))
            if workload.grants.files.persist == "review":
                group.create_task(follow_drafts(post.places, workload))


def _keeper(
    workload: Workload, connect: SlotConnector, listener: Listener, rules: WardenRules, log: Logger
) -> Warden | Resting | Instances:
    """Who takes the calls: one plugin for all clients, or a pool of them."""
    idle_s = workload.grants.limits.idle_stop_s
    if workload.instances == "shared" and idle_s and workload.command:
        return Resting(
            connect=partial(connect, 0), publisher=listener, rules=rules, idle_s=idle_s, log=log.info
        )
    if workload.instances == "shared":
        return Warden(connect=partial(connect, 0), publisher=listener, rules=rules, log=log.info)
    bounds = InstanceRules(most=workload.max_instances, idle_s=workload.instance_idle_s)
    return Instances(connect=connect, publisher=listener, rules=rules, bounds=bounds, log=log.info)


class _Walls:
    """How this plugin is reached: a sandbox with a warm launcher, or a URL."""

    def __init__(
        self,
        post: _Post,
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
        self._limits = _message_limits(post.limits)
        self._lease: Lease | None = None
        self.connect: SlotConnector

    async def __aenter__(self) -> _Walls:
        workload = self._post.workload
        if workload.upstream is not None:
            if self._launcher is not None:
                self._launcher.dismiss()  # a server at a URL has no walls of ours
            self.connect = partial(self._connect_url, workload.upstream, self._reach(workload))
            return self
        if not workload.command:
            raise Misconfigured(
                "config_invalid",
                f"plugin {workload.name!r} has neither command nor upstream",
                remedy="write command = [...] or package = in its file, or give the command after --",
            )
        if workload.grants.needs_lease:
            self._lease = self._stack.enter_context(await take_lease(self._post.lease_path))
        inside = await asyncio.to_thread(enclosed, workload, self._lease, self._environment)
        spec = sandbox_spec(workload, self._environment, inside)
        spec = housed(spec, workload, self._post.places, is_root=is_host_root())
        self._driver = await self._stack.enter_async_context(
            driver_for(spec, self._launcher, self._environment)
        )
        if self._driver.name == "unsafe-none":
            self._log.warning(
                "plugin_without_walls",
                plugin=workload.name,
                meaning='sandbox.isolation = "unsafe-none": it can do all that you can do',
            )
        access = asks_broker(workload, self._driver.name)
        if access is not None:
            folder = self._post.gate_of(0).with_suffix(".deno")
            broker = permission_broker(folder, access, self._on_denial, workload.gates)
            spec = with_broker(spec, await self._stack.enter_async_context(broker))
        self._spares = await self._starters(spec)
        self._start = await self._stack.enter_async_context(self._spares.listed())
        self.connect = self._connect_here
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

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
    async def _connect_here(
        self, slot: int, on_list_changed: Callable[[], None]
    ) -> AsyncIterator[Connection]:
        """One sandbox. The listed plugin is started again within its walls, a client's has walls that nobody had."""
        workload = self._post.workload
        async with AsyncExitStack() as stack:
            start = self._start if not slot else await stack.enter_async_context(self._spares.fresh())
            yield await stack.enter_async_context(
                connect_walled(
                    start=start,
                    limits=self._limits,
                    max_queued_bytes=self._post.limits.max_queued_bytes,
                    roots=told_roots(workload.grants.files, workload.roots, is_walled=not workload.upstream),
                    may_ask=tuple(sorted(client_requests(workload.client_requests))),
                    gate_path=self._post.gate_of(slot),
                    log=self._log.info,
                    on_list_changed=on_list_changed,
                    on_denial=self._on_denial,
                    grant=workload.grants.limits,
                )
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
        spares = Spares(launch, make)
        self._stack.push_async_callback(spares.close)
        return spares

    def _connect_url(
        self, url: str, reach: Reach, slot: int, on_list_changed: Callable[[], None]
    ) -> AbstractAsyncContextManager[Connection]:
        del slot  # a session at the server is all there is of it
        workload = self._post.workload
        return connect_url(
            url=url,
            limits=self._limits,
            on_list_changed=on_list_changed,
            roots=told_roots(workload.grants.files, workload.roots, is_walled=not workload.upstream),
            may_ask=tuple(sorted(client_requests(workload.client_requests))),
            reach=reach,
        )

    def _reach(self, workload: Workload) -> Reach:
        chosen = StaticHeaders(header_values(workload.upstream_headers, self._environment))
        return Reach(
            ca_path=workload.upstream_ca_path,
            authoriser=authoriser_for(
                workload,
                self._post.keys,
                self._log.info,
                otherwise=chosen,
                context=None if workload.upstream_ca_path is None else trusting(workload.upstream_ca_path),
            ),
            may_be_private=workload.upstream_private,
        )


def _message_limits(limits: PluginLimits) -> JsonLimits:
    return JsonLimits(
        max_bytes=limits.max_line_bytes,
        max_depth=limits.max_depth,
        max_members=limits.max_members,
        max_string_bytes=limits.max_string_bytes,
    )


async def _follow_revocations(keys: KeyFolder, revoked: Revocations) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        keys.refresh_revoked(revoked)


def _from_core_file(config_path: Path, home: Path, name: str) -> _Post:
    config = load_core(config_path)
    entry = config.plugin(name)
    domain = config.core_server.trust_domain
    places = Places(home=home, config=config_path)
    keys = KeyFolder(places.keys, domain)
    core = keys.public_identity(core_id(domain))
    return _Post(
        workload=entry.workload,
        address=UnixAddress(path=str(places.plugin_socket(name))),
        identity=keys.identity(plugin_id(domain, name)),
        ca_pem=keys.ca_pem(),
        core=core.rule,
        core_token_public=core.token_public,
        ops=frozenset(entry.allowed_operations) | METHODS,
        gate_of=partial(places.gate_socket, name),
        lease_path=places.lease_socket(name),
        health_interval_s=config.plugins.health_check_interval_seconds,
        keys=keys,
        limits=config.limits,
        places=places,
        log_level=config.audit.log_level,
    )


def _from_plugin_file(config_path: Path, home: Path) -> _Post:
    config = load_plugin(config_path)
    check_paths(config)
    server = config.plugin_server
    places = Places(home=home, config=config_path)
    keys = KeyFolder(places.keys)
    core = _known_core(keys, server.core_server_url)
    spiffe = plugin_id(keys.trust_domain, config.name)
    if keys.holds_authority:
        keys.ensure_identity(spiffe, time.time(), dns=(config.name,))
    identity = keys.identity(spiffe)
    if server.tls_cert_path is not None and server.tls_key_path is not None:
        identity = replace(identity, cert_path=server.tls_cert_path, key_path=server.tls_key_path)
    ca_path = server.ca_cert_path
    return _Post(
        workload=config.workload,
        address=TcpAddress(host=server.bind_addr.host, port=server.bind_addr.port),
        identity=identity,
        ca_pem=ca_path.read_bytes() if ca_path is not None else keys.ca_pem(),
        core=core[0],
        core_token_public=core[1],
        ops=None if server.allowed_operations is None else frozenset(server.allowed_operations) | METHODS,
        gate_of=partial(places.gate_socket, config.name),
        lease_path=places.lease_socket(config.name),
        health_interval_s=HEALTH_INTERVAL_S,
        keys=keys,
        limits=config.limits,
        places=places,
    )


def _known_core(keys: KeyFolder, url: str | None) -> tuple[PeerRule, bytes]:
    """The one core that may connect: its pinned keys, and the host name that the file states."""
    spiffe = SpiffeId(trust_domain=keys.trust_domain, role=Role.CORE, name="main")
    try:
        public = keys.public_identity(spiffe)
    except SekishoError as error:
        raise Misconfigured(
            "key_unavailable",
            "the core's public keys are not here",
            remedy=f"copy public/core-main.json of the core into {keys.path / 'public'}",
        ) from error
    host = urlsplit(url).hostname if url is not None else None
    rule = public.rule if host is None else replace(public.rule, dns=host)
    return rule, public.token_public
