"""The cells of the matrix: which era the fixture speaks, how it is reached, how the gateway is run, what must pass.

A cell is a fixture as the only plugin of a real `sekisho up`, everything allowed and approved unread.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.conformance.forwarder import Exchange, forwarder
from tests.conformance.houses import cores_apart
from tests.conformance.running import READY_S, running, wait_approved
from tests.conformance.suite import TASKS

from sekisho import testing
from sekisho.testing.conformance_server.content import TOOLS

__all__ = ["CELLS", "Cell", "Standing", "alone", "configuration", "gateway", "standing"]

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
    are_apart: bool = False
    """Two cores that share keys only, and a plugin server of its own; requests go to them in turns."""

    gaps: tuple[str, ...] = ()
    """Unscored scenarios that this cell is known to fail; `says` tells why."""

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
        Cell(
            name="apart",
            says="stdio; two gateways with homes, logs and limits of their own before one plugin server, in turns; "
            "a session that one ended the other still knows",
            are_apart=True,
            gaps=("server-session-lifecycle",),
            wanted=_BOTH,
        ),
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
        Cell(
            name="tasks-apart",
            says="the two gateways of *apart*; the tasks extension allowed",
            are_apart=True,
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
    with running(line, folder / "fixture.log") as url:
        yield url


@contextlib.contextmanager
def standing(cell: Cell, folder: Path) -> Iterator[Standing]:
    """Fixture, gateway and forwarder, until the block ends."""
    allowed = f"extensions = {json.dumps(cell.extensions)}\n" if cell.extensions else ""
    names = [tool["name"] for tool in TOOLS]
    log = folder / LOG
    with contextlib.ExitStack() as stack:
        if cell.transport == "http":
            upstream = stack.enter_context(alone(cell.era, folder))
            lines = f"upstream = {json.dumps(upstream.replace('localhost', '127.0.0.1'))}\n"
        else:
            readable = json.dumps([str(FIXTURE)])
            command = [sys.executable, str(FIXTURE), "--era", cell.era]
            lines = f"command = {json.dumps(command)}\n"
            files = f"read_only_paths = {readable}\n"
        if cell.are_apart:
            program = lines + f"client_requests = {json.dumps(ASKING)}\n[filesystem_policy]\n{files}"
            text = configuration(PLUGIN, names, allowed)
            found = stack.enter_context(cores_apart(text, PLUGIN, program, folder))
            log = folder / "one" / "core.log"
        else:
            if cell.transport != "http":
                lines += f"[plugins.servers.filesystem_policy]\n{files}"
            text = configuration(PLUGIN, names, allowed + lines, tls=cell.tls, workers=cell.workers)
            found = [stack.enter_context(gateway(text, folder))]
        there = [str(ready["url"]).partition("://")[2].partition("/")[0] for ready in found]
        token = Path(found[0]["token_file"]).read_text().strip()
        ca_file = str(found[0]["ca_file"]) if cell.tls else None
        base, exchanges = stack.enter_context(forwarder(there, bearer=token, ca_file=ca_file))
        yield Standing(url=f"{base}/p/{PLUGIN}/mcp", exchanges=exchanges, log=log)


@contextlib.contextmanager
def gateway(text: str, folder: Path, patience_s: float = READY_S) -> Iterator[Mapping[str, str]]:
    """`sekisho up` on this configuration until the block ends; yields what it printed, once its plugin is approved."""
    path, log = folder / "sekisho.toml", folder / LOG
    path.write_text(f"home = {json.dumps(str(folder / 'home'))}\n{text}")
    with running([str(SEKISHO), "up", "--config", str(path), "--trust-on-first-use"], log) as line:
        wait_approved(log, patience_s)
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
