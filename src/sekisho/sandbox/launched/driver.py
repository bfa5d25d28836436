"""The drivers whose walls our launcher raises: draw a plan, have it carried out, hold the life of what runs inside.

Guarantees
- `launch` returns only when every wall stands; else it raises, says what is missing, and nothing keeps
  running;
- `wait` tells how the plugin ended, and tells a kill for memory from any other;
- `kill_tree` returns when no process of the plugin is left, daemons and all;
- leaving the driver's context kills every sandbox it made.

Stands on `plan` (what the walls are) and `launcher` (how they are raised). Decides no rule.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sekisho.errors import SekishoError
from sekisho.launcher.kernel import receive
from sekisho.launcher.root import covers_proc
from sekisho.launcher.serving import ENTRY
from sekisho.sandbox.calls.watched import places_of, places_of_rules
from sekisho.sandbox.drafts.claim import claim
from sekisho.sandbox.host.closure import survey
from sekisho.sandbox.host.probe import glance, probe
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.locks import SCRATCH
from sekisho.sandbox.plans.plan import SHARING, Plan, plan
from sekisho.sandbox.plans.spec import Capabilities, DriverName, SandboxSpec, unavailable
from sekisho.sandbox.plans.staged import overlay_tag
from sekisho.sandbox.running.forked import ForkedLauncher
from sekisho.sandbox.running.limits import Group, make_group, sweep
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        number = next(_numbers)
        group = None
        if plan.cgroup_parents and plan.cgroup_version != "none":
            group = make_group(plan.cgroup_version, plan.cgroup_parents, plan.name, number, plan.limits)
        # A thread costs a millisecond, and most plugins have no drafts to look after.
        held = await asyncio.to_thread(claim, plan.staging) if plan.staging.drafts else ()
        pipes = Pipes(plan.staging.owner)
        scratch, keeps = (None, None) if plan.has_own_root else make_scratch(plan.name)
        sandbox = Sandbox(
            number=number,
            ask_to_kill=self._ask_to_kill,
            pipes=pipes,
            group=group,
            scratch=scratch,
            keeps_scratch=keeps,
            held=held,
        )
        self._sandboxes[number] = sandbox
        complaint = self._send(sandbox, plan, pipes, group, channel)
        if complaint is not None:
            sandbox.hear({"event": "failed", "message": complaint}, [])
        pipes.close_theirs()
        try:
            async with asyncio.timeout(START_S):
                complaint = await sandbox.wait_started()
        except TimeoutError:
            complaint = f"{plan.driver} did not finish within {START_S:.0f} s"
        except asyncio.CancelledError:
            await self._abandon(sandbox, number)
            raise
        if complaint is not None:
            complaint = complaint or _complaint(sandbox.stderr_fd) or f"{plan.driver} gave no reason"
            await self._abandon(sandbox, number)
            missing = "; ".join((await asyncio.to_thread(probe, plan.driver)).missing)
            raise unavailable(
                f"the walls of plugin {plan.name!r} could not be built: {complaint}"
                + (f" ({missing})" if missing else "")
            )
        return sandbox

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

    async def _abandon(self, sandbox: Sandbox, number: int) -> None:
        with contextlib.suppress(SekishoError):
            await sandbox.kill_tree()
        self._sandboxes.pop(number, None)
        sandbox.close_fds()

    def _send(
        self, sandbox: Sandbox, plan: Plan, pipes: Pipes, group: Group | None, channel: int | None
    ) -> str | None:
        """Hand the plan to the launcher; returns a complaint when that is not possible."""
        limits = plan.limits
        request = {
            "kind": plan.driver,
            "mounts": [_words_of(mount) for mount in plan.mounts] if plan.has_own_root else (),
            **_own_walls(plan, sandbox.scratch),
            "program": plan.program,
            "options": plan.options,
            "command": plan.command,
            "data": {name: base64.b64encode(content).decode() for name, content in plan.data.items()},
            "join": () if group is None else group.join_files,
            "rlimits": dict(limits.rlimits),
            "inner_rlimits": dict(limits.inner_rlimits),
            "network": plan.wants_network,
            "staging": _staging(plan),
        }
        if self._control is None:
            return "the launcher is gone"
        with open(os.memfd_create("sekisho"), "w+b", buffering=0) as file:  # noqa: PTH123 - it has no path
            watching = _watching(plan, sandbox.scratch)
            file.write(f"{json.dumps(request)}\n{json.dumps(watching)}".encode())
            life = _life(plan, sandbox.scratch)
            message = json.dumps({"op": "launch", "id": sandbox.number, "life": life}).encode()
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


def _own_walls(plan: Plan, scratch: Path | None) -> dict[str, object]:
    """What bwrap is told by its options, for the walls that are ours; the private folder's name is known now."""
    if plan.program:
        return {}

    def filled(text: str) -> str:
        return _filled(text, scratch)

    return {
        "rules": [(filled(path), right) for path, right in plan.rules],
        "environment": {name: filled(value) for name, value in plan.environment.items()},
        "cwd": filled(plan.cwd),
    }


def _life(plan: Plan, scratch: Path | None) -> dict[str, object]:
    """What the launcher itself has to know of it."""
    limits = plan.limits
    return {
        "kind": plan.driver,
        "alarm": "alarm" in plan.data,
        "inner_rlimits": dict(limits.inner_rlimits),
        "guard_bytes": limits.memory_bytes if limits.memory_by == "guard" else 0,
        "guard_cpu_percent": limits.cpu_percent if limits.cpu_by == "guard" else 0,
        "guard_pids": limits.pids + limits.own_processes if limits.pids_by != "cgroup" else 0,
        "owner": plan.staging.owner,
        "scratch": "" if scratch is None else str(scratch),
        "scratch_bytes": plan.scratch_bytes if scratch is not None else 0,
    }


def _watching(plan: Plan, scratch: Path | None) -> dict[str, object]:
    """What its watcher has to know."""
    return {
        "kind": plan.driver,
        "refusals": {str(call): error for call, error in plan.refusals.items()},
        "watched": {number: (one.paths, one.flags, one.mode) for number, one in plan.watched.items()},
        "places": _places(plan, scratch),
        "covers": [(one.path, one.source) for one in plan.mounts if covers_proc(_words_of(one))],
    }


def _words_of(mount: Mount) -> dict[str, object]:
    return {
        "kind": mount.kind,
        "path": mount.path,
        "source": mount.source,
        "size": mount.size,
        "mode": mount.mode,
    }


def _places(plan: Plan, scratch: Path | None) -> tuple[tuple[str, str], ...]:
    """What lies where, for who watches which paths the plugin tries."""
    if plan.has_own_root:
        return places_of(plan.mounts)
    return places_of_rules(((_filled(path, scratch), right) for path, right in plan.rules), plan.mounts)


def _filled(text: str, scratch: Path | None) -> str:
    return text if scratch is None else text.replace(SCRATCH, str(scratch), 1)


def _staging(plan: Plan) -> dict[str, object]:
    """What is to be prepared before the walls are raised."""
    bound = [mount for mount in plan.mounts if mount.kind in {"read", "write"} and not is_kernel_own(mount)]
    return {
        "owner": plan.staging.owner,
        "mapped": plan.staging.mapped,
        "sources": [mount.source for mount in bound] if plan.has_own_root else [],
        "writable": [mount.source for mount in bound if mount.kind == "write"],
        "overlays": [
            {
                "path": one.path,
                "upper": one.upper,
                "work": one.work,
                "size": one.size,
                "tag": overlay_tag(one.upper or plan.name),
            }
            for one in plan.staging.overlays
        ],
    }


def is_kernel_own(mount: Mount) -> bool:
    """A part of /proc is the sandbox's own, and cannot be prepared before there is one."""
    return mount.source.startswith("/proc/")


def _complaint(stderr_fd: int) -> str:
    """What bwrap wrote before it gave up."""
    with contextlib.suppress(BlockingIOError):
        return os.read(stderr_fd, MAX_COMPLAINT_BYTES).decode(errors="replace").strip()
    return ""
