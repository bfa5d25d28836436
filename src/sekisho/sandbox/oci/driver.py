"""The container driver: a plan carried out by podman or docker, for hosts where an engine is what is trusted.

Guarantees
- the walls are those of the plan: our filter, our grants, our limits, a user of its own, the gate's sockets in a
  network that has nothing else;
- `launch` returns only when the plugin runs in them; `kill_tree` when nothing of it is left;
- a container that was made ahead of time is started only for the very plan it was made for, while what it shows of the
  host still lies there, and never twice;
- no container outlives us: each is removed when we go, by a process that waits for just that, and what a crash of both
  left behind is swept away at the next start.

Without an image of its own a plugin gets an empty one, into which the host's interpreter is mounted read-only, as with
the other drivers. Stands on `container` (one life) and `engine` (who is told).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Final, Self

from sekisho.errors import SekishoError
from sekisho.sandbox.host.closure import mounts_below, survey
from sekisho.sandbox.host.probe import glance
from sekisho.sandbox.oci.container import FOLDERS, Container, Kind
from sekisho.sandbox.oci.engine import NOTHING, Able, Engine, find_engine, owner_of
from sekisho.sandbox.oci.folder import can_start
from sekisho.sandbox.oci.words import GVISOR, sealed_below
from sekisho.sandbox.plans.plan import Plan, plan
from sekisho.sandbox.plans.spec import Capabilities, DriverName, Link, SandboxSpec, unavailable
from sekisho.sandbox.running.sandbox import Sandbox
from sekisho.sandbox.running.scratch import sweep_folders

__all__ = ["Oci"]

START_S: Final = 30.0


class Oci:
    """Containers of one engine; entered once per plugin server.

    `has_reserve`: after each start the next container is made, so that the next start finds it.
    """

    name: DriverName = "oci"

    def __init__(
        self,
        engine: str = "auto",
        image: str = "",
        runtime: str = "",
        environment: Mapping[str, str] = NOTHING,
        *,
        has_reserve: bool = False,
    ) -> None:
        self._wanted, self._image, self._runtime = engine, image, runtime
        self._environment = environment
        self._engine: Engine | None = None
        self._able: Able | None = None
        self._containers: set[Container] = set()
        self._links: tuple[Link, ...] = ()
        self._frames: dict[tuple[Link, ...], str] = {}
        self._has_reserve = has_reserve
        self._reserve: asyncio.Task[Container] | None = None
        self.warm_starts = 0

    async def __aenter__(self) -> Self:
        """Find the engine, hold it against what is needed, and remove what dead owners left."""
        self._engine = find_engine(self._wanted, self._runtime, self._environment)
        self._able = await self._engine.require()
        await asyncio.to_thread(sweep_folders, FOLDERS)
        await self._engine.sweep(frozenset({owner_of(os.getpid())}))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Kill every container."""
        reserve, self._reserve, self._has_reserve = self._reserve, None, False
        if reserve is not None:
            reserve.cancel()
            await asyncio.gather(reserve, return_exceptions=True)
        await asyncio.gather(*(one.end() for one in self._containers))

    async def probe(self) -> Capabilities:
        """What this host can enforce with it: what the engine does not hold is watched, or the engine is refused."""
        found = await asyncio.to_thread(glance, "oci")
        able = await self._abilities()
        held = able.limits
        is_counted = "memory" in held
        return replace(
            found,
            bwrap=None,
            missing=(),
            level="standard" if self._runtime == GVISOR else "strict",
            alarm=(able.alarm or can_start(self._runtime)) and found.alarm,
            cgroup=(found.cgroup if found.cgroup != "none" else "v2") if is_counted else "none",
            cgroup_parents=tuple((name, "") for name in sorted(held)) if is_counted else (),
        )

    async def plan(self, spec: SandboxSpec) -> Plan:
        """The walls for one spec; a plugin that brings its image brings its programs."""
        if spec.wants_network and self._runtime == GVISOR:
            raise unavailable(
                f"plugin {spec.name!r} wants the network, which gVisor's own network stack keeps from the gate",
                "take the hosts out of network_policy, or oci_runtime out of its sandbox table",
            )
        if spec.owner is None and os.geteuid() == 0:
            raise unavailable(
                f"plugin {spec.name!r} would be root in its container: no user of its own was given to it",
                'write a range into sandbox.uids, such as "600000-665535"',
            )
        closure = survey(spec)
        self._links = closure.links
        return plan(spec, await self.probe(), closure)

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        """Start the plugin of a plan in a container of its own, one that was made ahead if there is.

        Raises:
            Misconfigured: the engine refused, or a wall could not be built; nothing is left running.
        """
        if channel is not None:
            raise unavailable(f"plugin {plan.name!r} cannot be forked inside a container")
        read = tuple(mount.source for mount in plan.mounts if mount.kind == "read")
        plan = replace(plan, mounts=sealed_below(plan.mounts, mounts_below(read)))
        container = await self._reserved(plan)
        if container is None:
            container = await self._made(plan)
        await self._bounded(container, container.start())
        if self._has_reserve and self._reserve is None:
            self._reserve = asyncio.get_running_loop().create_task(self._made(plan))
        return container.sandbox

    async def wait_reserve(self) -> None:
        """Until the next container is made, or could not be."""
        if self._reserve is not None:
            await asyncio.wait((self._reserve,))

    async def _reserved(self, plan: Plan) -> Container | None:
        """The container that was made ahead, if it is one for this plan; another is removed."""
        reserve, self._reserve = self._reserve, None
        if reserve is None:
            return None
        try:
            container = await reserve
        except SekishoError:  # what stands in the way is told by the start that meets it
            return None
        if container.is_fit(plan):
            self.warm_starts += 1
            return container
        await self._abandon(container)
        return None

    async def _made(self, plan: Plan) -> Container:
        engine = self._known()
        image = self._image or await self._frame()
        container = Container(
            Kind(engine=engine, image=image, runtime=self._runtime, can_start=can_start(self._runtime)),
            plan,
            self._containers.discard,
        )
        self._containers.add(container)
        await self._bounded(container, container.make())
        return container

    async def _frame(self) -> str:
        if self._links not in self._frames:
            self._frames[self._links] = await self._known().frame(self._links)
        return self._frames[self._links]

    async def _bounded(self, container: Container, step: Coroutine[None, None, None]) -> None:
        """One step of its making; when it fails, nothing of it is left."""
        try:
            async with asyncio.timeout(START_S):
                await step
        except TimeoutError:
            await self._abandon(container)
            raise unavailable(
                f"{self._known().name} did not start plugin {container.plan.name!r} within {START_S:.0f} s"
            ) from None
        except BaseException:
            await self._abandon(container)
            raise

    async def _abandon(self, container: Container) -> None:
        await container.end()
        container.sandbox.close_fds()

    async def _abilities(self) -> Able:
        if self._able is None:
            self._able = await self._known().require()
        return self._able

    def _known(self) -> Engine:
        if self._engine is None:
            self._engine = find_engine(self._wanted, self._runtime, self._environment)
        return self._engine
