"""The door of a running house: what it refuses is shown, and it stands again when its process was killed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.conftest import HOSTILE, House, common, kill, plugin, until

pytestmark = [pytest.mark.real, pytest.mark.threat("T-EGRESS")]

GRANTED = '[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\n'
LEARNING = '[plugins.servers.network_policy]\nmode = "learn"\nblocked_domains = ["*.blocked.example"]\n'
CONFIGURATION = (
    common()
    + plugin("hostile", HOSTILE, operations=["phone_home", "echo"], more=GRANTED)
    + plugin("curious", HOSTILE, operations=["phone_home", "echo"], more=LEARNING)
)
_names = (f"evil-{number}.example.net" for number in itertools.count())


@pytest.fixture(scope="module")
def house(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    running = House(tmp_path_factory.mktemp("egress"), CONFIGURATION)
    yield running
    running.stop()


def typed(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """One command line of this house's operator."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("sekisho")), *words, "--config", str(house.config)],
        env={"SEKISHO_HOME": str(house.home), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def shown(house: House, name: str, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(typed(house, "egress", "log", name, "--json", *words).stdout)[
        "events"
    ]
    return found


def phone(house: House, name: str, tool: str = "hostile__phone_home") -> None:
    until(lambda: house.answers(tool.replace("phone_home", "echo"), text="here"), "the plugin serves")
    assert house.call(tool, host=name, port=443).report["succeeded"] is False


def test_what_was_refused_is_shown_to_the_operator(house: House) -> None:
    name = next(_names)
    phone(house, name)

    def is_shown() -> bool:
        refused = [one for one in shown(house, "hostile", "--refused") if one["host"] == name]
        return {one["kind"] for one in refused} == {"dns", "tunnel"}

    until(is_shown, "both refusals are shown")
    assert f"{name}  " in typed(house, "egress", "log", "hostile").stdout


def test_the_door_stands_again_after_its_process_was_killed(house: House) -> None:
    egress = house.pid("egress")
    kill(egress)
    until(lambda: house.pid("egress") not in (0, egress), "egress comes back")

    def refuses() -> bool:
        name = next(_names)
        phone(house, name)
        return {one["kind"] for one in shown(house, "hostile") if one["host"] == name} == {"dns", "tunnel"}

    until(refuses, "the same sandbox has its door again")
    name = next(_names)
    phone(house, name)
    until(
        lambda: any(one.get("target") == f"{name}:443" for one in house.records()),
        "a refusal after it stands in the audit log",
    )


def test_whoever_learns_is_warned_of_and_reaches_nothing_that_is_blocked(house: House) -> None:
    assert 'mode = "learn"' in typed(house, "plugins").stderr
    assert '"egress_learns", "plugin": "curious"' in house.stderr.read_text()
    phone(house, "x.blocked.example", "curious__phone_home")
    blocked = {("x.blocked.example", "dns"), ("x.blocked.example", "tunnel")}
    until(
        lambda: blocked <= {(one["host"], one["kind"]) for one in shown(house, "curious", "--refused")},
        "both refusals are shown",
    )
    assert json.loads(typed(house, "egress", "propose", "curious", "--json").stdout)["allowed_domains"] == []
