"""A plugin on the official SDK over stdio, to measure how long one takes to start."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

if __name__ == "__main__":
    server: MCPServer[Any] = MCPServer("bench", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
    def echo(text: str) -> str:
        """Gives back the text it was given."""
        return text

    server.run("stdio")
