"""Proxies in Python: FastMCP's, as installed and tuned, and a naive one on the official SDK.

*Tuned* means one certificate to trust instead of the system's hundred and more: FastMCP builds a TLS context for each
call, even to a plain HTTP upstream, and loading them would be most of what is measured.
"""

from __future__ import annotations

from pathlib import Path

from bench.environments import environment
from bench.first import wait_first_call
from bench.processes import free_port, running, wait_port
from bench.stage import Stage, Start
from bench.tools import SCRIPTS
from bench.way import Way

__all__ = ["STARTS", "one_certificate"]


def one_certificate(stage: Stage) -> dict[str, str]:
    """Variables that make `ssl.create_default_context` cheap."""
    empty = stage.folder / "no-certificates"
    empty.mkdir(exist_ok=True)
    return {"SSL_CERT_FILE": str(stage.credentials.ca_file), "SSL_CERT_DIR": str(empty)}


def _start(stage: Stage, name: str, script: str, *, tuned: bool) -> Way:
    python, port, log = environment("proxies") / "python", free_port(), stage.folder / f"{name}.txt"
    command: list[str | Path] = [
        python,
        SCRIPTS / script,
        f"http://127.0.0.1:{stage.upstream()}/mcp",
        str(port),
    ]
    variables = one_certificate(stage) if tuned else {}
    process = stage.stack.enter_context(running(command, log, environment=variables))
    wait_port(process, port, log)
    way = Way(port=port, root=process.pid, upstream_port=stage.upstream())
    wait_first_call(way, process)
    return way


STARTS: dict[str, Start] = {
    "sdk": lambda stage: _start(stage, "sdk", "sdk_proxy.py", tuned=True),
    "fastmcp": lambda stage: _start(stage, "fastmcp", "fastmcp_proxy.py", tuned=True),
    "fastmcp-stock": lambda stage: _start(stage, "fastmcp-stock", "fastmcp_proxy.py", tuned=False),
}
