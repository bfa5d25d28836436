"""How long a real server takes from its start to its answer to `initialize`, behind the walls and bare.

Each round starts every server both ways, so that other load meets both alike; the ratio is made within a round. The
walls have the gate's sockets, as for a plugin with a network.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.tools import SCRIPTS
from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import Bubblewrap, Plan, SandboxSpec

__all__ = ["measure_handshakes"]

ANSWER_S: Final = 60.0
PLUGIN: Final = SCRIPTS / "sdk_plugin.py"
NODE_SERVER: Final = (
    Path(__file__).resolve().parents[1]
    / ".cache/demo/filesystem/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
)
ASK: Final = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "0"},
        },
    }
).encode()


def measure_handshakes(rounds: int) -> dict[str, float]:
    """Milliseconds bare, and how many times as long behind the walls."""
    return asyncio.run(_measure(rounds))


def _servers() -> dict[str, Sequence[str]]:
    node = shutil.which("node", path="/usr/local/bin:/usr/bin:/bin")
    servers: dict[str, Sequence[str]] = {"python": (sys.executable, str(PLUGIN))}
    if node is not None and NODE_SERVER.exists():
        servers["node"] = (node, str(NODE_SERVER), "/tmp")  # noqa: S108 - every world has one
    return servers


async def _measure(rounds: int) -> dict[str, float]:
    found: dict[str, list[tuple[float, float]]] = {}
    async with Bubblewrap() as driver:
        for number in range(rounds + 1):
            for name, words in _servers().items():
                pair = (await _bare(words), await _walled(driver, await driver.plan(_spec(words))))
                if number:  # the first pair fills the cache of the disk
                    found.setdefault(name, []).append(pair)
    told: dict[str, float] = {}
    for name, pairs in found.items():
        told[f"handshake_{name}_bare_ms"] = 1e3 * statistics.median(bare for bare, _ in pairs)
        told[f"handshake_{name}_ratio"] = statistics.median(walled / bare for bare, walled in pairs)
    return told


async def _bare(words: Sequence[str]) -> float:
    pipe = asyncio.subprocess.PIPE
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(ASK + b"\n")
    async with asyncio.timeout(ANSWER_S):
        _check(await process.stdout.readline())
    took = time.perf_counter() - started
    process.kill()
    await process.communicate()
    return took


async def _walled(driver: Bubblewrap, plan: Plan) -> float:
    started = time.perf_counter()
    sandbox = await driver.launch(plan)
    os.write(sandbox.stdin_fd, ASK + b"\n")
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(sandbox.stdout_fd), "rb", buffering=0)
    )
    async with asyncio.timeout(ANSWER_S):
        _check(await reader.readline())
    took = time.perf_counter() - started
    transport.close()
    await sandbox.kill_tree()
    sandbox.close_fds()
    return took


def _check(line: bytes) -> None:
    if "result" not in json.loads(line or b"{}"):
        raise RuntimeError(f"no answer to initialize: {line[:200]!r}")


def _spec(words: Sequence[str]) -> SandboxSpec:
    network = NetworkGrant(allowed_domains=("api.example.com",), blocked_domains=("*",))
    grants = Grants(network=network, files=FileGrant(), limits=LimitGrant())
    return SandboxSpec(name="bench", argv=tuple(words), grants=grants, wants_network=True)
