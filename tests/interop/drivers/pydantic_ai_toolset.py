"""Pydantic AI's MCP toolset, without an agent or a model: the toolset is what an agent would use."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from pydantic_ai.mcp import MCPToolset
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
    """All steps in one toolset."""
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async def answer(*_: object) -> dict[str, Any]:
        return ANSWER

    toolset = MCPToolset(
        url(),
        headers=headers(),
        verify=os.environ["SEKISHO_CA"],
        elicitation_handler=answer,
        progress_handler=hear,
    )
    async with toolset:

        async def revision() -> str:
            return str(toolset.client.session.protocol_version)

        async def tools() -> list[str]:
            return [tool.name for tool in await toolset.list_tools()]

        async def call() -> str:
            return str(await toolset.direct_call_tool(ECHO, ECHO_ARGUMENTS))

        async def progress() -> list[float]:
            await toolset.direct_call_tool(SLOW, SLOW_ARGUMENTS)
            return heard

        async def elicitation() -> str:
            return str(await toolset.direct_call_tool(ASK, {}))

        await report(
            {
                "revision": revision,
                "tools": tools,
                "call": call,
                "progress": progress,
                "elicitation": elicitation,
            }
        )


if __name__ == "__main__":
    asyncio.run(main())
