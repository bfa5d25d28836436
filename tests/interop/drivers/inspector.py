"""The inspector's command line: one command, one connection, one result each."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.interop.drivers.steps import ECHO, ECHO_ARGUMENTS, headers, report, url, words

PROGRAM = Path(
    "node_modules", "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js"
)


async def main() -> None:
    """List and call."""

    async def tools() -> list[str]:
        return [tool["name"] for tool in (await inspect("--method", "tools/list"))["tools"]]

    async def call() -> str:
        asked = [
            "--method",
            "tools/call",
            "--tool-name",
            ECHO,
            "--tool-args-json",
            json.dumps(ECHO_ARGUMENTS),
        ]
        return str((await inspect(*asked))["content"][0]["text"])

    await report({"tools": tools, "call": call})


async def inspect(*asked: str) -> dict[str, Any]:
    """One run of the command; what it shows as the result."""
    program = Path(os.environ["SEKISHO_CLIENTS"]) / PROGRAM
    line = [
        "--cli",
        url(),
        "--transport",
        "http",
        "--protocol-era",
        words()[0],
        "--format",
        "json",
        "--quiet",
    ]
    letters = [f"{name}: {value}" for name, value in headers().items()]
    process = await asyncio.create_subprocess_exec(
        os.environ["SEKISHO_NODE"],
        str(program),
        *line,
        *asked,
        "--header",
        *letters,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    if process.returncode != 0:
        raise ChildProcessError(f"exit {process.returncode}: {complained.decode()}{said.decode()}")
    return dict(json.loads(said)["result"])


if __name__ == "__main__":
    asyncio.run(main())
