"""A client that only knows standard input and output, with `sekisho connect` between it and the gateway."""

from __future__ import annotations

import asyncio
import os

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from tests.interop.drivers.official import answer, steps_of
from tests.interop.drivers.steps import url, words


async def main() -> None:
    """The official client's steps, over a pipe."""
    places = ["--token-file", os.environ["SEKISHO_TOKEN_FILE"], "--ca", os.environ["SEKISHO_CA"]]
    ours = StdioServerParameters(
        command=os.environ["SEKISHO_PROGRAM"], args=["connect", "--url", url(), *places], env=dict(os.environ)
    )
    async with Client(ours, mode=words()[0], elicitation_callback=answer) as client:
        await steps_of(client)


if __name__ == "__main__":
    asyncio.run(main())
