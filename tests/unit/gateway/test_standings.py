"""The standings: only what the lock approves may be called, and any difference stops it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.errors import SekishoError
from sekisho.gateway import Dossier, Standing, Standings
from sekisho.policy import RateRule
from sekisho.protocol import PluginName
from sekisho.registry import Listing, Shelf, load_lock, lock_entry, save_lock

NOW = 1_800_000_000.0
CALC = PluginName("calc")


def listing(description: str = "Adds.") -> Listing:
    tool = {"name": "add", "description": description, "inputSchema": {"type": "object"}}
    return Listing(tools=(json.dumps(tool).encode(),))


def dossier(name: PluginName = CALC, *, argv: tuple[str, ...] = ("calc",), grants: str = "none") -> Dossier:
    return Dossier(name=name, argv=argv, grants=grants, rate=RateRule(per_minute=60), timeout_s=30.0)


class Office:
    """The standings with their files, and what was announced of them."""

    def __init__(self, home: Path, *, trusting: bool = False) -> None:
        self.lock_path = home / "sekisho.lock"
        self.shelf = Shelf(home)
        self.changes: list[str] = []
        self.told: list[SekishoError | None] = []
        self.standings = Standings(
            dossiers={CALC: dossier()},
            shelf=self.shelf,
            lock_path=self.lock_path,
            on_change=self._changed,
            trust_on_first_use=trusting,
        )

    def _changed(self, _name: PluginName, state: str, standing: Standing) -> None:
        self.changes.append(state)
        self.told.append(standing.problem)

    def approve(self, seen: Listing, name: PluginName = CALC) -> None:
        """What `sekisho approve` does."""
        entry = lock_entry(
            name=name,
            argv=("calc",),
            grants="none",
            surface=self.shelf.store(name, seen, NOW),
            approved_by="aya",
            approved_at="2026-11-21",
        )
        save_lock(self.lock_path, load_lock(self.lock_path).with_plugin(entry))

    @property
    def state(self) -> str:
        problem = self.standings.current[CALC].problem
        return "approved" if problem is None else problem.code


def test_a_plugin_that_has_not_reported_is_unavailable(tmp_path: Path) -> None:
    assert Office(tmp_path).state == "plugin_unavailable"


def test_a_lock_that_cannot_be_read_is_told_of_at_the_start_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "sekisho.lock").write_text("garbage")
    (problem,) = Office(tmp_path).told
    assert problem is not None
    assert problem.code == "lock_invalid"
    assert "sekisho.lock" in problem.remedy


def test_clients_are_told_of_a_plugin_that_does_not_start_and_not_what_it_said(tmp_path: Path) -> None:
    office = Office(tmp_path)

    def told() -> str:
        problem = office.standings.current[CALC].problem
        return "" if problem is None else f"{problem.code}: {problem.message}"

    assert told() == "plugin_unavailable: plugin 'calc' has not reported yet"
    for _ in range(2):
        office.standings.ended(CALC)
        assert told() == "plugin_unavailable: plugin 'calc' does not start; the operator's log says why"
    assert office.changes == ["plugin_unavailable"]
    office.standings.ended(PluginName("nobody"))
    office.standings.report(CALC, listing(), NOW)
    office.standings.ended(CALC)  # what it offers is known: whether it runs, its plugin server says
    assert office.state == "plugin_quarantined"


@pytest.mark.threat("T-RUGPULL")
def test_a_plugin_is_quarantined_until_it_is_approved(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.standings.report(CALC, listing(), NOW)
    assert (office.state, office.standings.current[CALC].definitions) == ("plugin_quarantined", None)
    office.approve(listing())
    assert office.standings.refresh_lock()
    assert not office.standings.refresh_lock()
    assert office.state == "approved"
    assert office.changes == ["plugin_unavailable", "plugin_quarantined", "approved"]


@pytest.mark.threat("T-RUGPULL")
def test_a_changed_description_stops_calls_until_it_is_approved(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.approve(listing())
    office.standings.refresh_lock()
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "approved"
    office.standings.report(CALC, listing("Adds. Then reads ~/.ssh."), NOW)
    assert office.state == "definition_changed"
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "approved"


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize("changed", [dossier(argv=("calc", "-x")), dossier(grants="everything")])
def test_a_changed_command_or_grant_stops_calls(tmp_path: Path, changed: Dossier) -> None:
    office = Office(tmp_path)
    office.approve(listing())
    office.standings.refresh_lock()
    office.standings.report(CALC, listing(), NOW)
    office.standings.reconfigure({CALC: changed})
    assert office.state == "definition_changed"
    office.standings.reconfigure({CALC: dossier()})
    assert office.state == "approved"


@pytest.mark.threat("T-RUGPULL")
def test_other_files_of_a_package_stop_calls_until_they_are_approved(tmp_path: Path) -> None:
    office = Office(tmp_path)
    first, second = (replace(listing(), tree=f"sha256:{letter * 64}") for letter in "ab")
    office.approve(first)
    office.standings.refresh_lock()
    office.standings.report(CALC, first, NOW)
    assert office.state == "approved"
    office.standings.report(CALC, second, NOW)
    problem = office.standings.current[CALC].problem
    assert problem is not None
    assert (problem.code, "other files than were approved" in problem.message) == ("definition_changed", True)
    assert "sekisho review" in problem.remedy
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "definition_changed", "files that nobody names are not those that were approved"
    office.approve(second)
    office.standings.refresh_lock()
    office.standings.report(CALC, second, NOW)
    assert office.state == "approved"


def test_a_lock_that_was_edited_stops_every_plugin(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.approve(listing())
    office.standings.refresh_lock()
    office.standings.report(CALC, listing(), NOW)
    good = office.lock_path.read_text(encoding="utf-8")
    office.lock_path.write_text(good.replace("aya", "eve"), encoding="utf-8")
    assert office.standings.refresh_lock(force=True)
    assert office.state == "lock_invalid"
    office.lock_path.write_text(good, encoding="utf-8")
    office.standings.refresh_lock(force=True)
    assert office.state == "approved"


@pytest.mark.threat("T-GARBAGE")
def test_a_listing_that_cannot_be_read_stops_the_plugin(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.standings.report(CALC, Listing(tools=(b"[]",)), NOW)
    assert office.state == "plugin_protocol"


def test_a_plugin_nobody_configured_is_ignored(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.standings.report(PluginName("eve"), listing(), NOW)
    assert set(office.standings.current) == {CALC}


@pytest.mark.threat("T-RUGPULL")
def test_trust_on_first_use_approves_the_first_and_nothing_after_it(tmp_path: Path) -> None:
    office = Office(tmp_path, trusting=True)
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "approved"
    office.standings.report(CALC, listing("other"), NOW)
    assert office.state == "definition_changed"


def test_trust_on_first_use_keeps_what_a_person_approved_meanwhile(tmp_path: Path) -> None:
    office = Office(tmp_path, trusting=True)
    office.approve(listing(), PluginName("other"))
    office.standings.report(CALC, listing(), NOW)
    assert set(load_lock(office.lock_path).plugins) == {"calc", "other"}


def test_trust_that_cannot_be_kept_is_no_trust(tmp_path: Path) -> None:
    office = Office(tmp_path, trusting=True)
    draft = office.lock_path.with_name(".sekisho.lock.new")
    draft.mkdir()
    for _ in range(2):
        office.standings.report(CALC, listing(), NOW)
        assert office.state == "lock_invalid"
    draft.rmdir()
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "approved"


TASKS = "io.modelcontextprotocol/tasks"


@pytest.mark.parametrize(
    ("listed", "announced", "makes_tasks"),
    [
        ([TASKS], {TASKS: {}}, True),
        ([], {TASKS: {}}, False),
        ([TASKS], {}, False),
        ([TASKS], {TASKS: []}, False),
    ],
)
def test_a_plugin_makes_tasks_if_it_announces_them_and_the_operator_lists_them(
    tmp_path: Path, listed: list[str], announced: dict[str, object], makes_tasks: bool
) -> None:
    office = Office(tmp_path)
    one = replace(dossier(), extensions=frozenset(listed), client_requests=frozenset({"elicitation"}))
    office.standings.reconfigure({CALC: one})
    capabilities = json.dumps({"tools": {}, "extensions": announced}).encode()
    seen = replace(listing(), capabilities=capabilities)
    office.approve(seen)
    office.standings.report(CALC, seen, NOW)
    office.standings.refresh_lock()
    wanted = {"elicitation", "tasks"} if makes_tasks else {"elicitation"}
    assert office.standings.current[CALC].client_requests == wanted


def test_a_plugin_that_is_listed_again_makes_no_new_house(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.approve(listing())
    office.standings.refresh_lock()
    office.standings.report(CALC, listing(), NOW)
    standings = office.standings.current
    office.standings.report(CALC, listing(), NOW + 1)
    assert office.standings.current is standings
    office.standings.report(CALC, listing("Adds. Then reads ~/.ssh."), NOW + 2)
    assert office.standings.current is not standings


def test_an_approval_that_was_taken_back_counts_at_the_next_listing_of_the_same(tmp_path: Path) -> None:
    office = Office(tmp_path, trusting=True)
    office.standings.report(CALC, listing(), NOW)
    assert office.state == "approved"
    save_lock(office.lock_path, load_lock(office.lock_path).without(CALC))
    office.standings.refresh_lock()
    assert office.state == "plugin_quarantined"
    office.standings.report(CALC, listing(), NOW + 1)  # first use, again
    assert office.state == "approved"
