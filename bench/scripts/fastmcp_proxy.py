"""FastMCP's proxy as its documentation starts it: `python fastmcp_proxy.py UPSTREAM_URL PORT`, until ended."""

from __future__ import annotations

import sys

from fastmcp.server import create_proxy

if __name__ == "__main__":
    create_proxy(sys.argv[1], name="proxy").run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[2]),
        path="/mcp",
        log_level="error",
        show_banner=False,
        uvicorn_config={"access_log": False, "timeout_keep_alive": 600},
    )
