"""A house whose plugins live in containers: users of their own, denials in the log, and calls as anywhere else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.real.conftest import ECHO, HOSTILE, House, common, in_time_once, quoted, until
from tests.real.docker_service import docker_lacks, docker_service
from tests.real.escape.played import impediment
from tests.real.walled_run import PYTHON

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8", "A2.3")]

UIDS = range(650_000, 650_010)
LATEST_S = 1.0


def contained(engine: str, name: str, script: Path, *operations: str) -> str:
    """One plugin in a container."""
    return (
        f'[[plugins.servers]]\nname = "{name}"\ncommand = {quoted([PYTHON, script])}\n'
        f"allowed_operations = {quoted(operations)}\nmax_requests_per_minute = 100000\n"
        '[plugins.servers.sandbox]\ndriver = "oci"\nmax_memory_mb = 96\n'
        f'engine = "{engine}"\n'
        f'uids = "{UIDS[0]}-{UIDS[-1]}"\n'
        f"[plugins.servers.filesystem_policy]\nread_only_paths = [{quoted(script)}]\n"
        '[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\n'
    )


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each engine that this host has; docker with a service of our own."""
    missing = impediment("oci") or (docker_lacks() if request.param == "docker" else "")
    if missing:
        pytest.skip(missing)
    if request.param == "podman":
        yield "podman"
        return
    with docker_service() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        yield "docker"


@pytest.fixture(scope="module")
def house(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One with an honest plugin and a hostile one, whose files their own users may read."""
    folder = tmp_path_factory.mktemp("contained")
    for one in (folder, *folder.parents[:2]):
        one.chmod(0o755)
    scripts = [Path(shutil.copy(script, folder)).resolve() for script in (ECHO, HOSTILE)]
    attacks = ("escape", "eat_memory", "phone_home", "echo", "read_peer_data")
    plugins = contained(engine, "echo", scripts[0], "echo") + contained(
        engine, "hostile", scripts[1], *attacks
    )
    running = House(folder, common(60) + plugins, ready_s=60)
    yield running
    running.stop()


def denial(house: House, wall: str, attack: Callable[[], object], target: str = "") -> dict[str, Any]:
    """The first of this wall, and of this target, after the attack began."""
    until(lambda: house.answers("hostile__echo", text="here"), "the plugin serves")
    seen = len(house.records())

    def told() -> list[dict[str, Any]]:
        new = [
            one for one in house.records()[seen:] if one["kind"] == "event" and one["name"] == "plugin_denied"
        ]
        return [one for one in new if one["wall"] == wall and target in ("", one.get("target"))]

    attack()
    until(lambda: bool(told()), f"a denial of the wall {wall!r} in the log")
    return told()[0]


def test_each_plugin_is_a_user_of_its_own_from_the_table(house: House) -> None:
    until(lambda: house.answers("hostile__echo", text="here"), "the plugin serves")
    users = json.loads((house.home / "uids.json").read_text())
    assert set(users) == {"echo", "hostile"}
    assert len(set(users.values())) == 2
    assert set(users.values()) <= set(UIDS)
    owners = {
        entry.stat().st_uid
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and entry.exists() and entry.stat().st_uid in UIDS
    }
    assert owners == set(users.values())
    assert os.geteuid() not in owners


def test_an_honest_call_is_answered_and_leaves_no_denial(house: House) -> None:
    before = len(house.records())
    assert house.call("echo__echo", text="honest").text == "honest"
    assert not [one for one in house.records()[before:] if one.get("name") == "plugin_denied"]


def test_a_refused_system_call_is_in_the_log(house: House) -> None:
    told = denial(house, "seccomp", lambda: house.call("hostile__escape"))
    assert (told["plugin"], told["rule"]) == ("hostile", "system call filter")


def test_a_path_that_is_not_listed_is_in_the_log_within_a_second(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def took_s() -> float:
        key = tmp_path_factory.mktemp("somebody") / "id_ed25519"
        key.write_text("a key")
        until(lambda: house.answers("hostile__echo", text="here"), "the plugin serves")
        before = datetime.now(UTC)
        told = denial(house, "path", lambda: house.call("hostile__read_peer_data", path=str(key)), str(key))
        assert (told["plugin"], told["rule"]) == ("hostile", "filesystem_policy")
        assert told["reason"] == "read: the path is not listed"
        return (datetime.fromisoformat(told["time"].replace("Z", "+00:00")) - before).total_seconds()

    in_time_once(took_s, LATEST_S)


def test_a_name_that_is_not_listed_is_in_the_log(house: House) -> None:
    told = denial(house, "dns", lambda: house.call("hostile__phone_home", host="evil.example.net", port=443))
    assert (told["target"], told["rule"]) == ("evil.example.net:53", "network_policy")


def test_more_memory_than_was_granted_is_in_the_log_and_the_plugin_comes_back(house: House) -> None:
    told = denial(house, "memory", lambda: house.call("hostile__eat_memory", megabytes=400))
    assert told["rule"] == "max_memory_mb = 96"
    until(lambda: house.answers("hostile__echo", text="back"), "the plugin serves again")
