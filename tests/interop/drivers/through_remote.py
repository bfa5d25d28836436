"""A client that only knows standard input and output, with mcp-remote between it and the gateway."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from tests.interop.drivers.official import answer, steps_of
from tests.interop.drivers.steps import headers, url

PROGRAM = Path("node_modules", "mcp-remote", "dist", "proxy.js")


async def main() -> None:
    """The official client's steps, over a pipe."""
    letters = [word for name, value in headers().items() for word in ("--header", f"{name}: {value}")]
    remote = StdioServerParameters(
        command=os.environ["SEKISHO_NODE"],
        args=[str(Path(os.environ["SEKISHO_CLIENTS"]) / PROGRAM), url(), "--silent", *letters],
        env=dict(os.environ),
    )
    async with Client(remote, mode="legacy", elicitation_callback=answer) as client:
        await steps_of(client)


if __name__ == "__main__":
    asyncio.run(main())
