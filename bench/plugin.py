"""The plugin every road leads to: a small MCP server on the official SDK that counts the requests it gets.

`python plugin.py` listens on a free loopback port and prints it. `GET /count` tells how many requests reached
`/mcp` and is not counted itself. Runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Counting:
    """Counts what reaches the app behind it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._count = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] == "http" and scope["path"] == "/count":
            body = str(self._count).encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        self._count += scope["type"] == "http"
        await self._app(scope, receive, send)


def make_server() -> MCPServer[Any]:
    """Two tools that do the same; only the first one promises to change nothing."""
    server: MCPServer[Any] = MCPServer("bench", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
    def echo(text: str) -> str:
        """Gives back the text it was given."""
        return text

    @server.tool(structured_output=False)
    def store(text: str) -> str:
        """Gives back the text it was given, and might have changed something."""
        return text

    return server


async def serve() -> None:
    """Listen until standard input ends."""
    app = Counting(make_server().streamable_http_app(json_response=True))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="error",
            access_log=False,
            lifespan="on",
            timeout_keep_alive=600,
        )
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)  # uvicorn tells its start in no other way
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True


if __name__ == "__main__":
    asyncio.run(serve())
