"""Processes of ours: how `up` starts them, restarts them, and leaves none behind."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sekisho.errors import Misconfigured, SekishoError, Unavailable

if TYPE_CHECKING:  # the core must not carry the plugin server's half
    import msgspec

    from sekisho.sandbox import ForkedLauncher

__all__ = ["JSON", "Child", "Life", "Starter", "command_line", "die_with_parent", "main", "start_program"]

JSON: Final = "--json"

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
STOP_S: Final = 3.0  # between SIGTERM and SIGKILL; `up` has five seconds altogether
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 5.0
SETTLED_S: Final = 30.0


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, however that happens."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise Misconfigured("internal", f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def main(arguments: list[str], environment: MutableMapping[str, str]) -> int:
    """Run one child: `<parent pid> core|plugin|egress <config> <home> [plugin name | --trust-on-first-use] [--json]`.

    What it cannot begin or go on for is one line and a remedy on standard error, with `--json` one line of JSON.

    The process `<parent pid> nursery <descriptor> ...` forks such children; in each of them this call goes on as the
    child.
    """
    parent, role, *rest = arguments
    die_with_parent(int(parent))
    if role != "nursery":
        return _run(role, rest, environment, None)
    from sekisho.assembly.nursery import serve_on  # noqa: PLC0415  # each child imports only its own half

    born = serve_on(int(rest[0]), parent)
    if born is None:
        return 0
    job, letter = born
    role, *rest = job.arguments
    launcher = None
    if role == "plugin":
        from sekisho.sandbox import ForkedLauncher  # noqa: PLC0415

        launcher = ForkedLauncher.start()  # before the environment and the keys are here
    environment.clear()
    said = letter.open()
    environment.update(said.environment)
    return _run(role, rest, environment, launcher, said.orders)


def _run(
    role: str,
    rest: list[str],
    environment: MutableMapping[str, str],
    launcher: ForkedLauncher | None,
    orders: bytes | msgspec.Raw = b"null",
) -> int:
    try:
        _play(role, rest, environment, launcher, orders)
    except SekishoError as error:
        return _say(error, as_json=JSON in rest)
    return 0


def _say(error: SekishoError, *, as_json: bool) -> int:
    """As the command line says it, whose libraries a child does without; returns the exit status."""
    if as_json:
        line = json.dumps({"error": {"code": error.code, "message": error.message, "remedy": error.remedy}})
    else:
        from sekisho.detect.hidden import visible  # noqa: PLC0415 - nobody who ends well needs it

        line = f"sekisho: {visible(error.message)}\n→ {visible(error.remedy)}"
    sys.stderr.write(f"{line}\n")
    return 2 if error.code == "config_invalid" else 1


def _play(
    role: str,
    rest: list[str],
    environment: MutableMapping[str, str],
    launcher: ForkedLauncher | None,
    orders: bytes | msgspec.Raw,
) -> None:
    config_path, home_path = Path(rest[0]), Path(rest[1])
    match role:
        case "core":
            from sekisho.assembly.core import run_core  # noqa: PLC0415

            worker = int(rest[rest.index("--worker") + 1]) if "--worker" in rest else None
            trust = "--trust-on-first-use" in rest
            run_core(config_path, home_path, trust_on_first_use=trust, worker=worker)
        case "plugin":
            from sekisho.assembly.orders import read_orders  # noqa: PLC0415
            from sekisho.assembly.plugin import run_plugin  # noqa: PLC0415

            run_plugin(
                config_path,
                home_path,
                name=rest[2],
                environment=environment,
                launcher=launcher,
                orders=None if bytes(orders) == b"null" else read_orders(orders),
            )
        case "egress":
            from sekisho.assembly.egress import run_egress  # noqa: PLC0415

            run_egress(config_path, home_path, environment)
        case _:
            raise Misconfigured("internal", f"there is no role {role!r}")


def command_line(*arguments: str) -> list[str]:
    """How a process of ours is started, and called in `ps`."""
    return [sys.executable, "-I", "-m", "sekisho.assembly", str(os.getpid()), *arguments]


class Life(Protocol):
    """One run of a child, from its start to its end."""

    @property
    def output(self) -> asyncio.StreamReader:
        """What it writes to standard output."""

    def send_signal(self, number: int) -> None:
        """Pass a signal on, if it still runs."""

    async def wait(self) -> int:
        """Its status, once it has ended; below zero is the number of a signal."""


Starter = Callable[[list[str]], Awaitable[Life]]


class Child:
    """One process that is started again when it ends: a program of its own unless `start` says otherwise."""

    def __init__(
        self, role: str, arguments: list[str], *, log: Callable[..., None], start: Starter | None = None
    ) -> None:
        self.role = role
        self._arguments = arguments
        self._log = log
        self._start = start or start_program
        self._life: Life | None = None
        self.on_line: Callable[[bytes], None] = lambda line: None
        self.is_over: Callable[[int], bool] = lambda status: False
        """Asked when it has ended by itself: True when it is not to be started again."""

    async def run(self) -> None:
        """Keep the process running until cancelled, or until it is over; then stop it."""
        loop = asyncio.get_running_loop()
        backoff_s = BACKOFF_FIRST_S
        while True:
            started = loop.time()
            try:
                status = await self._one_life()
                facts: dict[str, object] = {"status": status}
                if self.is_over(status):
                    return
            except Unavailable as error:
                facts = {"status": None, "reason": error.message}
            finally:
                await self._stop()
            if loop.time() - started > SETTLED_S:
                backoff_s = BACKOFF_FIRST_S
            self._log("process_ended", role=self.role, **facts)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Pass a signal on, if the process runs."""
        if self._life is not None:
            self._life.send_signal(number)

    async def _one_life(self) -> int:
        life = self._life = await self._start(self._arguments)
        while line := await life.output.readline():
            self.on_line(line)
        return await life.wait()

    async def _stop(self) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        life.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await life.wait()
        except TimeoutError:
            life.send_signal(signal.SIGKILL)
            await life.wait()


class _Program:
    """A process of asyncio, as a life."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self._process = process
        self.output = output

    def send_signal(self, number: int) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        return await self._process.wait()


async def start_program(arguments: list[str], environment: Mapping[str, str] | None = None) -> Life:
    """Start a child with an interpreter of its own; without an environment, it has ours."""
    process = await asyncio.create_subprocess_exec(
        *command_line(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None  # noqa: S101  # it was asked for
    return _Program(process, process.stdout)
