"""FastMCP's proxy in front of a plugin, as its documentation starts it: `python proxy.py UPSTREAM_URL`.

Runs in an environment of its own, prints its port and runs until its standard input ends. Answers as JSON, as
every other row of the table does.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from fastmcp.server import create_proxy


async def serve(url: str) -> None:
    """Listen until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = create_proxy(url, name="proxy")
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(
            proxy.run_http_async(
                show_banner=False,
                sockets=[listener],
                log_level="error",
                json_response=True,
                uvicorn_config={"timeout_keep_alive": 600},
            )
        )
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
