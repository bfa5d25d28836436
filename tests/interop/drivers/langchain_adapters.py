"""LangChain's MCP adapters: tools for an agent, each call in a session of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitResult
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
    """All steps, each in the sessions that the adapters make."""
    heard: list[float] = []

    async def hear(progress: float, *_: object) -> None:
        heard.append(progress)

    async def answer(*_: object) -> ElicitResult:
        return ElicitResult(action="accept", content=ANSWER)

    adapters = MultiServerMCPClient(
        {"sekisho": {"transport": "streamable_http", "url": url(), "headers": headers()}},
        callbacks=Callbacks(on_progress=hear, on_elicitation=answer),
    )
    found: dict[str, Any] = {}

    async def revision() -> str:
        async with adapters.session("sekisho", auto_initialize=False) as session:
            return str((await session.initialize()).protocolVersion)

    async def tools() -> list[str]:
        found.update({tool.name: tool for tool in await adapters.get_tools()})
        return list(found)

    async def call() -> str:
        return str(await found[ECHO].ainvoke(ECHO_ARGUMENTS))

    async def progress() -> list[float]:
        await found[SLOW].ainvoke(SLOW_ARGUMENTS)
        return heard

    async def elicitation() -> str:
        return str(await found[ASK].ainvoke({}))

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
