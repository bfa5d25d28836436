"""The plugin server process: one plugin, its wall, and the sealed line to the core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from sekisho.assembly.at_url import AtUrl
from sekisho.assembly.behind_walls import BehindWalls
from sekisho.assembly.duties import tell_supervisor
from sekisho.assembly.housing import follow_drafts
from sekisho.assembly.memory import keep_between_calls
from sekisho.assembly.orders import Orders
from sekisho.assembly.packages import follow_package, wait_installed
from sekisho.assembly.post import Post, from_core_file, from_orders, from_plugin_file
from sekisho.assembly.running import run_until_stopped
from sekisho.config import Workload
from sekisho.errors import Misconfigured, SekishoError
from sekisho.keys import KeyFolder, Revocations
from sekisho.plugin_server import InstanceRules, Instances, OfPackage, Publisher, Resting, Warden, WardenRules
from sekisho.plugin_server.instance import SlotConnector
from sekisho.sandbox import ForkedLauncher
from sekisho.telemetry import Logger
from sekisho.wire import DenialFrame, Listener

__all__ = ["run_plugin"]

LOOK_S: Final = 1.0
RETRY_S: Final = 2.0
MOST_RETRY_S: Final = 15.0  # a keyring may put up a question to a person each time


def run_plugin(
    config_path: Path,
    home: Path,
    *,
    name: str | None,
    environment: Mapping[str, str],
    command: tuple[str, ...] = (),
    launcher: ForkedLauncher | None = None,
    orders: Orders | None = None,
) -> None:
    """Run one plugin server until SIGTERM.

    Args:
        config_path: a plugin file, or with `name` the core file that holds the plugin.
        environment: ours, of which the plugin gets the parts its configuration names.
        command: replaces the configured command.
        launcher: runs already; else one is started.
        orders: what the core file says, from who has read it.
    """
    if orders is not None:
        post = from_orders(orders, config_path, home)
    elif name is not None:
        post = from_core_file(config_path, home, name)
    else:
        post = from_plugin_file(config_path, home)
    if command:
        post = replace(post, workload=replace(post.workload, command=command, upstream=None, package=None))
    keep_between_calls()
    run_until_stopped(_serve(post, environment, launcher, waits=orders is not None))


async def _serve(
    post: Post, environment: Mapping[str, str], launcher: ForkedLauncher | None, *, waits: bool
) -> None:
    log = Logger(f"plugin {post.workload.name}", level=post.log_level)
    for reason in post.workload.idle_roots:
        log.warning("root_gives_nothing", plugin=post.workload.name, reason=reason)
    active, workload = await wait_installed(post.workload, post.places.packages, log, _tell_held)
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
    async with AsyncExitStack() as stack:
        make = partial(_way, post, environment, log, on_denial=listener.publish_denial)
        way = (
            await _entered(stack, make, launcher, log)
            if waits
            else await stack.enter_async_context(make(launcher))
        )
        publisher = listener if active is None else OfPackage(listener, f"sha256:{active.current}")
        warden = _keeper(post.workload, way.connect, publisher, rules, log)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.serve())
            group.create_task(warden.run())
            group.create_task(_follow_revocations(post.keys, revoked))
            if isinstance(way, BehindWalls):
                group.create_task(way.follow_lease())
            if active is not None:
                group.create_task(follow_package(workload.name, post.places.packages, active))
            if workload.grants.files.persist == "review":
                group.create_task(follow_drafts(post.places, workload))


def _tell_held(error: SekishoError) -> None:
    """Whoever waits in front of `sekisho up` hears what keeps the plugin down, for the core hears nothing yet."""
    tell_supervisor({"event": "plugin_held", "detail": error.message, "remedy": error.remedy})


async def _entered(
    stack: AsyncExitStack,
    make: Callable[[ForkedLauncher | None], AbstractAsyncContextManager[BehindWalls | AtUrl]],
    launcher: ForkedLauncher | None,
    log: Logger,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> BehindWalls | AtUrl:
    """The way to the plugin. Where an operator must act first it is said why, once, and tried until they have."""
    told, wait_s = "", RETRY_S
    while True:
        try:
            return await stack.enter_async_context(make(launcher))
        except Misconfigured as error:
            if error.message != told:
                log.error("plugin_refused", code=error.code, reason=error.message, remedy=error.remedy)
                _tell_held(error)
                wait_s = RETRY_S  # somebody is at it
            told = error.message
        if launcher is not None:
            launcher.dismiss()  # the next try starts one of its own
            launcher = None
        await pause(wait_s)
        wait_s = min(wait_s * 1.5, MOST_RETRY_S)


def _way(
    post: Post,
    environment: Mapping[str, str],
    log: Logger,
    launcher: ForkedLauncher | None,
    *,
    on_denial: Callable[[DenialFrame], None],
) -> AbstractAsyncContextManager[BehindWalls | AtUrl]:
    """How this plugin is reached: a sandbox here, or a URL."""
    if post.workload.upstream is None:
        return BehindWalls(post, environment, log, launcher, on_denial)
    if launcher is not None:
        launcher.dismiss()  # a server at a URL has no walls of ours
    return nullcontext(AtUrl(post.workload.upstream, post, environment, log))


def _keeper(
    workload: Workload, connect: SlotConnector, publisher: Publisher, rules: WardenRules, log: Logger
) -> Warden | Resting | Instances:
    """Who takes the calls: one plugin for all clients, or a pool of them."""
    idle_s = workload.grants.limits.idle_stop_s
    if workload.instances == "shared" and idle_s and workload.command:
        return Resting(
            connect=partial(connect, 0), publisher=publisher, rules=rules, idle_s=idle_s, log=log.info
        )
    if workload.instances == "shared":
        return Warden(connect=partial(connect, 0), publisher=publisher, rules=rules, log=log.info)
    bounds = InstanceRules(most=workload.max_instances, idle_s=workload.instance_idle_s)
    return Instances(connect=connect, publisher=publisher, rules=rules, bounds=bounds, log=log.info)


async def _follow_revocations(keys: KeyFolder, revoked: Revocations) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        keys.refresh_revoked(revoked)
