"""A whole Sekisho for the benchmark: its configuration, and `sekisho up` on it.

Everything as delivered, but for limits that would be in the way of a million calls a minute and a thousand connections
of one client. Plugins are approved
unread (`--trust-on-first-use`): all of them are our own upstream.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import first_line, running

__all__ = ["House", "Plugin", "house", "http_plugin", "open_core", "stdio_plugin"]

ROOT = Path(__file__).resolve().parent.parent
SEKISHO = Path(sys.executable).with_name("sekisho")
TOOLS = ("echo", "store", "big", "steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a client needs of a running gateway."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    ca_file: Path
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One table of the core file."""

    name: str
    lines: str
    tools: tuple[str, ...] = TOOLS

    @property
    def table(self) -> str:
        """Its text."""
        return f"""
[[plugins.servers]]
name = "{self.name}"
allowed_operations = {json.dumps(self.tools)}
max_requests_per_minute = 60000000
{self.lines}
"""


def http_plugin(name: str, port: int, tools: Sequence[str] = TOOLS) -> Plugin:
    """One of our upstreams, reached over HTTP."""
    return Plugin(name=name, lines=f'upstream = "http://127.0.0.1:{port}/mcp"', tools=tuple(tools))


def stdio_plugin(
    name: str, command: Sequence[str | Path], *readable: Path, tools: tuple[str, ...] = TOOLS
) -> Plugin:
    """A program behind the wall."""
    words, paths = json.dumps([str(one) for one in command]), json.dumps([str(one) for one in readable])
    lines = f"command = {words}\n[plugins.servers.sandbox]\nmax_cpu_percent = 400\n"
    files = f"[plugins.servers.filesystem_policy]\nread_only_paths = {paths}"
    return Plugin(name=name, lines=lines + files, tools=tools)


def write_config(
    folder: Path,
    plugins: Sequence[Plugin],
    *,
    tls: bool = False,
    durability: str = "effects",
    workers: int = 1,
) -> Path:
    """The core file of a house in this folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "sekisho.toml"
    path.write_text(
        f"""\
home = "{folder / "state"}"
[core_server]
bind_addr = "127.0.0.1:0"
status_addr = "off"
tls = "{"on" if tls else "off"}"
workers = {workers}
[security]
rate_limit_per_minute = 60000000
[limits]
max_connections = 4096
max_connections_per_client = 4096
max_in_flight_per_client = 4096
max_in_flight_per_plugin = 4096
max_new_sessions_per_minute = 60000000
[audit]
durability = "{durability}"
"""
        + "".join(one.table for one in plugins)
    )
    return path


@contextlib.contextmanager
def house(config: Path) -> Iterator[House]:
    """Core, plugin servers and egress proxy, until the block ends."""
    log = config.parent / "log.txt"
    with running([SEKISHO, "up", "--config", config, "--trust-on-first-use"], log) as process:
        yield read_ready(process, first_line(process, log), log)


def read_ready(process: subprocess.Popen[bytes], line: str, log: Path) -> House:
    """What `sekisho up` says once its door is open; its plugins may need a moment more."""
    ready = json.loads(line)
    return House(
        process=process,
        port=int(ready["url"].rpartition(":")[2].partition("/")[0]),
        token=Path(ready["token_file"]).read_text().strip(),
        ca_file=Path(ready["ca_file"]),
        log=log,
    )


@contextlib.contextmanager
def open_core(beside: House, config: Path) -> Iterator[House]:
    """A core without security beside a running house, at the same plugin servers; it has a log of its own."""
    text = config.read_text().replace("[audit]\n", f'[audit]\nlog_file = "{config.parent / "open.jsonl"}"\n')
    path = config.with_name("open.toml")
    path.write_text(text)
    log = config.parent / "open.txt"
    command: list[str | Path] = [sys.executable, "-m", "bench.open_core", path, config.parent / "state"]
    with running(command, log, folder=ROOT) as process:
        yield replace(read_ready(process, first_line(process, log), log), token=beside.token)
