"""IBM ContextForge, tuned: one certificate to trust, a kept session upstream, no rate limit, no log of requests.

Registers the upstream over its own API, as an operator would; its tools then appear as `web-echo`. It refuses the modern
era. Its secrets are random (in hexadecimal: its tool takes them as words, and a dash in front
would be an option) and die with the run.
"""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from bench.environments import environment
from bench.first import wait_until_good
from bench.peers.proxies import one_certificate
from bench.processes import BenchFailed, free_port, running, wait_port
from bench.stage import Stage, Start
from bench.way import Way

__all__ = ["STARTS"]

ADMIN = "admin@example.com"
TOKEN_S = 60


def _variables(stage: Stage, folder: Path) -> dict[str, str]:
    return {
        **one_certificate(stage),
        "USE_STATEFUL_SESSIONS": "true",
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
        "BASIC_AUTH_PASSWORD": _password(),
        "DEFAULT_USER_PASSWORD": _password(),
        "PLATFORM_ADMIN_EMAIL": ADMIN,
        "PLATFORM_ADMIN_PASSWORD": _password(),
        "DATABASE_URL": f"sqlite:///{folder}/gateway.db",
        "CACHE_TYPE": "memory",
        "MCPGATEWAY_UI_ENABLED": "false",
        "MCPGATEWAY_ADMIN_API_ENABLED": "true",
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        "RATE_LIMITING_ENABLED": "false",
        "TOOL_RATE_LIMIT": "1000000000",
        "LOG_LEVEL": "ERROR",
    }


def _password() -> str:
    return f"Aa1!{secrets.token_hex(16)}"  # it insists on every kind of character


def _token(python: Path, folder: Path, variables: Mapping[str, str]) -> str:
    """One for its administrator, made by its own tool."""
    command: list[str | Path] = [
        python,
        "-m",
        "mcpgateway.utils.create_jwt_token",
        "--username",
        ADMIN,
        "--exp",
        "600",
    ]
    command += ["--secret", variables["JWT_SECRET_KEY"]]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=TOKEN_S,
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise BenchFailed(f"it makes no token: {done.stderr.strip()[-300:]}")
    return done.stdout.split()[-1]


def _register(port: int, token: str, upstream: int) -> str:
    """Tell it of the upstream: nothing when that is done, else what it said."""
    body = {"name": "web", "url": f"http://127.0.0.1:{upstream}/mcp", "transport": "STREAMABLEHTTP"}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/gateways", json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
        return "" if answer.status < 300 or answer.status == 409 else f"HTTP {answer.status} {said}"


def _start(stage: Stage) -> Way:
    python, port = environment("contextforge") / "python", free_port()
    folder = stage.make_folder("contextforge")
    variables, log = _variables(stage, folder), folder / "log.txt"
    command: list[str | Path] = [
        python,
        "-m",
        "uvicorn",
        "mcpgateway.main:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--no-access-log", "--log-level", "error"]
    process = stage.stack.enter_context(running(command, log, environment=variables, folder=folder))
    wait_port(process, port, log)
    token = _token(python, folder, variables)
    wait_until_good(lambda: _register(port, token, stage.upstream()), process)
    return Way(
        port=port,
        path="/mcp/",
        tool="web-{}",
        headers=(f"Authorization: Bearer {token}",),
        eras=frozenset({"legacy"}),
        root=process.pid,
        upstream_port=stage.upstream(),
    )


STARTS: dict[str, Start] = {"contextforge": _start}
