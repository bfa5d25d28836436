"""A whole Sekisho for one benchmark: its configuration, and `sekisho up` on it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import running

__all__ = ["House", "house"]

ROOT = Path(__file__).resolve().parent.parent
ECHO = ROOT / "src" / "sekisho" / "testing" / "echo.py"
SEKISHO = Path(sys.executable).with_name("sekisho")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a client needs of a running gateway."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    ca_file: str


@contextlib.contextmanager
def house(folder: Path, *, upstream: str, tls: bool) -> Iterator[House]:
    """Core, plugin servers and egress proxy with two plugins: one at `upstream`, one behind the wall."""
    folder.mkdir()
    config = folder / "sekisho.toml"
    config.write_text(_config(folder / "state", upstream=upstream, tls=tls))
    command: list[str | Path] = [SEKISHO, "up", "--config", config, "--trust-on-first-use"]
    with running(command, folder / "log.txt") as (process, line):
        ready = json.loads(line)
        token = Path(ready["token_file"]).read_text().strip()
        yield House(process=process, url=ready["url"], token=token, ca_file=ready["ca_file"])


def _config(home: Path, *, upstream: str, tls: bool) -> str:
    """Everything as delivered, but for limits that would be in the way of thousands of calls a minute."""
    return f"""\
home = "{home}"
[core_server]
bind_addr = "127.0.0.1:0"
status_addr = "off"
tls = "{"on" if tls else "off"}"
[security]
rate_limit_per_minute = 1000000
[[plugins.servers]]
name = "web"
upstream = "{upstream}"
allowed_operations = ["echo", "store"]
max_requests_per_minute = 1000000
[[plugins.servers]]
name = "walled"
command = ["{sys.executable}", "{ECHO}"]
allowed_operations = ["echo"]
max_requests_per_minute = 1000000
[plugins.servers.filesystem_policy]
read_only_paths = ["{ECHO}"]
"""
