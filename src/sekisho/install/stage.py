"""Runs one command of an installation behind walls, with a door to the registries or with none.

Guarantees
- the command sees the system's programs and one folder that it may write, nothing else of this machine: no other
  plugin's files, no secret, no environment but what `stages` states;
- its network is a gate that lets it reach what the grant names; without a grant it has no network at all;
- it is ended when it takes too long or writes too much, and nothing of it is left when `run` returns.

Decides nothing about packages. What the command says is somebody else's text: it is shortened and made printable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.egress import EgressEvent, EgressGate, GateSockets, Outlet, SystemResolver
from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.install.forwarding import ForwardProxy, ProxiedOutlet
from sekisho.install.stages import Command
from sekisho.install.tree import TreeLimits, tree_bytes
from sekisho.policy import Address, FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import Driver, Sandbox, SandboxSpec

__all__ = ["Reach", "run"]

LOOK_S: Final = 0.5  # how often a growing folder is measured
MAX_OUTPUT_BYTES: Final = 256 << 10
MAX_TOLD_CHARS: Final = 300
UNREACHABLE: Final = "the host cannot be reached"
IN_VAIN: Final = 4  # connections to a registry that could not be made, until no more are waited for
WORK_FACTOR: Final = 4  # what is downloaded, a copy of it unpacked, the tree, and room for its own files
LIMITS: Final = LimitGrant(max_memory_mb=2048, max_cpu_percent=400, max_pids=256, max_open_files=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What may be reached while something is fetched."""

    network: NetworkGrant
    is_allowed_address: Callable[[Address], bool]
    proxy: ForwardProxy | None = None

    def outlet(self, resolver: SystemResolver) -> Outlet:
        """How connections are opened."""
        rule = self.is_allowed_address
        if self.proxy is None:
            return Outlet(self.network, resolve=resolver, is_allowed_address=rule)
        return ProxiedOutlet(self.network, self.proxy, resolve=resolver, is_allowed_address=rule)


async def run(
    driver: Driver,
    command: Command,
    place: Path,
    *,
    reach: Reach | None,
    search_path: str | None,
    limits: TreeLimits,
    timeout_s: float,
) -> None:
    """Run one command to its end.

    Raises:
        Refused: it said no, or was ended for what it used.
        Unavailable: a registry could not be reached.
    """
    network = NetworkGrant() if reach is None else reach.network
    spec = SandboxSpec(
        name="install",
        argv=command.argv,
        grants=Grants(network=network, files=FileGrant(writable_paths=(str(place),)), limits=LIMITS),
        # What is unpacked on the way lies on the disk and is measured there, not in memory.
        environment={"TMPDIR": str(place / "tmp"), **command.environment},
        cwd=str(command.cwd),
        wants_network=not network.is_closed,
        search_path=search_path,
    )
    events: list[EgressEvent] = []
    sandbox = await driver.launch(await driver.plan(spec))
    try:
        os.close(sandbox.stdin_fd)
        async with _gate(sandbox, reach, events.append):
            output = await _until_ended(sandbox, place, limits, timeout_s, events)
    finally:
        with contextlib.suppress(SekishoError):
            await sandbox.kill_tree()
        for fd in (sandbox.stdout_fd, sandbox.stderr_fd):
            os.close(fd)
        if sandbox.gate_sockets is not None:
            sandbox.gate_sockets.close()
    ended = await sandbox.wait()
    if ended.code == 0 or (command.may_fail and ended.code is not None):
        return
    raise _failed(command, output, events, "" if ended.code is not None else f" ({ended.reason})")


async def _until_ended(
    sandbox: Sandbox, place: Path, limits: TreeLimits, timeout_s: float, events: Sequence[EgressEvent]
) -> bytes:
    """Read what it says until it has ended."""
    most = TreeLimits(max_bytes=limits.max_bytes * WORK_FACTOR, max_files=limits.max_files * WORK_FACTOR)
    readers = [_Tail(sandbox.stdout_fd), _Tail(sandbox.stderr_fd)]
    try:
        async with asyncio.timeout(timeout_s):
            while not await _has_ended(sandbox):
                # An installer asks for each of a hundred packages again before it gives up.
                if sum(event.reason == UNREACHABLE for event in events) >= IN_VAIN:
                    break
                if await asyncio.to_thread(tree_bytes, place, most) > most.max_bytes:
                    raise Refused(
                        "package_refused",
                        "the package, or what comes with it, is larger than allowed",
                        remedy="raise install.max_tree_mb or install.max_files if that is meant",
                    )
    except TimeoutError:
        raise Unavailable(
            "package_unavailable",
            f"it was not done within {timeout_s:g} s",
            remedy="try again, or raise install.timeout_seconds",
        ) from None
    finally:
        for reader in readers:
            reader.close()
    return b"\n".join(reader.tail for reader in reversed(readers))


async def _has_ended(sandbox: Sandbox) -> bool:
    """Within the time between two looks."""
    try:
        async with asyncio.timeout(LOOK_S):
            await sandbox.wait()
    except TimeoutError:
        return False
    return True


class _Tail:
    """Drains a pipe and keeps the end of what came."""

    def __init__(self, fd: int) -> None:
        self.tail = b""
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._read)

    def close(self) -> None:
        self._read()
        asyncio.get_running_loop().remove_reader(self._fd)

    def _read(self) -> None:
        try:
            while data := os.read(self._fd, 1 << 16):
                self.tail = (self.tail + data)[-MAX_OUTPUT_BYTES:]
        except BlockingIOError:
            return
        asyncio.get_running_loop().remove_reader(self._fd)


@asynccontextmanager
async def _gate(
    sandbox: Sandbox, reach: Reach | None, on_event: Callable[[EgressEvent], None]
) -> AsyncIterator[None]:
    """Serve the sandbox's way out, in this process: it lives as long as the command."""
    if reach is None or sandbox.gate_sockets is None:
        yield
        return
    resolver = SystemResolver()
    proxy, tls, http, dns = (_taken_over(fd) for fd in sandbox.gate_sockets.fds)
    gate = EgressGate("install", reach.network, on_event, outlet=reach.outlet(resolver))
    # Closed here too: a task that is cancelled before its first step closes nothing.
    with GateSockets(proxy=proxy, tls=tls, http=http, dns=dns) as sockets:
        serving = asyncio.ensure_future(gate.serve(sockets))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            resolver.close()


def _taken_over(fd: int) -> socket.socket:
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(False)
    return sock


def _failed(command: Command, output: bytes, events: list[EgressEvent], how: str) -> SekishoError:
    """The reason, as well as it can be told from outside."""
    refused = [event for event in events if not event.allowed and event.kind != "dns" and event.host]
    for event in refused:
        if event.reason == UNREACHABLE:
            return Unavailable("package_unavailable", f"{event.host} cannot be reached")
        if event.reason == "the name leads to an address that is not public":
            return Refused(
                "package_refused",
                f"{event.host} leads to a private address",
                remedy="set install.allow_private_registry = true if that registry is yours",
            )
    also = f"; {refused[0].host} is not one of the registries" if refused else ""
    program = Path(command.argv[0]).name
    return Refused("package_refused", f"{program} refused it{how}: {_told(output)}{also}")


def _told(output: bytes) -> str:
    """The line that says most, made printable: it is the words of a program that read a stranger's package."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    chosen = [line for line in lines if "error" in line.lower() and "A complete log" not in line] or lines[
        -1:
    ]
    text = " ".join(chosen[:3])
    return (
        "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_TOLD_CHARS]
        or "it gave no reason"
    )
