"""The proxy anyone would write on the official SDK: `python sdk_proxy.py UPSTREAM_URL PORT`, until ended.

A low-level server in front, one client for the whole life behind it, answers as JSON (so progress is not passed on).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import uvicorn
from mcp.client import Client
from mcp.server.lowlevel import Server


def make_proxy(upstream: str) -> Server[Client]:
    """Everything asked of it is asked of the upstream."""

    @asynccontextmanager
    async def lifespan(_server: Server[Client]) -> AsyncIterator[Client]:
        async with Client(upstream) as client:
            yield client

    async def list_tools(context: Any, _params: Any) -> types.ListToolsResult:
        client: Client = context.lifespan_context
        return await client.list_tools()

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        client: Client = context.lifespan_context
        return await client.call_tool(params.name, params.arguments)

    return Server("proxy", lifespan=lifespan, on_list_tools=list_tools, on_call_tool=call_tool)


if __name__ == "__main__":
    app = make_proxy(sys.argv[1]).streamable_http_app(json_response=True, host="127.0.0.1")
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="error",
        access_log=False,
        timeout_keep_alive=600,
    )
