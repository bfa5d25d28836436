"""The official Python client, in the mode its row names."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestParams, ElicitResult
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
    words,
)


async def main() -> None:
    """All steps in one connection."""
    async with connected() as client:
        await steps_of(client)


async def steps_of(client: Client) -> None:
    """What is asked of any connection made with this client."""
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async def revision() -> str:
        return str(client.protocol_version)

    async def tools() -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    async def call() -> str:
        return text_of(await client.call_tool(ECHO, ECHO_ARGUMENTS))

    async def progress() -> list[float]:
        await client.call_tool(SLOW, SLOW_ARGUMENTS, progress_callback=hear)
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


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client over HTTPS that trusts the gateway's authority."""
    context = ssl.create_default_context(cafile=os.environ["SEKISHO_CA"])
    async with (
        httpx2.AsyncClient(verify=context, headers=headers(), timeout=30) as http,
        Client(
            streamable_http_client(url(), http_client=http), mode=words()[0], elicitation_callback=answer
        ) as client,
    ):
        yield client


async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """What the person says."""
    del context, params
    return ElicitResult(action="accept", content=ANSWER)


def text_of(result: Any) -> str:
    """The text of a tool result."""
    return "\n".join(part.text for part in result.content if part.type == "text")


if __name__ == "__main__":
    asyncio.run(main())
