"""Secrets in a whole house: which process holds what, what stops when one is missing, and what a restart leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.conftest import (
    ECHO,
    ECHO_TOOLS,
    HOSTILE,
    House,
    birth_of,
    command_of,
    common,
    kill,
    plugin,
    until,
)

pytestmark = pytest.mark.real

IN_VARIABLE: Final = "sk-live-4f9a1c7e2b8d4a6f9e0c"
IN_FILE: Final = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
TABLES: Final = (
    '[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\nintercept_tls = true\n'
    "[plugins.servers.secrets]\n"
)
LISTED: Final = TABLES.replace('["api.example.com"]', '["api.example.com", "*.listed.example"]')


@pytest.fixture(scope="module")
def house(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Plugins without secrets, with two, with ill will, and one whose secret is not there."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "token").touch(0o600)
    (folder / "token").write_text(IN_FILE + "\n")
    keeper = (
        'FIRST = { from = "env:KEEPER_SECRET", hosts = ["api.example.com"] }\n'
        'SECOND = { from = "file:token", hosts = ["api.example.com"] }\n'
    )
    broken = 'THIRD = { from = "file:absent", hosts = ["api.example.com"] }\n'
    configuration = (
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("keeper", ECHO, operations=ECHO_TOOLS, more=TABLES + keeper)
        + plugin(
            "talker",
            HOSTILE,
            operations=["phone_home", "echo"],
            more=LISTED + keeper.replace("FIRST", "OTHER"),
        )
        + plugin("broken", ECHO, operations=ECHO_TOOLS, more=TABLES + broken)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEPER_SECRET", IN_VARIABLE)
        running = House(folder, configuration)
    try:
        yield running
    finally:
        running.stop()


def environments(house: House) -> dict[int, bytes]:
    """What each process below `up` was started with."""
    found = {}
    for pid in house.tree():
        try:
            found[pid] = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile
    return found


def placeholders(house: House) -> set[bytes]:
    """What stands for the first secret in the sandboxes of the keeper."""
    return {
        line
        for data in environments(house).values()
        for line in data.split(b"\0")
        if line.startswith(b"FIRST=")
    }


@pytest.mark.threat("T-SECRET")
def test_a_missing_secret_stops_its_plugin_alone_and_says_what_to_do(house: House) -> None:
    until(lambda: house.answers("echo__echo", text="a"), "the plugin without secrets answers")
    until(lambda: house.answers("keeper__echo", text="a"), "the plugin with secrets answers")
    assert not house.answers("broken__echo", text="a")
    until(lambda: "there is no value at" in house.stderr.read_text(), "the reason is told")
    (said,) = [json.loads(line) for line in house.stderr.read_text().splitlines() if "plugin_refused" in line]
    assert said["process"] == "plugin broken"
    assert "absent" in said["reason"]
    assert "chmod 600" in said["remedy"]


@pytest.mark.threat("T-SECRET")
def test_the_values_are_in_no_sandbox_no_command_line_and_no_file(house: House) -> None:
    until(lambda: house.answers("keeper__echo", text="a"), "the plugin answers")
    values = (IN_VARIABLE.encode(), IN_FILE.encode())
    (inside,) = placeholders(house)
    assert inside.startswith(b"FIRST=sekisho-secret-")
    for pid, data in environments(house).items():
        assert not any(value in data for value in values), command_of(pid)
        assert not any(value.decode() in " ".join(command_of(pid)) for value in values)
    for path in [house.stderr, *house.home.rglob("*")]:
        if path.is_file():
            assert not any(value in path.read_bytes() for value in values), path


@pytest.mark.threat("T-SECRET")
def test_a_placeholder_sent_elsewhere_stands_in_the_audit_log(house: House) -> None:
    until(lambda: house.answers("talker__echo", text="a"), "the plugin answers")
    name = "sekisho-secret-" + "abcdefgh" * 4 + ".listed.example"
    house.call("talker__phone_home", host="sekisho-secret-short.unlisted.example", port=443)
    assert not secret_denials(house)
    house.call("talker__phone_home", host=name, port=443)
    until(lambda: bool(secret_denials(house)), "the denial is recorded")
    denial = secret_denials(house)[0]
    assert (denial["plugin"], denial["rule"]) == ("talker", "secrets")
    assert denial["reason"] == "a placeholder stands in a host name"


def secret_denials(house: House) -> list[dict[str, Any]]:
    """What the audit log knows of placeholders that went astray."""
    return [one for one in house.records() if one.get("name") == "plugin_denied" and one["wall"] == "secret"]


@pytest.mark.threat("T-SECRET")
def test_the_process_that_holds_them_leaves_no_core_dump(house: House) -> None:
    until(lambda: house.pid("egress") != 0, "the egress process runs")
    limits = Path(f"/proc/{house.pid('egress')}/limits").read_text()
    (line,) = [one for one in limits.splitlines() if one.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]


def test_a_secret_that_is_put_there_later_lets_its_plugin_start(house: House) -> None:
    assert not house.answers("broken__echo", text="a")
    path = house.folder / "absent"
    path.touch(0o600)
    path.write_text(IN_FILE)
    until(lambda: house.answers("broken__echo", text="a"), "the mended plugin answers")


def test_a_new_egress_process_issues_new_placeholders(house: House) -> None:
    until(lambda: house.answers("keeper__echo", text="a"), "the plugin answers")
    before = placeholders(house)
    egress = house.pid("egress")
    birth = birth_of(egress)
    kill(egress)
    until(lambda: birth_of(egress) != birth, "the old one is gone")
    until(
        lambda: len(placeholders(house) - before) == 1 and not placeholders(house) & before,
        "new ones are there",
    )
    until(lambda: house.answers("keeper__echo", text="a"), "the plugin answers again")
    assert house.answers("echo__echo", text="a")


def test_a_reload_that_moves_a_secret_issues_a_new_lease(house: House) -> None:
    until(lambda: house.answers("keeper__echo", text="a"), "the plugin answers")
    before = placeholders(house)
    text = house.config.read_text()
    house.config.write_text(
        text.replace('{ from = "env:KEEPER_SECRET"', '{ places = ["headers"], from = "env:KEEPER_SECRET"')
    )
    house.hang_up()
    until(
        lambda: len(placeholders(house) - before) == 1 and not placeholders(house) & before,
        "new ones are there",
    )
