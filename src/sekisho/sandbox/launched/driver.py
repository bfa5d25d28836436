"""The drivers whose walls our launcher raises: draw a plan, have it carried out, hold the life of what runs inside.

Guarantees
- `launch` returns only when every wall stands; else it raises, says what is missing, and nothing keeps
  running;
- `wait` tells how the plugin ended, and tells a kill for memory from any other;
- `kill_tree` returns when no process of the plugin is left, daemons and all;
- leaving the driver's context kills every sandbox it made.

Stands on `plan` (what the walls are), `request` (the words for the launcher) and `launcher` (who raises them). Decides no
rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from typing import Final, Self

from sekisho.errors import SekishoError
from sekisho.launcher.kernel import receive
from sekisho.launcher.serving import ENTRY
from sekisho.sandbox.drafts.claim import claim
from sekisho.sandbox.host.closure import survey
from sekisho.sandbox.host.probe import glance, probe
from sekisho.sandbox.launched.request import launch_message, request_of
from sekisho.sandbox.plans.plan import SHARING, Plan, plan
from sekisho.sandbox.plans.spec import Capabilities, DriverName, SandboxSpec, unavailable
from sekisho.sandbox.running.forked import ForkedLauncher
from sekisho.sandbox.running.limits import make_group, sweep
from sekisho.sandbox.running.sandbox import END_S, Pipes, Sandbox, close_fds
from sekisho.sandbox.running.scratch import SCRATCH_FOLDERS, make_scratch, sweep_folders

__all__ = ["Launched"]

START_S: Final = 15.0  # all walls stand within milliseconds; a host that needs longer is broken
MAX_COMPLAINT_BYTES: Final = 2000
SWEEP_S: Final = 0.02  # the kernel needs milliseconds to be done with the processes of a group
MAX_SWEEP_S: Final = 10.0
# Unique in this process, because the names of control groups are made of it.
_numbers: Final = itertools.count(1)


class Launched:
    """A driver whose walls our launcher raises: entered once per plugin server, in the thread that lives as long as it.

    A subclass says which kind of walls; nothing else differs here.

    The launcher dies with the thread that started it, because that is what the kernel calls a parent. `forked` is one
    that runs already; when it ends, another is started in the ordinary way.
    """

    name: DriverName

    def __init__(
        self, capabilities: Capabilities | None = None, forked: ForkedLauncher | None = None
    ) -> None:
        self._capabilities = capabilities
        self._forked = forked
        self._leftovers: list[Sandbox] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._sandboxes: dict[int, Sandbox] = {}
        self._control: socket.socket | None = None
        self._launcher: asyncio.subprocess.Process | ForkedLauncher | None = None

    @property
    def launcher_pid(self) -> int | None:
        """The launcher's process, while it runs."""
        return None if self._launcher is None else self._launcher.pid

    async def __aenter__(self) -> Self:
        """Start the launcher."""
        capabilities = await self.probe()
        sweep(capabilities.cgroup_parents)
        if self.name in SHARING:
            await asyncio.to_thread(sweep_folders, SCRATCH_FOLDERS)
        await self._start_launcher()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Kill every sandbox, then the launcher."""
        for sandbox in list(self._sandboxes.values()):
            with contextlib.suppress(SekishoError):
                await sandbox.kill_tree()
        self._lose_launcher()
        if self._launcher is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._launcher.wait()
            if self._launcher.returncode is None:
                self._launcher.kill()
                await self._launcher.wait()
        self._sweep_leftovers(again_s=None)

    async def probe(self) -> Capabilities:
        """What this host can enforce. Seen, not tried: no plugin starts before its own walls stand."""
        if self._capabilities is None:
            self._capabilities = glance(self.name)
        return self._capabilities

    async def plan(self, spec: SandboxSpec) -> Plan:
        """The walls for one spec on this host, from what is on its file system now."""
        return plan(spec, await self.probe(), survey(spec))

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        """Start the plugin of a plan; `channel` stays ours, and its copy is the program's fourth descriptor.

        Raises:
            Misconfigured: a wall could not be built; nothing is left running.
        """
        if self._control is None:
            await self._start_launcher()
        self._sweep_leftovers()
        sandbox, pipes, join = await self._begin(plan)
        complaint = self._send(sandbox, plan, pipes, join, channel)
        if complaint is not None:
            sandbox.hear({"event": "failed", "message": complaint}, [])
        pipes.close_theirs()
        try:
            async with asyncio.timeout(START_S):
                complaint = await sandbox.wait_started()
        except TimeoutError:
            complaint = f"{plan.driver} did not finish within {START_S:.0f} s"
        except asyncio.CancelledError:
            await self._abandon(sandbox)
            raise
        if complaint is not None:
            complaint = complaint or _complaint(sandbox.stderr_fd) or f"{plan.driver} gave no reason"
            await self._abandon(sandbox)
            missing = "; ".join((await asyncio.to_thread(probe, plan.driver)).missing)
            raise unavailable(
                f"the walls of plugin {plan.name!r} could not be built: {complaint}"
                + (f" ({missing})" if missing else "")
            )
        return sandbox

    async def _begin(self, plan: Plan) -> tuple[Sandbox, Pipes, tuple[str, ...]]:
        """What holds the life of a plugin before it runs, its pipes, and how its processes join its control group."""
        number = next(_numbers)
        group = None
        if plan.cgroup_parents and plan.cgroup_version != "none":
            group = make_group(plan.cgroup_version, plan.cgroup_parents, plan.name, number, plan.limits)
        # A thread costs a millisecond, and most plugins have no drafts to look after.
        held = await asyncio.to_thread(claim, plan.staging) if plan.staging.drafts else ()
        pipes = Pipes(plan.staging.owner)
        scratch, keeps = (None, None) if plan.has_own_root else make_scratch(plan.name)
        sandbox = self._sandboxes[number] = Sandbox(
            number=number,
            ask_to_kill=self._ask_to_kill,
            pipes=pipes,
            group=group,
            scratch=scratch,
            keeps_scratch=keeps,
            held=held,
        )
        return sandbox, pipes, () if group is None else group.join_files

    def _ask_to_kill(self, number: int) -> None:
        """Tell the launcher to kill one tree; without a launcher everything is dead already."""
        if self._control is not None:
            with contextlib.suppress(ConnectionError):
                self._control.send(json.dumps({"op": "kill", "id": number}).encode())

    def _sweep_leftovers(self, again_s: float | None = SWEEP_S) -> None:
        """Remove what could not be while the kernel was still killing; what remains is tried again, ever more rarely."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._leftovers = [sandbox for sandbox in self._leftovers if not sandbox.forget()]
        if self._leftovers and again_s is not None:
            later = min(2 * again_s, MAX_SWEEP_S)
            self._sweeping = asyncio.get_running_loop().call_later(again_s, self._sweep_leftovers, later)

    async def _abandon(self, sandbox: Sandbox) -> None:
        with contextlib.suppress(SekishoError):
            await sandbox.kill_tree()
        self._sandboxes.pop(sandbox.number, None)
        sandbox.close_fds()

    def _send(
        self, sandbox: Sandbox, plan: Plan, pipes: Pipes, join: tuple[str, ...], channel: int | None
    ) -> str | None:
        """Hand the plan to the launcher; returns a complaint when that is not possible."""
        if self._control is None:
            return "the launcher is gone"
        with open(os.memfd_create("sekisho"), "w+b", buffering=0) as file:  # noqa: PTH123 - it has no path
            file.write(request_of(plan, sandbox.scratch, join))
            message = launch_message(sandbox.number, plan, sandbox.scratch)
            extra = () if channel is None else (channel,)
            try:
                socket.send_fds(self._control, [message], [file.fileno(), *pipes.theirs, *extra])
            except OSError as error:
                return f"the launcher does not listen: {error}"
        return None

    async def _start_launcher(self) -> None:
        forked, self._forked = self._forked, None
        if isinstance(self._launcher, ForkedLauncher):
            self._launcher.dismiss()  # the one before has ended; nobody else collects it
        if forked is None:
            control = await self._exec_launcher()
        else:
            self._launcher, control = forked, forked.take_control()
        control.setblocking(False)
        self._control = control
        with contextlib.suppress(ConnectionError):  # gone already: the first launch says so
            program = (await self.probe()).bwrap or ""
            control.send(json.dumps({"op": "expect", "kind": self.name, "program": program}).encode())
        asyncio.get_running_loop().add_reader(control, self._hear)

    async def _exec_launcher(self) -> socket.socket:
        """Start a launcher as a program; returns our end of its control socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._launcher = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-S", ENTRY, str(theirs.fileno()), str(os.getpid()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={},
                    pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise unavailable(f"the launcher cannot be started: {error}") from error
        return ours

    def _hear(self) -> None:
        """Everything the launcher has to say right now."""
        while self._control is not None:
            try:
                data, fds = receive(self._control)
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self._lose_launcher()
                return
            message = json.loads(data)
            sandbox = self._sandboxes.get(message["id"])
            if sandbox is None:
                close_fds(*fds)
                continue
            sandbox.hear(message, fds)
            if message["event"] in {"failed", "exit"}:
                self._leftovers.append(self._sandboxes.pop(message["id"]))
                self._sweep_leftovers()

    def _lose_launcher(self) -> None:
        """The launcher is gone or dismissed, and its children die with it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        for sandbox in self._sandboxes.values():
            sandbox.orphaned()
            self._leftovers.append(sandbox)
        self._sandboxes.clear()
        self._sweep_leftovers()


def _complaint(stderr_fd: int) -> str:
    """What bwrap wrote before it gave up."""
    with contextlib.suppress(BlockingIOError):
        return os.read(stderr_fd, MAX_COMPLAINT_BYTES).decode(errors="replace").strip()
    return ""
