"""One container, from its making to its removal.

Guarantees
- it is made whole before it starts: limits, users, files, and with podman its network and whoever watches it;
- its end is told as soon as its last process is gone, and it is removed after that;
- it does not outlive us: a process that waits for just that removes it when we go.

Knows one engine and one plan. Decides nothing: `driver` says when a container is wanted, `words` what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import select
import shutil
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, TypeVar

from sekisho.errors import SekishoError
from sekisho.sandbox.oci.alarm import ContainerAlarm
from sekisho.sandbox.oci.beside import keep, lead_out, mind, was_exceeded
from sekisho.sandbox.oci.engine import FRAME, Engine, owner_of
from sekisho.sandbox.oci.folder import identities, lay, refuse_links
from sekisho.sandbox.oci.gate import ContainerGate
from sekisho.sandbox.oci.throttled import require_throttle
from sekisho.sandbox.oci.words import (
    ENVIRONMENT_FILE,
    PID_FILE,
    Frame,
    create_words,
)
from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.plans.spec import unavailable
from sekisho.sandbox.running.forked import readable
from sekisho.sandbox.running.group_settings import disk_files
from sekisho.sandbox.running.limits import group_of
from sekisho.sandbox.running.sandbox import Exit, Pipes, Sandbox, close_fds
from sekisho.sandbox.running.scratch import make_folder

__all__ = ["FOLDERS", "Container", "Kind"]

LOOK_S: Final = 0.01
LAST_S: Final = 0.1
CLIENT_S: Final = 2.0  # for the last words of a plugin that has ended
MAX_COMPLAINT_BYTES: Final = 2000
ENGINES_OWN: Final = range(125, 128)  # codes by which a client may also mean itself
KILLED: Final = -signal.SIGKILL
FOLDERS: Final = "sekisho-oci-"

T = TypeVar("T")

_numbers: Final = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all containers of a driver have in common; `can_start`: whether our start program runs in them."""

    engine: Engine
    image: str
    runtime: str
    can_start: bool = False


class Container:
    """`make`, then `start`, then its `sandbox` tells its end; `end` at any time."""

    def __init__(self, kind: Kind, plan: Plan, on_removed: Callable[[Container], None]) -> None:
        number = next(_numbers)
        self.plan = plan
        self._kind, self._engine = kind, kind.engine
        self._on_removed = on_removed
        self._name = f"sekisho-{os.getpid()}-{number}-{plan.name}"
        self._folder, self._held = make_folder(FOLDERS)
        self._pipes = Pipes()
        self.sandbox = Sandbox(number=number, ask_to_kill=self._kill, pipes=self._pipes, group=None)
        self._sources = identities(plan)
        self._pid, self._pidfd = 0, -1
        self._attached: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.subprocess.Process | None = None
        self._minder: asyncio.subprocess.Process | None = None
        self._alarm: ContainerAlarm | None = None
        self._gate: ContainerGate | None = None
        has_gate = kind.can_start and "alarm" in plan.data
        self._start = f"/sekisho-{secrets.token_hex(8)}" if has_gate else ""
        self._lifeline = -1
        self._ending: asyncio.Task[None] | None = None
        self._waiter: asyncio.Task[None] | None = None
        self._killer: asyncio.Task[None] | None = None
        self._is_made = self._is_killed = False

    async def make(self) -> None:
        """Make it, and keep it from outliving us; podman's then stands and waits for its start.

        Raises:
            Misconfigured: the engine refused, or a wall could not be built.
        """
        plan, engine = self.plan, self._engine
        refuse_links(plan)
        lay(self._folder, plan, self._start)
        if self._start:
            await self._make_gate()
        elif "alarm" in plan.data:
            self._alarm = ContainerAlarm(self._folder, plan.refusals, self.sandbox.hear)
        self._keeper, self._lifeline = await keep(engine, self._name)
        self._is_made = True
        frame = self._frame()
        await engine.say(*create_words(plan, frame))
        (self._folder / ENVIRONMENT_FILE).unlink()
        await require_throttle(engine, self._name, plan.name, len(frame.disks))
        if engine.name == "podman":  # docker runs a container as soon as its network is there
            # its monitor leaves a file where it stands when memory runs out
            await engine.say("init", self._name, where=self._folder)
            await self._meet(int((self._folder / PID_FILE).read_text()))

    async def _make_gate(self) -> None:
        has_image = not self._kind.image.startswith(FRAME)
        self._gate = ContainerGate(self._folder, self.plan, self.sandbox.hear, has_image=has_image)
        self._gate.on_lost = lambda: self._kill(0)
        await self._gate.prepare()

    def is_fit(self, plan: Plan) -> bool:
        """Whether it can be started for a plan: what it shows of the host is still what lies there."""
        has_ended = self._pidfd >= 0 and not _is_alive(self._pidfd)
        return self.plan == plan and not has_ended and self._sources == identities(plan)

    async def start(self) -> None:
        """Start the plugin in it; returns when it runs, or has run.

        Raises:
            Misconfigured: it does not start.
        """
        engine = self._engine
        stdin, stdout, stderr = self._pipes.theirs
        before = _program(self._pid)
        self._attached = await asyncio.create_subprocess_exec(
            *engine.command("start", "--attach", "--interactive", self._name),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=engine.environment,
            start_new_session=True,
        )
        self._pipes.close_theirs()
        if self._gate is not None:
            await self._pass_gate(self._gate)
        elif self._pid:
            await self._wait_program(before)
        else:
            await self._meet(await self._first_process())
        self.sandbox.hear({"event": "started", "pid": self._attached.pid, "inner": self._pid}, [])
        self._waiter = asyncio.get_running_loop().create_task(self._wait())

    async def end(self) -> None:
        """Kill and remove it; returns when nothing of it is left."""
        if self._waiter is None:
            await self._remove()
            return
        self._kill(self.sandbox.number)
        await asyncio.shield(self._waiter)

    def _frame(self) -> Frame:
        engine, owner = self._engine, self.plan.staging.owner
        return Frame(
            engine=engine.name,
            name=self._name,
            image=self._kind.image,
            folder=str(self._folder),
            owner=owner_of(os.getpid()),
            user=os.geteuid() if owner is None else owner,
            group=os.getegid() if owner is None else owner,
            is_own=owner is None,
            is_rootless=engine.is_rootless,
            runtime=self._kind.runtime,
            start=self._start,
            disks=tuple(map(str, disk_files())) if self.plan.limits.io_bytes_per_s else (),
        )

    async def _meet(self, pid: int) -> None:
        """Its first process is there: pin it, find who counts it, watch it where nobody does, lead its network out."""
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self._pidfd, self._pid = os.pidfd_open(pid), pid
            self._ending = asyncio.get_running_loop().create_task(self._count_at_end())
            self.sandbox.count_by(group_of(pid))
            self._minder = await mind(pid, self.plan.limits, self.plan.name)
            if self.plan.wants_network:
                self.sandbox.hear({"event": "sockets"}, await lead_out(pid, self.plan.name))

    async def _count_at_end(self) -> None:
        """Its end may come while its start is still waited for, and a runtime may remove its group at once."""
        await readable(self._pidfd)
        self.sandbox.keep_counts()

    async def _pass_gate(self, gate: ContainerGate) -> None:
        """Our start program comes to the door; nothing of the plugin runs before everything else stands."""
        pid = await self._unless_it_ends(gate.arrive())
        if not self._pid:
            await self._meet(pid)
        await self._unless_it_ends(gate.open())

    async def _unless_it_ends(self, step: Coroutine[None, None, T]) -> T:
        """One step at the gate, or what the engine complains of when its client goes before."""
        attached = self._attached
        assert attached is not None  # noqa: S101  # started before
        client, waiting = asyncio.ensure_future(attached.wait()), asyncio.ensure_future(step)
        try:
            await asyncio.wait((client, waiting), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((waiting,), timeout=LAST_S)  # what it said before its end is read
            if waiting.done():
                return waiting.result()
        finally:
            client.cancel()
            waiting.cancel()
            await asyncio.wait((client, waiting))
        raise unavailable(
            f"{self._engine.name} could not start plugin {self.plan.name!r}: {self._complaint()}"
        )

    async def _first_process(self) -> int:
        """The container's first process, once it runs; 0 when it has run to its end."""
        while True:
            if await self._has_run():
                return 0
            pid = await self._engine.say("inspect", "--format", "{{.State.Pid}}", self._name)
            if pid.isdigit() and int(pid) > 0:
                return int(pid)
            await asyncio.sleep(LOOK_S)

    async def _wait_program(self, before: str) -> None:
        """Until the first process is no longer the runtime's own, which waits for the start."""
        is_told = before.endswith(self._kind.runtime or "\0")  # gVisor's stays the same for ever
        while _is_alive(self._pidfd) and not await self._has_run():
            if is_told:
                if await self._state() == "running":
                    return
            elif _program(self._pid) != before:
                return
            await asyncio.sleep(LOOK_S)

    async def _has_run(self) -> bool:
        """Whether it has run to its end. An end of the engine's client before that is a refusal in its own words."""
        if self._attached is None or self._attached.returncode is None:
            return False
        if await self._state() == "exited":
            return True
        raise unavailable(
            f"{self._engine.name} could not start plugin {self.plan.name!r}: {self._complaint()}"
        )

    async def _state(self) -> str:
        return await self._engine.say("inspect", "--format", "{{.State.Status}}", self._name)

    def _complaint(self) -> str:
        with contextlib.suppress(BlockingIOError):
            text = os.read(self.sandbox.stderr_fd, MAX_COMPLAINT_BYTES).decode(errors="replace").strip()
            return text.splitlines()[-1] if text else "it ended at once"
        return "it ended at once"

    def _kill(self, number: int) -> None:
        del number
        if self._waiter is None or self._waiter.done():
            return
        self._is_killed = True
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        except OSError:  # it belongs to the engine's service, or was never met
            self._killer = asyncio.get_running_loop().create_task(self._ask_engine_to_kill())

    async def _ask_engine_to_kill(self) -> None:
        with contextlib.suppress(SekishoError):
            await self._engine.say("kill", "--signal", "KILL", self._name)

    async def _wait(self) -> None:
        """Its end; told at once when it was we who ended it, else when the engine has told how."""
        attached = self._attached
        assert attached is not None  # noqa: S101  # started before
        client = asyncio.ensure_future(attached.wait())
        await self._first_of(client)
        is_counted = self.sandbox.keep_counts()
        await self._silence()
        is_oom = await was_exceeded(self._minder)
        if self._is_killed and self._pidfd >= 0:
            self._tell(KILLED, is_oom=is_oom)
        await asyncio.wait((client,), timeout=CLIENT_S)
        if not client.done():  # now and then it stays
            attached.kill()
        code = await client
        if not is_counted or code < 0 or code in ENGINES_OWN:
            with contextlib.suppress(SekishoError):
                wanted = "{{.State.ExitCode}} {{.State.OOMKilled}}"
                said, _, oom = (await self._engine.say("inspect", "--format", wanted, self._name)).partition(
                    " "
                )
                code, is_oom = int(said), is_oom or oom == "true"
        self._tell(code, is_oom=is_oom)
        await self._remove()

    async def _first_of(self, client: asyncio.Future[int]) -> None:
        """Until the plugin has ended, or the client that is attached to it."""
        ends = (client,) if self._ending is None else (client, self._ending)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def _silence(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()
        gate, self._gate = self._gate, None
        if gate is not None:
            await gate.close()

    def _tell(self, code: int, *, is_oom: bool) -> None:
        self.sandbox.hear({"event": "exit", "code": code, "ran": True, "exceeded": is_oom}, [])

    async def _remove(self) -> None:
        await self._silence()
        if self._is_made:
            with contextlib.suppress(SekishoError):
                await self._engine.say("rm", "--force", self._name)
        for helper in (self._keeper, self._minder, self._attached):
            if helper is not None:
                with contextlib.suppress(ProcessLookupError):
                    helper.kill()  # what it waits for, or is attached to, is gone
                await helper.wait()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait((self._ending,))
        close_fds(self._pidfd, self._lifeline)
        self._pidfd = self._lifeline = -1
        self._pipes.close_theirs()
        self.sandbox.end(Exit(code=None, signal=None, reason="not_run"))  # unless it was told how it ended
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._held)
        self._on_removed(self)


def _is_alive(pidfd: int) -> bool:
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return not waiting.poll(0)


def _program(pid: int) -> str:
    """What a process runs; nothing when it is gone, or nobody's business."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 - no path of a file
    return ""
