"""FastMCP's proxy in front of a plugin, as its documentation starts it: `python proxy.py UPSTREAM_URL`.

Runs in an environment of its own, prints its port once it listens and runs until its standard input ends. Answers
as JSON, as every other row of the table does. It opens its port itself: a listening socket handed to it was served
without TCP_NODELAY, which cost its row 50 ms per call that were not its own.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from fastmcp.server import create_proxy

START_S = 30.0


async def serve(url: str) -> None:
    """Listen until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy = create_proxy(url, name="proxy")
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(
            proxy.run_http_async(
                show_banner=False,
                host="127.0.0.1",
                port=port,
                log_level="error",
                json_response=True,
                uvicorn_config={"timeout_keep_alive": 600},
            )
        )
        await wait_listening(port)
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()


async def wait_listening(port: int) -> None:
    """Until the port accepts a connection."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)  # FastMCP tells its start in no other way
            else:
                writer.close()
                return


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
