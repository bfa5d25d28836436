from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.assembly.authentication import Authentication
from sekisho.assembly.household import (
    Household,
    client_requests,
    door_rules,
    dossiers,
    needs_restart,
    unapplied,
)
from sekisho.config import BindAddress, CoreConfig, CoreServer, PluginEntry, Plugins, Security
from sekisho.gateway import Standings
from sekisho.keys import Challenges, Credentials, ScopePolicy, TokenBook
from sekisho.protocol import plugin_name
from sekisho.registry import Shelf

FILES = plugin_name("files")


def _config(*operations: str, **changes: object) -> CoreConfig:
    entry = PluginEntry(
        name="files",
        command=("server", "--root"),
        allowed_operations=operations,
        require_approval=operations[:1],
        max_requests_per_minute=7,
    )
    return CoreConfig(plugins=Plugins(servers=(entry,)), **changes)  # type: ignore[arg-type]


def _standings(config: CoreConfig, tmp_path: Path) -> Standings:
    return Standings(
        dossiers=dossiers(config),
        shelf=Shelf(tmp_path),
        lock_path=tmp_path / "sekisho.lock",
        on_change=lambda name, state, standing: None,
    )


def _authentication(config: CoreConfig) -> Authentication:
    del config  # without issuers there is nothing to read in it
    credentials = Credentials(TokenBook({}), clock=lambda: 0.0)
    return Authentication(
        credentials=credentials, challenges=Challenges(), scopes=ScopePolicy(), resource=None
    )


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled by the first house, read by the others."""
    return tmp_path_factory.mktemp("rules") / "rules"


@pytest.fixture
def household(tmp_path: Path, rules_file: Path) -> Household:
    config = _config("read")
    return Household(config, _authentication(config), _standings(config, tmp_path), rules_file=rules_file)


def test_the_house_is_built_once_while_nothing_changes(household: Household) -> None:
    assert household.house() is household.house()


def test_a_changed_standing_is_seen_at_the_next_call(tmp_path: Path, rules_file: Path) -> None:
    config = _config("read")
    standings = _standings(config, tmp_path)
    household = Household(config, _authentication(config), standings, rules_file=rules_file)
    before = household.house()
    standings.refresh_lock(force=True)
    assert household.house() is not before
    assert household.house().standings is standings.current


@pytest.mark.threat("T-OPERATION")
def test_only_listed_operations_are_permitted(household: Household) -> None:
    access = household.house().access
    assert access.permits("anyone", FILES, "read")
    assert not access.permits("anyone", FILES, "write")
    assert not access.permits("anyone", plugin_name("other"), "read")


@pytest.mark.threat("T-OPERATION")
def test_prompts_and_resources_are_all_approved_ones_unless_listed(household: Household) -> None:
    access = household.house().access
    assert access.permits("aya", FILES, "prompts/get")
    assert access.permits_prompt("aya", FILES, "any")
    assert access.permits_resource("aya", FILES, "any://1")
    config = _config("read")
    listed = replace(config.plugin("files"), allowed_prompts=("greet",), allowed_resources=("file:///pub/*",))
    household.reconfigure(replace(config, plugins=Plugins(servers=(listed,))), _authentication(config))
    access = household.house().access
    assert access.permits_prompt("aya", FILES, "greet")
    assert not access.permits_prompt("aya", FILES, "any")
    assert access.permits_resource("aya", FILES, "file:///pub/a")
    assert not access.permits_resource("aya", FILES, "file:///pub/../a")


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ((), set()),
        (("elicitation",), {"elicitation"}),
        (("elicitation-url", "sampling"), {"elicitation/url", "sampling", "sampling/tools"}),
    ],
)
def test_what_a_plugin_may_ask_is_told_in_the_words_of_the_gate(
    words: tuple[str, ...], asked: set[str]
) -> None:
    assert client_requests(words) == asked


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        ({}, False),
        ({"allowed_prompts": ("p",), "allowed_resources": (), "extensions": ()}, False),
        ({"max_requests_per_minute": 9, "require_approval": ()}, False),
        ({"client_requests": ()}, True),
        ({"instances": "client"}, True),
        ({"max_instances": 9}, True),
        ({"allowed_operations": ("read", "write")}, True),
    ],
)
def test_a_plugin_server_starts_anew_only_for_what_it_judges_itself(
    change: dict[str, Any], restarts: bool
) -> None:
    entry = _config("read").plugin("files")
    assert needs_restart(entry, replace(entry, **change)) is restarts
    assert needs_restart(entry, None)


def test_what_counts_from_the_next_start_only_is_named() -> None:
    before = CoreConfig(core_server=CoreServer(bind_addr=BindAddress("127.0.0.1", 1)))
    assert unapplied(before, before) == ()
    moved = replace(before.core_server, bind_addr=BindAddress("127.0.0.1", 2), workers=4)
    assert unapplied(before, replace(before, core_server=moved)) == (
        "core_server.bind_addr",
        "core_server.workers",
    )
    named = replace(before.core_server, allowed_hosts=("gate.example",))  # this one a reload takes over
    assert unapplied(before, replace(before, core_server=named)) == ()
    elsewhere = replace(before, home=Path("/h"), audit=replace(before.audit, durability="written"))
    assert unapplied(before, elsewhere) == ("audit", "home")


def test_a_new_configuration_takes_over_and_rate_limits_are_kept(household: Household) -> None:
    before = household.house()
    config = _config("write")
    shown = _authentication(config)
    household.reconfigure(config, shown)
    after = household.house()
    assert after.access.permits("bob", FILES, "write")
    assert not after.access.permits("bob", FILES, "read")
    assert after.credentials is shown.credentials
    assert after.limiter is before.limiter


def test_a_dossier_holds_what_an_approval_covers() -> None:
    dossier = dossiers(_config("read"))[FILES]
    assert dossier.argv == ("server", "--root")
    assert dossier.rate.per_minute == 7
    assert dossier.instances == "shared"
    assert dossier.grants != dossiers(_config("read", "write"))[FILES].grants


def test_a_plugin_at_a_url_is_known_by_its_url() -> None:
    entry = PluginEntry(name="files", upstream="https://mcp.example/")
    [dossier] = dossiers(CoreConfig(plugins=Plugins(servers=(entry,)))).values()
    assert dossier.argv == ("https://mcp.example/",)


def test_a_call_waits_no_longer_than_the_shorter_limit() -> None:
    short = _config("read", security=Security(request_timeout_seconds=0.5))
    assert dossiers(short)[FILES].timeout_s == 0.5


@pytest.mark.threat("T-REBIND")
def test_the_door_knows_only_the_names_it_was_given() -> None:
    server = CoreServer(
        bind_addr=BindAddress("192.0.2.7", 443),
        allowed_hosts=("Gate.Example:443",),
        allowed_origins=("https://a.b",),
    )
    rules = door_rules(CoreConfig(core_server=server))
    assert rules.hosts == {"192.0.2.7", "gate.example"}
    assert rules.origins == {"https://a.b"}


def test_a_door_on_loopback_knows_the_names_of_loopback() -> None:
    assert door_rules(CoreConfig()).hosts == {"127.0.0.1", "localhost", "[::1]"}
