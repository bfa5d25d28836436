"""A gateway as its operator runs it: `sekisho up`, then `sekisho review` and `sekisho approve` for each plugin.

Only the commands and the ready line are used, nothing of the package is imported. It does not know which servers it runs.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["SEKISHO", "Gateway", "GatewayFailed"]

READY_S: Final = 60.0
STAND_S: Final = 60.0  # ten servers start at once, some of them in several seconds
STOP_S: Final = 60.0  # `up` kills after three seconds; a busy machine is slow to bury
COMMAND_S: Final = 60.0
HEAD: Final = """\
home = {home}

[core_server]
bind_addr = "127.0.0.1:0"
status_addr = "off"

[security]
rate_limit_per_minute = 100000

[plugins]
discovery_timeout_seconds = 50
health_check_interval_seconds = 5

"""
SEKISHO: Final = Path(sys.executable).with_name("sekisho")


class GatewayFailed(Exception):
    """Sekisho did not do what its command promises."""


class Gateway:
    """The running `sekisho up` of one configuration."""

    def __init__(self, folder: Path, plugins: str) -> None:
        self.config = folder / "sekisho.toml"
        self.config.write_text(HEAD.format(home=json.dumps(str(folder / "home"))) + plugins)
        self._said = folder / "up.log"
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(SEKISHO), "up", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
            )
        try:
            ready = self._wait_ready()
        except BaseException:
            self._end()
            raise
        self.base = str(ready["url"]).removesuffix("/mcp")
        self.token_file = Path(ready["token_file"])
        self.token = self.token_file.read_text().strip()
        self.ca = Path(ready["ca_file"])

    def url(self, plugin: str = "") -> str:
        """The endpoint of one plugin, or the one of all."""
        return f"{self.base}/p/{plugin}/mcp" if plugin else f"{self.base}/mcp"

    def command(self, *words: str) -> dict[str, Any]:
        """Run one command of the operator with `--json`; its result."""
        line = [str(SEKISHO), *words, "--config", str(self.config), "--json"]
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=COMMAND_S, env=environment()
        )
        if done.returncode != 0:
            raise GatewayFailed(f"{' '.join(words)}: {done.stderr.strip()}\n{self.said()}")
        return dict(json.loads(done.stdout))

    def approve(self, plugins: Sequence[str]) -> None:
        """Read each plugin's surface, approve exactly that, and wait until all of them serve."""
        for name in plugins:
            self.command("approve", name, "--yes", "--by", "interop", "--root", self.root_of(name))
        until(lambda: self.approved() >= set(plugins), "every approved plugin serves", STAND_S, self.said)

    def root_of(self, plugin: str) -> str:
        """The digest of everything a plugin says, as `review` prints it."""
        return str(self.command("review", plugin)["root"])

    def approved(self) -> set[str]:
        """The plugins whose calls pass now, by the running log."""
        standing: dict[str, str] = {}
        for line in self._said.read_text().splitlines():
            if '"plugin_standing"' in line:
                event = json.loads(line)
                standing[event["plugin"]] = event["state"]
        return {plugin for plugin, state in standing.items() if state == "approved"}

    def said(self) -> str:
        """The end of its running log, and every warning."""
        lines = self._said.read_text().splitlines()
        return "\n".join([one for one in lines[:-10] if '"INFO"' not in one][-20:] + lines[-10:])

    def stop(self) -> None:
        """SIGTERM, and an end in time with status 0."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_S)
        finally:
            self._end()
        assert status == 0, self.said()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _wait_ready(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], READY_S)
        line = output.readline() if readable else b""
        if not line:
            raise GatewayFailed(f"not ready within {READY_S:g} s:\n{self.said()}")
        return dict(json.loads(line))


def until(condition: Callable[[], bool], what: str, limit_s: float, why: Callable[[], str]) -> None:
    """Ask again until it is so; with the reason when it is not within the limit."""
    pause = threading.Event()
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise GatewayFailed(f"not within {limit_s:g} s: {what}\n{why()}")
        pause.wait(0.1)


def environment() -> dict[str, str]:
    """Ours, without what would point the commands at another home."""
    return {name: value for name, value in os.environ.items() if name != "SEKISHO_HOME"}
