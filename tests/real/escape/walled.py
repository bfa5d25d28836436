"""Runs the probes behind the walls of one driver, with its gate: `python -m tests.real.escape.walled DRIVER`.

A process of its own, so that it can be anybody: it reads one JSON request and prints what the probes printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from typing import Any, Final

from tests.real.escape.drivers import DRIVERS

from sekisho.egress import EgressGate, GateSockets
from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.launched import driver as launched
from sekisho.sandbox.oci import driver as oci
from sekisho.sandbox.oci import engine, gate

__all__ = ["LISTED", "NETWORK", "spec_of"]

LISTED: Final = ("wordpress.example.com", "*.listed.example.com")
NETWORK: Final = NetworkGrant(allowed_domains=LISTED, blocked_domains=("*",))
RUN_S: Final = 100.0


def spec_of(request: dict[str, Any]) -> SandboxSpec:
    """The grants every driver gets: one folder to write, one to read, two hosts."""
    claim = DRIVERS[request["driver"]]
    return SandboxSpec(
        name="prisoner",
        argv=tuple(request["argv"]),
        grants=Grants(
            network=NETWORK if claim.has_network else NetworkGrant(),
            files=FileGrant(
                read_only_paths=tuple(request["read_only"]), writable_paths=tuple(request["writable"])
            ),
            limits=LimitGrant(**request.get("limits", {"max_memory_mb": 1024, "max_pids": 128})),
        ),
        environment=request.get("environment", {}),
        isolation=claim.isolation,
        wants_network=claim.has_network,
        owner=claim.owner,
    )


def be_patient(times: float) -> None:
    """Starts take longer too where everything does: their bounds are made for machines in order."""
    for module, name in ((oci, "START_S"), (engine, "COMMAND_S"), (gate, "READY_S"), (launched, "START_S")):
        setattr(module, name, getattr(module, name) * times)


async def run(request: dict[str, Any], given: bytes) -> dict[str, Any]:
    """Start, feed, listen to the end."""
    async with DRIVERS[request["driver"]].make() as driver:
        sandbox = await driver.launch(await driver.plan(spec_of(request)))
        try:
            async with asyncio.timeout(RUN_S * request["patience"]), asyncio.TaskGroup() as group:
                gate = sandbox.gate_sockets
                serving = None
                if gate is not None:
                    doors = [socket.socket(fileno=os.dup(fd)) for fd in gate.fds]
                    for door in doors:
                        door.setblocking(False)
                    served = GateSockets(**dict(zip(("proxy", "tls", "http", "dns"), doors, strict=True)))
                    serving = group.create_task(
                        EgressGate("prisoner", NETWORK, lambda _event: None).serve(served)
                    )
                group.create_task(_feed(sandbox.stdin_fd, given))
                out, err = await asyncio.gather(_read_all(sandbox.stdout_fd), _read_all(sandbox.stderr_fd))
                how = await sandbox.wait()
                if serving is not None:
                    serving.cancel()
        finally:
            await sandbox.kill_tree()
            sandbox.close_fds()
    return {
        "out": out.decode(),
        "err": err.decode(errors="replace")[-4000:],
        "code": how.code,
        "why": how.reason,
    }


async def _feed(fd: int, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(os.dup(fd), "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


async def _read_all(fd: int) -> bytes:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(fd), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def main() -> None:
    """One request, one answer."""
    request = json.loads(sys.stdin.buffer.readline())
    given = sys.stdin.buffer.read()
    be_patient(request["patience"])
    sys.stdout.write(json.dumps(asyncio.run(run(request, given))) + "\n")


if __name__ == "__main__":
    main()
