"""A hundred plugins on one machine: all serve, and those that rest cost what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.conftest import ECHO, House, common, plugin, until

pytestmark = [pytest.mark.real, pytest.mark.requirement("A1.1"), pytest.mark.timeout(600)]

PLUGINS = 100
PRIVATE_MIB = (
    16  # of a plugin server, its launcher and bwrap's two processes; the plugin's own memory is its own
)


@pytest.fixture
def house(walls: None, tmp_path: Path) -> Iterator[House]:
    """A house with all of them; a busy machine takes its time to start so many interpreters."""
    lean = "warm = false\n"  # without a fork server in each: that is for plugins that start often
    entries = "".join(
        plugin(f"echo{number}", ECHO, operations=["echo"], more=lean) for number in range(PLUGINS)
    )
    running = House(tmp_path, common(discovery_s=240) + entries, ready_s=240)
    yield running
    running.stop()


def private_mib(pid: int) -> float:
    """Memory that would be free if this process ended."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private")) / 1024


def test_a_hundred_idle_plugins_are_held_and_each_still_answers(house: House) -> None:
    until(lambda: house.answers(f"echo{PLUGINS - 1}__echo", text="last"), "the last one serves", 60)
    for number in range(PLUGINS):
        assert house.call(f"echo{number}__echo", text=str(number)).text == str(number)
    assert len({house.pid("egress")}) == 1  # one gate for all of them
    servers = [house.pid(f"plugin echo{number}") for number in range(0, PLUGINS, 10)]
    ours = [
        sum(private_mib(pid) for pid in house.tree(server) if "echo.py" not in _command(pid))
        for server in servers
    ]
    assert sorted(ours)[len(ours) // 2] <= PRIVATE_MIB
    processes = house.tree(house.pid("plugin echo7"))
    assert len(processes) <= 5  # its server, the launcher, bwrap twice, and the plugin


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
