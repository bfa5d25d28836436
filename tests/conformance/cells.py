"""The cells of the matrix: which era the fixture speaks, how it is reached, how the gateway is run, what must pass.

A cell is a fixture as the only plugin of a real `sekisho up`, everything allowed and approved unread.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.conformance.forwarder import Exchange, forwarder
from tests.conformance.suite import TASKS

from sekisho import testing
from sekisho.testing.conformance_server.content import TOOLS

__all__ = ["CELLS", "Cell", "Standing", "alone", "configuration", "gateway", "standing"]

READY_S: Final = 30.0
STOP_S: Final = 10.0
FIXTURE: Final = Path(testing.__file__).parent / "conformance_server"
PLUGIN: Final = "fixture"
LOG: Final = "up.log"
SEKISHO: Final = Path(sys.executable).with_name("sekisho")
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
ASKING: Final = ("elicitation", "elicitation-url", "roots", "sampling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way of standing between the suite and the fixture; least numbers of scenarios by revision.

    `scenarios` are those that are run, of no set; without any, those that the revision requires.
    """

    name: str
    says: str
    era: str = "dual"
    transport: str = "stdio"
    tls: bool = False
    workers: int = 1
    extensions: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    wanted: Mapping[str, int] = field(
        default_factory=lambda: {"2025-06-18": 27, "2025-11-25": 30, "2026-07-28": 37}
    )


_BOTH: Final = {"2025-11-25": 30, "2026-07-28": 37}
CELLS: Final = {
    cell.name: cell
    for cell in (
        Cell(name="stdio", says="dual-era fixture on stdio, behind walls"),
        Cell(name="http", says="dual-era fixture over Streamable HTTP", transport="http"),
        Cell(name="tls", says="stdio; TLS and bearer in front", tls=True, wanted=_BOTH),
        Cell(
            name="two", says="stdio; two gateway processes, a connection per request", workers=2, wanted=_BOTH
        ),
        Cell(name="two-http", says="HTTP; two gateway processes", transport="http", workers=2, wanted=_BOTH),
        Cell(name="legacy-stdio", says="fixture speaks legacy only", era="legacy", wanted={"2026-07-28": 34}),
        Cell(
            name="legacy-http",
            says="fixture speaks legacy only, over HTTP",
            era="legacy",
            transport="http",
            wanted={"2026-07-28": 34},
        ),
        Cell(name="modern-stdio", says="fixture speaks modern only", era="modern", wanted={"2025-11-25": 29}),
        Cell(
            name="modern-http",
            says="fixture speaks modern only, over HTTP",
            era="modern",
            transport="http",
            wanted={"2025-11-25": 29},
        ),
        Cell(
            name="tasks",
            says="stdio; the tasks extension allowed, two gateway processes",
            workers=2,
            extensions=(TASKS_EXTENSION,),
            scenarios=TASKS,
            wanted={"2026-07-28": 10},
        ),
        Cell(
            name="tasks-http",
            says="modern fixture over HTTP; the tasks extension allowed",
            era="modern",
            transport="http",
            extensions=(TASKS_EXTENSION,),
            scenarios=TASKS,
            wanted={"2026-07-28": 10},
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A cell that stands: where the suite finds it."""

    url: str
    exchanges: list[Exchange]
    log: Path


@contextlib.contextmanager
def alone(era: str, folder: Path) -> Iterator[str]:
    """The fixture over HTTP with no gateway in front; yields its address."""
    line = [sys.executable, str(FIXTURE), "--era", era, "--transport", "http"]
    with _running(line, folder / "fixture.log") as url:
        yield url


@contextlib.contextmanager
def standing(cell: Cell, folder: Path) -> Iterator[Standing]:
    """Fixture, gateway and forwarder, until the block ends."""
    allowed = f"extensions = {json.dumps(cell.extensions)}\n" if cell.extensions else ""
    with contextlib.ExitStack() as stack:
        if cell.transport == "http":
            upstream = stack.enter_context(alone(cell.era, folder))
            lines = f"upstream = {json.dumps(upstream.replace('localhost', '127.0.0.1'))}\n"
        else:
            readable = json.dumps([str(FIXTURE)])
            command = [sys.executable, str(FIXTURE), "--era", cell.era]
            lines = f"command = {json.dumps(command)}\n"
            lines += f"[plugins.servers.filesystem_policy]\nread_only_paths = {readable}\n"
        text = configuration(
            PLUGIN, [tool["name"] for tool in TOOLS], allowed + lines, tls=cell.tls, workers=cell.workers
        )
        ready = stack.enter_context(gateway(text, folder))
        there = str(ready["url"]).partition("://")[2].partition("/")[0]
        token = Path(ready["token_file"]).read_text().strip()
        ca_file = str(ready["ca_file"]) if cell.tls else None
        base, exchanges = stack.enter_context(forwarder(there, bearer=token, ca_file=ca_file))
        yield Standing(url=f"{base}/p/{PLUGIN}/mcp", exchanges=exchanges, log=folder / LOG)


@contextlib.contextmanager
def gateway(text: str, folder: Path, patience_s: float = READY_S) -> Iterator[Mapping[str, str]]:
    """`sekisho up` on this configuration until the block ends; yields what it printed, once its plugin is approved."""
    path, log = folder / "sekisho.toml", folder / LOG
    path.write_text(f"home = {json.dumps(str(folder / 'home'))}\n{text}")
    with _running([str(SEKISHO), "up", "--config", str(path), "--trust-on-first-use"], log) as line:
        _wait_approved(log, patience_s)
        yield json.loads(line)


def configuration(
    name: str, tools: Sequence[str], lines: str, *, tls: bool = False, workers: int = 1, start_s: float = 20
) -> str:
    """The core file for one plugin: everything allowed, no limit that a test run would meet."""
    return (
        f'[core_server]\nbind_addr = "127.0.0.1:0"\nstatus_addr = "off"\ntls = "{"on" if tls else "off"}"\n'
        f"workers = {workers}\n"
        "[security]\nrate_limit_per_minute = 1000000\n"
        f"[plugins]\ndiscovery_timeout_seconds = {start_s}\nhealth_check_interval_seconds = 1\n"
        f'[[plugins.servers]]\nname = "{name}"\nallowed_operations = {json.dumps(tools)}\n'
        f"max_requests_per_minute = 1000000\nclient_requests = {json.dumps(ASKING)}\n{lines}"
    )


@contextlib.contextmanager
def _running(line: Sequence[str], log: Path) -> Iterator[str]:
    """A process until the block ends; yields the first line it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "SEKISHO_HOME"}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], READY_S)
        first = process.stdout.readline() if readable else b""
        assert first, f"{line[0]} said nothing:\n{log.read_text()[-3000:]}"
        yield first.decode().strip()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _wait_approved(log: Path, patience_s: float) -> None:
    """Until the fixture's calls pass."""
    pause, deadline = threading.Event(), time.monotonic() + patience_s
    while not any(
        '"plugin_standing"' in line and '"approved"' in line for line in log.read_text().splitlines()
    ):
        assert time.monotonic() < deadline, f"the fixture is not approved:\n{log.read_text()[-3000:]}"
        pause.wait(0.05)
