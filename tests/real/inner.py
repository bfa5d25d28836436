"""Talks to a server that a sandbox runs: what it prints, and what it answers."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

from sekisho.sandbox import Bubblewrap, SandboxSpec

END_S: Final = 30.0


async def read_all(fd: int) -> bytes:
    """Until the other end closes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(fd), "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


async def talk(wanted: SandboxSpec, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of a server behind the walls."""
    async with asyncio.timeout(END_S), Bubblewrap() as driver:
        sandbox = await driver.launch(await driver.plan(wanted))
        try:
            os.write(sandbox.stdin_fd, b"".join(json.dumps(one).encode() + b"\n" for one in messages))
            loop = asyncio.get_running_loop()
            reader = asyncio.StreamReader(limit=1 << 20)
            transport, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader),
                os.fdopen(os.dup(sandbox.stdout_fd), "rb", buffering=0),
            )
            wanted_ids = [one["id"] for one in messages if "id" in one]
            answers: dict[int, dict[str, Any]] = {}
            while len(answers) < len(wanted_ids):
                line = await reader.readline()
                assert line, os.read(sandbox.stderr_fd, 4000)
                answer = json.loads(line)
                answers[answer["id"]] = answer
            transport.close()
            await sandbox.kill_tree()
        finally:
            sandbox.close_fds()
    return [answers[one] for one in wanted_ids]


def call(number: int, tool: str, **arguments: object) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


OPENING: Final[tuple[dict[str, Any], ...]] = (
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)
