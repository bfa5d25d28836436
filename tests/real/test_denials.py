"""What a wall refuses stands in the audit log a moment later, with plugin, wall, rule and reason."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.real.conftest import ECHO, HOSTILE, House, common, in_time_once, plugin, until

pytestmark = [pytest.mark.real, pytest.mark.requirement("A2.3")]

LATEST_S = 1.0
LISTED = "api.example.com"
ATTACKS = ("escape", "phone_home", "front_host", "eat_memory", "echo", "read_peer_data", "write_file")
CONFIGURATION = (
    common()
    + plugin("echo", ECHO, operations=["echo"])
    + plugin(
        "hostile",
        HOSTILE,
        operations=ATTACKS,
        more="[plugins.servers.sandbox]\nmax_memory_mb = 96\n"
        '[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\n',
    )
    + plugin(
        "slow",
        HOSTILE,
        operations=("echo", "hang"),
        more="[plugins.servers.sandbox]\nexecution_timeout_seconds = 0.5\n",
    )
    + plugin(
        "honest",
        HOSTILE,
        operations=("echo", "phone_home"),
        more='[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\n',
    )
)
_numbers = itertools.count()
CALLS = frozenset({"unshare", "mount", "io_uring_setup", "keyctl"})
_names = (f"evil-{number}.example.net" for number in _numbers)


@pytest.fixture(scope="module")
def house(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a plugin that has a way out, little memory and little time."""
    running = House(tmp_path_factory.mktemp("denials"), CONFIGURATION)
    yield running
    running.stop()


def denials(house: House) -> list[dict[str, Any]]:
    return [one for one in house.records() if one["kind"] == "event" and one["name"] == "plugin_denied"]


def denials_of(house: House, name: str) -> list[dict[str, Any]]:
    return [one for one in denials(house) if one["plugin"] == name]


def provoke(
    house: House, wall: str, attack: Callable[[], object], targets: Collection[str] = ()
) -> dict[str, Any]:
    """The first denial of this wall (and of these targets) that is recorded after the attack began."""
    until(lambda: house.answers("hostile__echo", text="here"), "the plugin serves")
    seen = len(denials(house))
    found: list[dict[str, Any]] = []

    def recorded() -> bool:
        told = [one for one in denials(house)[seen:] if one["wall"] == wall]
        found[:] = [one for one in told if not targets or one["target"] in targets]
        return bool(found)

    attack()
    until(recorded, f"a denial of the wall {wall!r} in the log")
    return found[0]


def test_a_name_that_is_not_listed(house: House) -> None:
    name = next(_names)
    denial = provoke(
        house, "dns", lambda: house.call("hostile__phone_home", host=name, port=443), [f"{name}:53"]
    )
    assert denial["plugin"] == "hostile"
    assert denial["rule"] == "network_policy"
    assert "allow-list" in denial["reason"]


def test_a_name_that_is_not_listed_asked_of_the_proxy(house: House) -> None:
    name = next(_names)
    target = f"{name}:443"
    denial = provoke(
        house, "connect", lambda: house.call("hostile__phone_home", host=name, port=443), [target]
    )
    assert denial["plugin"] == "hostile"


def test_another_name_in_the_greeting_of_tls_than_the_host_that_was_asked_for(house: House) -> None:
    attack = partial(house.call, "hostile__front_host", host=LISTED, port=443, name=next(_names))
    denial = provoke(house, "host", attack, [f"{LISTED}:443"])
    assert denial["plugin"] == "hostile"
    assert denial["rule"] == "network_policy"
    assert denial["reason"] == "the TLS server name is another host"


def test_more_memory_than_was_granted(house: House) -> None:
    denial = provoke(house, "memory", lambda: house.call("hostile__eat_memory", megabytes=400))
    assert denial["rule"] == "max_memory_mb = 96"


def test_a_system_call_that_the_filter_refuses(house: House) -> None:
    denial = provoke(house, "seccomp", lambda: house.call("hostile__escape"), CALLS)
    assert denial["rule"] == "system call filter"


def test_more_time_than_was_granted(house: House) -> None:
    until(lambda: house.answers("slow__echo", text="here"), "the plugin serves")
    denial = provoke(house, "timeout", lambda: house.call("slow__hang"))
    assert denial["plugin"] == "slow"
    assert denial["rule"] == "execution_timeout_seconds = 0.5"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's key on this host."""
    path = tmp_path_factory.mktemp("somebody") / "id_ed25519"
    path.write_text("a key")
    return path


def test_a_path_that_is_not_listed(house: House, key: Path) -> None:
    denial = provoke(house, "path", lambda: house.call("hostile__read_peer_data", path=str(key)), [str(key)])
    assert denial["plugin"] == "hostile"
    assert denial["rule"] == "filesystem_policy"
    assert denial["reason"] == "read: the path is not listed"


def test_a_path_that_may_only_be_read(house: House) -> None:
    planted = "/usr/lib/planted-by-a-test"
    denial = provoke(house, "path", lambda: house.call("hostile__write_file", path=planted), [planted])
    assert denial["reason"] == "write: the path is listed for reading only"


@pytest.mark.parametrize("restless_s", [0, 2])
def test_a_path_is_recorded_within_a_second_of_the_attempt(house: House, key: Path, restless_s: int) -> None:
    def took_s() -> float:
        tried = key.with_name(f"tried-{next(_numbers)}")
        tried.write_text("")
        until(lambda: house.answers("hostile__echo", text="here"), "the plugin serves")
        before = datetime.now(UTC)
        attack = partial(house.call, "hostile__read_peer_data", path=str(tried), restless_s=restless_s)
        return (instant(provoke(house, "path", attack, [str(tried)])) - before).total_seconds()

    in_time_once(took_s, LATEST_S)


def instant(denial: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(denial["time"].replace("Z", "+00:00"))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of denial: its wall, a call that provokes it, and what the record names; `{new}` is new each time."""

    wall: str
    tool: str
    arguments: dict[str, Any]
    plugin: str = "hostile"
    targets: tuple[str, ...] = ()


KINDS = {
    "DNS": Kind(
        wall="dns", tool="phone_home", arguments={"host": "{new}.example.net", "port": 443},
        targets=("{new}.example.net:53",),
    ),
    "connect": Kind(
        wall="connect", tool="phone_home", arguments={"host": "{new}.example.net", "port": 443},
        targets=("{new}.example.net:443",),
    ),
    "SNI": Kind(
        wall="host", tool="front_host", arguments={"host": LISTED, "port": 443, "name": "{new}.example.net"},
        targets=(f"{LISTED}:443",),
    ),
    "path": Kind(wall="path", tool="read_peer_data", arguments={"path": "{key}"}, targets=("{key}",)),
    "OOM": Kind(wall="memory", tool="eat_memory", arguments={"megabytes": 400}),
    "timeout": Kind(wall="timeout", tool="hang", arguments={}, plugin="slow"),
    "seccomp": Kind(wall="seccomp", tool="escape", arguments={}, targets=tuple(CALLS)),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_recorded_within_a_second_with_plugin_rule_and_reason(
    house: House, key: Path, name: str
) -> None:
    kind = KINDS[name]

    def took_s() -> float:
        new = f"kind-{uuid.uuid4().hex}"
        tried = key.with_name(new)
        tried.write_text("")

        def filled(value: Any) -> Any:
            return value.format(new=new, key=tried) if isinstance(value, str) else value

        ended: list[datetime] = []

        def attack() -> None:
            arguments = {one: filled(value) for one, value in kind.arguments.items()}
            house.call(f"{kind.plugin}__{kind.tool}", **arguments)
            ended.append(datetime.now(UTC))

        until(lambda: house.answers(f"{kind.plugin}__echo", text="here"), "the plugin serves")
        denial = provoke(house, kind.wall, attack, [filled(one) for one in kind.targets])
        assert denial["plugin"] == kind.plugin
        assert denial["rule"]
        assert denial["reason"]
        return max(0.0, (instant(denial) - ended[0]).total_seconds())  # it may be there before the answer is

    in_time_once(took_s, LATEST_S)


def test_an_honest_call_leaves_no_denial(house: House) -> None:
    """Of what other tests provoked, a denial may still be on its way; here it is another plugin's."""
    until(lambda: house.answers("honest__echo", text="here"), "the plugin serves")
    assert house.call("echo__echo", text="honest").text == "honest"
    assert house.call("honest__echo", text="honest").code == "ok"
    name = next(_names)
    house.call("honest__phone_home", host=name, port=443)
    until(
        lambda: any(name in one["target"] for one in denials_of(house, "honest")),
        "what comes after them is told",
    )
    assert all(name in one["target"] for one in denials_of(house, "honest"))
    assert not denials_of(house, "echo")


def test_denials_are_counted_for_operators(house: House) -> None:
    provoke(house, "dns", lambda: house.call("hostile__phone_home", host=next(_names), port=443))
    page = house.status("/metrics").text
    assert 'sekisho_plugin_denials_total{plugin="hostile",wall="dns"}' in page
