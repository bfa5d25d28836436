"""The first good call to a gateway that is starting: asked again until it succeeds."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Callable

from bench.processes import BenchFailed
from bench.way import Way

__all__ = ["is_served", "wait_first_call", "wait_until_good"]

LIMIT_S = 40.0
PAUSE_S = 0.002
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def wait_first_call(way: Way, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as the tool has answered; raises when it does not in time."""
    wait_until_good(lambda: _call(way), process)


def is_served(way: Way) -> bool:
    """Whether one call, made now, is answered well."""
    return not _call(way)


def wait_until_good(ask: Callable[[], str], process: subprocess.Popen[bytes]) -> None:
    """Ask until the answer is empty, which means good; raises with the last one when the time is up."""
    deadline, said = time.monotonic() + LIMIT_S, "nothing"
    while time.monotonic() < deadline:
        try:
            said = ask()
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
        if not said:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise BenchFailed(f"it ended with status {process.wait(PAUSE_S)}; last: {said[:300]}")
    raise BenchFailed(f"no good answer in {LIMIT_S:.0f} s: {said[:300]}")


def _call(way: Way) -> str:
    """Nothing when the answer is the right one, else the answer."""
    text = "a first call"
    tool = way.tool.format("echo")
    params = {"name": tool, "arguments": {"text": text}, "_meta": META}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        **dict(line.split(": ", 1) for line in way.headers),
    }
    with contextlib.closing(_connect(way)) as connection:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        connection.request("POST", way.path, body, headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
        is_good = answer.status == 200 and f'"{text}"' in said and '"isError":true' not in said
        return "" if is_good else f"HTTP {answer.status} {said}"


def _connect(way: Way) -> http.client.HTTPConnection:
    if way.ca_file is None:
        return http.client.HTTPConnection("127.0.0.1", way.port, timeout=10)
    context = ssl.create_default_context(cafile=str(way.ca_file))
    return http.client.HTTPSConnection("127.0.0.1", way.port, timeout=10, context=context)
