"""An MCP server of the official SDK over HTTP, in a process of its own: `python sdk_site.py KIND [CERT KEY]`.

KIND is `streamable`, with sessions, event ids and streams that can be resumed, or `sse`, the transport of 2024-11-05.
The first line it prints is its port.
"""

from __future__ import annotations

import socket
import sys
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage
from pydantic import BaseModel, Field

server = MCPServer("sdk-site")


class Answer(BaseModel):
    word: str


class Memory(EventStore):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        at = int(last_event_id)
        stream = self.events[at - 1][0]
        for number, (owner, message) in enumerate(self.events[at:], at + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


@server.tool()
async def echo(text: str) -> str:
    return text


@server.tool()
async def placed(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], context: Context
) -> str:
    """What the header says."""
    return (context.headers or {}).get("mcp-param-region", "no header") + " for " + region


@server.tool()
async def told(context: Context) -> str:
    """Which credentials and headers of ours came."""
    return "\n".join(f"{name}: {value}" for name, value in sorted((context.headers or {}).items()))


@server.tool()
async def counting(context: Context) -> str:
    for number in range(3):
        await context.report_progress(number, 3)
    return "counted"


@server.tool()
async def asking(context: Context) -> str:
    found = await context.elicit("which word?", Answer)
    return found.data.word if found.action == "accept" else found.action


@server.tool()
async def broken_off(context: Context) -> str:
    """Close the stream in the midst of the call."""
    await context.close_sse_stream()
    return "resumed"


def main(kind: str, *tls: str) -> None:
    """Serve until killed."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = (
        server.sse_app()
        if kind == "sse"
        else server.streamable_http_app(event_store=Memory(), retry_interval=100)
    )
    certificate, key = tls or (None, None)
    config = uvicorn.Config(app, log_level="warning", ssl_certfile=certificate, ssl_keyfile=key)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
