"""The container driver: a plan carried out by podman or docker, for hosts where an engine is what is trusted.

Guarantees
- the walls are those of the plan: our filter, our grants, our limits, a user of its own, the gate's sockets in a
  network that has nothing else;
- `launch` returns only when the plugin runs in them; `kill_tree` when nothing of it is left;
- no container outlives us: each is removed when we go, by a process that waits for just that, and what a crash of both
  left behind is swept away at the next start.

Without an image of its own a plugin gets an empty one, into which the host's interpreter is mounted read-only, as with
the other drivers. Stands on `oci_words` (what is said) and `engine` (who is told).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from sekisho.errors import SekishoError
from sekisho.launcher import entering, keeping
from sekisho.launcher.kernel import receive
from sekisho.sandbox.closure import mounts_below, survey
from sekisho.sandbox.engine import NOTHING, Engine, find_engine, owner_of
from sekisho.sandbox.forked import readable
from sekisho.sandbox.oci_filter import profile
from sekisho.sandbox.oci_words import (
    ENVIRONMENT_FILE,
    FILTER_FILE,
    Frame,
    create_words,
    environment_file,
    sealed_below,
)
from sekisho.sandbox.plan import Plan, plan
from sekisho.sandbox.probe import glance
from sekisho.sandbox.running import Exit, Pipes, Sandbox
from sekisho.sandbox.scratch import make_folder, sweep_folders
from sekisho.sandbox.spec import Capabilities, DriverName, Link, SandboxSpec, unavailable

__all__ = ["Oci"]

START_S: Final = 30.0
LOOK_S: Final = 0.02
ENTER_S: Final = 5.0
CLIENT_S: Final = 2.0  # for the last words of a plugin that has ended
MAX_COMPLAINT_BYTES: Final = 2000
GVISOR: Final = "runsc"
FOLDERS: Final = "sekisho-oci-"
FIRST_USER: Final = 600_000  # users that no account of a usual host has
USERS: Final = 65_536

_numbers: Final = itertools.count(1)


class Oci:
    """Containers of one engine; entered once per plugin server."""

    name: DriverName = "oci"

    def __init__(
        self,
        engine: str = "auto",
        image: str = "",
        runtime: str = "",
        environment: Mapping[str, str] = NOTHING,
    ) -> None:
        self._wanted, self._image, self._runtime = engine, image, runtime
        self._environment = environment
        self._engine: Engine | None = None
        self._containers: set[_Container] = set()
        self._links: tuple[Link, ...] = ()

    async def __aenter__(self) -> Self:
        """Find the engine, hold it against what is needed, and remove what dead owners left."""
        self._engine = find_engine(self._wanted, self._runtime, self._environment)
        await self._engine.require()
        await asyncio.to_thread(sweep_folders, FOLDERS)
        await self._engine.sweep(frozenset({owner_of(os.getpid())}))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill every container."""
        await asyncio.gather(*(one.end() for one in self._containers))

    async def probe(self) -> Capabilities:
        """What this host can enforce with it: the engine holds every limit, or refuses to start."""
        engine = self._known()
        found = await asyncio.to_thread(glance, "oci")
        held = ("memory", "pids", "cpu")
        return replace(
            found,
            bwrap=None,
            missing=(),
            level="standard" if self._runtime == GVISOR else "strict",
            alarm=False,
            cgroup="v2" if engine.is_rootless else found.cgroup,
            cgroup_parents=tuple((name, "") for name in held),
        )

    async def plan(self, spec: SandboxSpec) -> Plan:
        """The walls for one spec; a plugin that brings its image brings its programs."""
        if spec.wants_network and self._runtime == GVISOR:
            raise unavailable(
                f"plugin {spec.name!r} wants the network, which gVisor's own network stack keeps from the gate",
                "take the hosts out of network_policy, or oci_runtime out of its sandbox table",
            )
        closure = survey(spec)
        self._links = closure.links
        return plan(spec, await self.probe(), closure)

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        """Start the plugin of a plan in a container of its own.

        Raises:
            Misconfigured: the engine refused, or a wall could not be built; nothing is left running.
        """
        if channel is not None:
            raise unavailable(f"plugin {plan.name!r} cannot be forked inside a container")
        engine = self._known()
        read = tuple(mount.source for mount in plan.mounts if mount.kind == "read")
        plan = replace(plan, mounts=sealed_below(plan.mounts, mounts_below(read)))
        container = _Container(engine, plan, self._containers.discard)
        self._containers.add(container)
        try:
            async with asyncio.timeout(START_S):
                image = self._image or await engine.frame(self._links)
                await container.start(image, self._runtime)
        except TimeoutError:
            await container.end()
            raise unavailable(
                f"{engine.name} did not start plugin {plan.name!r} within {START_S:.0f} s"
            ) from None
        except BaseException:
            await container.end()
            container.sandbox.close_fds()
            raise
        return container.sandbox

    def _known(self) -> Engine:
        if self._engine is None:
            self._engine = find_engine(self._wanted, self._runtime, self._environment)
        return self._engine


class _Container:
    """One container from its making to its removal."""

    def __init__(self, engine: Engine, plan: Plan, on_removed: Callable[[_Container], None]) -> None:
        number = next(_numbers)
        self._engine = engine
        self._plan = plan
        self._on_removed = on_removed
        self._name = f"sekisho-{os.getpid()}-{number}-{plan.name}"
        self._folder, self._held = make_folder(FOLDERS)
        self._pipes = Pipes()
        self.sandbox = Sandbox(number=number, ask_to_kill=self._kill, pipes=self._pipes, group=None)
        self._pidfd = -1
        self._attached: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.subprocess.Process | None = None
        self._lifeline = -1
        self._waiter: asyncio.Task[None] | None = None
        self._killer: asyncio.Task[None] | None = None
        self._is_made = False

    async def start(self, image: str, runtime: str) -> None:
        """Make it, keep it from outliving us, start it, and lead its network to the gate."""
        plan, engine = self._plan, self._engine
        _refuse_links(plan)
        self._write_files()
        frame = Frame(
            engine=engine.name,
            name=self._name,
            image=image,
            folder=str(self._folder),
            owner=owner_of(os.getpid()),
            user=FIRST_USER + hash_of(plan.name) % USERS,
            is_rootless=engine.is_rootless,
            runtime=runtime,
        )
        await self._keep()
        self._is_made = True
        await engine.say(*create_words(plan, frame))
        (self._folder / ENVIRONMENT_FILE).unlink()
        can_wait = engine.name == "podman"  # docker runs a container as soon as its network is there
        if can_wait and plan.wants_network:
            await engine.say("init", self._name)
            await self._lead_out(await self._first_process())
        stdin, stdout, stderr = self._pipes.theirs
        self._attached = await asyncio.create_subprocess_exec(
            *engine.command("start", "--attach", "--interactive", self._name),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=engine.environment,
            cwd=self._folder,  # podman's monitor leaves a file where it stands when memory runs out
            start_new_session=True,
        )
        self._pipes.close_theirs()
        pid = await self._first_process()
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._pidfd = os.pidfd_open(pid) if pid else -1
        if plan.wants_network and not can_wait and pid:
            await self._lead_out(pid)
        self.sandbox.hear({"event": "started", "pid": self._attached.pid, "inner": pid}, [])
        self._waiter = asyncio.get_running_loop().create_task(self._wait())

    async def end(self) -> None:
        """Kill it; returns when nothing of it is left."""
        if self._waiter is None:
            await self._remove()
            return
        self._kill(self.sandbox.number)
        await asyncio.shield(self._waiter)

    def _write_files(self) -> None:
        self._folder.chmod(0o711)  # the container's user opens what is mounted, and finds nothing by looking
        files = {
            path.lstrip("/"): content for path, content in self._plan.data.items() if path.startswith("/")
        }
        files |= {FILTER_FILE: profile(os.uname().machine)}
        for name, content in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
            path.write_bytes(content)
            path.chmod(0o444)
        (self._folder / "empty").mkdir(mode=0o555)
        secret = self._folder / ENVIRONMENT_FILE
        secret.touch(mode=0o600)
        secret.write_bytes(environment_file(self._plan.environment))

    async def _keep(self) -> None:
        reading, self._lifeline = os.pipe()
        try:
            self._keeper = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", keeping.__file__, str(reading),
                *self._engine.command("rm", "--force", self._name),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=self._engine.environment,
                pass_fds=(reading,),
            )  # fmt: skip
        finally:
            os.close(reading)

    async def _first_process(self) -> int:
        """The container's first process, once it runs; 0 when it has run to its end. An end of the engine's client
        before that is a refusal in its own words.
        """
        while True:
            if self._attached is not None and self._attached.returncode is not None:
                if await self._engine.say("inspect", "--format", "{{.State.Status}}", self._name) == "exited":
                    return 0
                raise unavailable(
                    f"{self._engine.name} could not start plugin {self._plan.name!r}: {self._said()}"
                )
            pid = await self._engine.say("inspect", "--format", "{{.State.Pid}}", self._name)
            if pid.isdigit() and int(pid) > 0:
                return int(pid)
            await asyncio.sleep(LOOK_S)

    def _said(self) -> str:
        with contextlib.suppress(BlockingIOError):
            text = os.read(self.sandbox.stderr_fd, MAX_COMPLAINT_BYTES).decode(errors="replace").strip()
            return text.splitlines()[-1] if text else "it ended at once"
        return "it ended at once"

    async def _lead_out(self, pid: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                entered = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-S", entering.__file__, str(pid), str(theirs.fileno()),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    env={},
                    pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            async with asyncio.timeout(ENTER_S):
                _, complaint = await entered.communicate()
            if entered.returncode != 0:
                said = complaint.decode(errors="replace").strip()
                raise unavailable(
                    f"the network of plugin {self._plan.name!r} cannot be led to the gate: {said}"
                )
            data, fds = receive(ours)
            del data
            self.sandbox.hear({"event": "sockets"}, fds)

    def _kill(self, number: int) -> None:
        del number
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        except OSError:  # it belongs to the engine's service
            self._killer = asyncio.get_running_loop().create_task(self._ask_engine_to_kill())

    async def _ask_engine_to_kill(self) -> None:
        with contextlib.suppress(SekishoError):
            await self._engine.say("kill", "--signal", "KILL", self._name)

    async def _wait(self) -> None:
        attached = self._attached
        assert attached is not None  # noqa: S101  # started before
        code, is_oom = await self._client_ended(attached), False
        with contextlib.suppress(SekishoError):
            wanted = "{{.State.ExitCode}} {{.State.OOMKilled}}"
            said, _, oom = (await self._engine.say("inspect", "--format", wanted, self._name)).partition(" ")
            code, is_oom = int(said), oom == "true"
        self.sandbox.hear({"event": "exit", "code": code, "ran": True, "exceeded": is_oom}, [])
        await self._remove()

    async def _client_ended(self, attached: asyncio.subprocess.Process) -> int:
        """The end of the engine's client, which is made to end soon after the plugin: now and then it stays."""
        client = asyncio.ensure_future(attached.wait())
        if self._pidfd >= 0:
            plugin = asyncio.ensure_future(readable(self._pidfd))
            await asyncio.wait((client, plugin), return_when=asyncio.FIRST_COMPLETED)
            plugin.cancel()
            await asyncio.wait((client,), timeout=CLIENT_S)
            if not client.done():
                attached.kill()
        return await client

    async def _remove(self) -> None:
        if self._is_made:
            with contextlib.suppress(SekishoError):
                await self._engine.say("rm", "--force", self._name)
        if self._keeper is not None:
            with contextlib.suppress(ProcessLookupError):
                self._keeper.kill()
            await self._keeper.wait()
        for fd in (self._pidfd, self._lifeline):
            if fd >= 0:
                os.close(fd)
        if self._attached is not None:
            with contextlib.suppress(ProcessLookupError):
                self._attached.kill()  # what it is attached to is gone
            await self._attached.wait()
        self._pipes.close_theirs()
        self.sandbox.end(Exit(code=None, signal=None, reason="not_run"))  # unless it was told how it ended
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._held)
        self._on_removed(self)


def _refuse_links(plan: Plan) -> None:
    """A part of the host that became a link since the walls were drawn would bring in a place that nobody listed."""
    for mount in plan.mounts:
        if mount.kind in ("read", "write") and os.path.realpath(mount.source) != mount.source:
            raise unavailable(f"{mount.source} of plugin {plan.name!r} leads through a symbolic link now")


def hash_of(name: str) -> int:
    """The same number for the same plugin, at every start."""
    return zlib.crc32(name.encode())
