"""FastMCP's client, as its guide shows it: an address, headers, and handlers."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from tests.interop.drivers.steps import (
    ANSWER,
    ASK,
    ECHO,
    ECHO_ARGUMENTS,
    SLOW,
    SLOW_ARGUMENTS,
    headers,
    report,
    url,
)


async def main() -> None:
    """All steps in one connection."""
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async def answer(*_: object) -> dict[str, Any]:
        return ANSWER

    transport = StreamableHttpTransport(url(), headers=headers(), verify=os.environ["SEKISHO_CA"])
    async with Client(transport, elicitation_handler=answer, timeout=30) as client:

        async def revision() -> str:
            return str(client.session.protocol_version)

        async def tools() -> list[str]:
            return [tool.name for tool in await client.list_tools()]

        async def call() -> str:
            return text_of(await client.call_tool(ECHO, ECHO_ARGUMENTS))

        async def progress() -> list[float]:
            await client.call_tool(SLOW, SLOW_ARGUMENTS, progress_handler=hear)
            return heard

        async def elicitation() -> str:
            return text_of(await client.call_tool(ASK, {}))

        await report(
            {
                "revision": revision,
                "tools": tools,
                "call": call,
                "progress": progress,
                "elicitation": elicitation,
            }
        )


def text_of(result: Any) -> str:
    """The text of a tool result."""
    return "\n".join(part.text for part in result.content if part.type == "text")


if __name__ == "__main__":
    asyncio.run(main())
