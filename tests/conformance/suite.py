"""The official suite as a value: run it against an address, and get each scenario's checks.

It knows no gateway. What it judges is the suite's own `checks.json`, never what it prints.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dev

__all__ = ["TASKS", "UNSCORED", "Check", "Outcome", "command", "required", "run_server"]

RUN_S: Final = 300
SCENARIO_MS: Final = 15_000
FROZEN: Final = ("2025-11-25", "2026-07-28")  # revisions with a frozen set of requirements
UNSCORED: Final = (  # run and reported, but of no set; wanted all the same
    "json-schema-2020-12",
    "http-header-validation",
    "http-custom-header-server-validation",
    "server-session-lifecycle",
    "server-sse-polling",
)
TASKS: Final = (  # of an extension, so of no set either; wanted where the operator allows it
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-status-notifications",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
_FOLDER: Final = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One verdict within a scenario."""

    name: str
    status: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scenario: it passed when it ran and no check failed."""

    scenario: str
    checks: tuple[Check, ...] = ()

    @property
    def is_passed(self) -> bool:
        """A scenario that did not run did not pass."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "FAILURE")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What the suite would have liked."""
        return tuple(check for check in self.checks if check.status == "WARNING")


def node() -> Path:
    """A Node.js that is new enough: the one `dev.py` keeps, else the system's."""
    kept = next((dev.CACHE / "demo" / "node").glob("node_modules/node-linux-*/bin/node"), None)
    found = kept or shutil.which("node")
    assert found is not None, "node is missing: python3 dev.py test installs it"
    return Path(found)


def home() -> Path:
    """Where the suite lies, installed when it is first wanted."""
    dev.install_node()
    return dev.install_conformance_suite() / "node_modules" / "@modelcontextprotocol" / "conformance"


def command(*words: str) -> list[str]:
    """The suite's command line."""
    lies = home()
    return [str(node()), str(lies / "dist" / "index.js"), *words]


def required(revision: str, leg: str = "server") -> tuple[str, ...]:
    """The scenarios a revision requires, by the suite's own frozen list; () when it has none."""
    path = home() / "requirements" / f"{revision}.yaml"
    if not path.exists():
        return ()
    section, names = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        if opened := re.fullmatch(r"(\w+):", line):
            section = opened[1]
        elif section == leg and (one := re.fullmatch(r"  - (\S+)", line)):
            names.append(one[1])
    return tuple(names)


def run_server(url: str, revision: str, out: Path, scenarios: Sequence[str] = ()) -> Mapping[str, Outcome]:
    """Run a revision's scenarios, or only those named, against the server at `url`."""
    if scenarios:
        runs = [["--scenario", name, "--spec-version", revision, "--force"] for name in scenarios]
    elif revision in FROZEN:
        runs = [["--requirements", revision]]
    else:
        runs = [["--suite", "all", "--spec-version", revision]]
    for words in runs:
        line = command("server", "--url", url, *words, "--timeout", str(SCENARIO_MS), "-o", str(out))
        with (out.parent / f"{out.name}.log").open("ab") as log:
            subprocess.run(line, cwd=out.parent, stdout=log, stderr=log, check=False, timeout=RUN_S)
    return outcomes(out)


def outcomes(out: Path) -> dict[str, Outcome]:
    """What the suite left in its folder."""
    found = {}
    for file in sorted(out.rglob("checks.json")):
        name = _FOLDER.fullmatch(file.parent.relative_to(out).as_posix())  # auth/… lies a folder deeper
        if name is not None:
            checks = json.loads(file.read_text(encoding="utf-8"))
            found[name[1]] = Outcome(scenario=name[1], checks=tuple(_check(one) for one in checks))
    return found


def _check(one: Mapping[str, Any]) -> Check:
    return Check(name=str(one.get("id")), status=str(one["status"]), says=str(one.get("errorMessage") or ""))
