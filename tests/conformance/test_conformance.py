"""The official suite against the fixture behind a real gateway, cell by cell, as docs/reference/conformance.md says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.conformance.cells import CELLS, Cell, alone, standing
from tests.conformance.client_half import client_revisions, run_client
from tests.conformance.report import CLIENT, PAGE, counted, read, runs, scored
from tests.conformance.suite import TASKS, UNSCORED, Outcome, required, run_server

from sekisho.testing.conformance_server.content import TOOLS

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

CASES = [pytest.param(cell, revision, id=f"{cell.name}-{revision}") for cell, revision in runs()]


@pytest.fixture(scope="module", autouse=True)
def walls() -> None:
    """Skip when the walls cannot be built here."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed; the walls cannot be built")


@pytest.mark.parametrize(("revision", "scenarios"), CELLS["http"].wanted.items())
def test_the_fixture_alone_passes_everything(revision: str, scenarios: int, tmp_path: Path) -> None:
    with alone("dual", tmp_path) as url:
        found = run_server(url, revision, tmp_path / "out")
    marks = counted(revision, found)
    assert all(marks.values()), marks
    assert len(scored(revision, found)) == scenarios


def test_the_fixture_alone_passes_what_the_suite_asks_of_tasks(tmp_path: Path) -> None:
    with alone("dual", tmp_path) as url:
        found = run_server(url, "2026-07-28", tmp_path / "out", TASKS)
    marks = counted("2026-07-28", found, TASKS)
    assert len(marks) == len(TASKS)
    assert all(marks.values()), marks


@pytest.mark.parametrize(("cell", "revision"), CASES)
def test_the_suite_passes_through_the_gateway(cell: Cell, revision: str, tmp_path: Path) -> None:
    with standing(cell, tmp_path) as there:
        found = run_server(there.url, revision, tmp_path / "out", cell.scenarios)
    marks = counted(revision, found, cell.scenarios)
    said = {name: passed for (when, name, where), passed in read(PAGE.read_text()).items()
            if (when, where) == (revision, cell.name)}  # fmt: skip
    failing = {name: found[name].failures for name, passed in marks.items() if not passed and name in found}
    assert sum(marks[name] for name in scored(revision, found, cell.scenarios)) >= cell.wanted[revision], (
        failing
    )
    assert marks == said, f"the page says otherwise: python -m tests.conformance.report; {failing}"
    if cell.era == "dual":
        assert all(marks[name] for name in UNSCORED if name in marks and name not in cell.gaps), failing


@pytest.mark.parametrize("revision", client_revisions())
def test_the_gateway_is_a_conformant_client(revision: str, tmp_path: Path) -> None:
    found = run_client(revision, tmp_path / "out")
    wanted = required(revision, "client")
    marks = {name: found.get(name, Outcome(scenario=name)).is_passed for name in wanted}
    said = {name: passed for (when, name, where), passed in read(PAGE.read_text()).items()
            if (when, where) == (revision, CLIENT)}  # fmt: skip
    assert marks == said, {name: found[name].failures for name in found if not found[name].is_passed}


def test_the_fixture_offers_no_tool_twice() -> None:
    names = [tool["name"] for tool in TOOLS]
    assert len(names) == len(set(names))
