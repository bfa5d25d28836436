"""What the interop tests share: the peers, installed once; one gateway; one report of each client."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.interop.estate import Estate, configuration, furnish, hear_all
from tests.interop.gateway import Gateway
from tests.interop.installing import SETS, Unreachable, install_all, node
from tests.interop.subjects import CLIENTS, SERVERS, Client, Place

ROOT: Final = Path(__file__).resolve().parents[2]
DRIVERS: Final = Path(__file__).resolve().parent / "drivers"
DRIVER_S: Final = 90  # five steps of at most twenty seconds, and a slow import


@pytest.fixture(scope="session")
def sets() -> dict[str, Path]:
    """Every pinned set; the tests are skipped, with the reason, where no registry is reached."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed; the walls cannot be built")
    try:
        return install_all(SETS)
    except Unreachable as error:
        pytest.skip(f"the package registry cannot be reached: {error}")


@pytest.fixture(scope="session")
def place(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where things are in this run."""
    data = tmp_path_factory.mktemp("data")
    furnish(data)
    try:
        program = node()
    except Unreachable as error:
        pytest.skip(f"the package registry cannot be reached: {error}")
    return Place(
        node=program, node_servers=sets["node-servers"], python_servers=sets["python-servers"], data=data
    )


@pytest.fixture(scope="session")
def estate(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """One gateway with every server behind it, each one read and approved."""
    said = asyncio.run(hear_all(place))
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), configuration(place, said))
    try:
        gateway.approve([server.name for server in SERVERS])
        yield Estate(place=place, said=said, gateway=gateway)
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def report(
    estate: Estate, sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Client], dict[str, Any]]:
    """What a client reports; each is run once."""
    reports: dict[str, dict[str, Any]] = {}
    home = tmp_path_factory.mktemp("clients")

    def of(client: Client) -> dict[str, Any]:
        if client.name not in reports:
            reports[client.name] = _drive(client, estate, sets, home)
        return reports[client.name]

    return of


def _drive(client: Client, estate: Estate, sets: dict[str, Path], home: Path) -> dict[str, Any]:
    gateway = estate.gateway
    environment = {
        **os.environ,
        "HOME": str(home),  # some keep files there
        "PYTHONPATH": str(ROOT),
        "SEKISHO_TOKEN": gateway.token,
        "SEKISHO_CA": str(gateway.ca),
        "SSL_CERT_FILE": str(gateway.ca),
        "NODE_EXTRA_CA_CERTS": str(gateway.ca),
        "SEKISHO_NODE": str(estate.place.node),
        "SEKISHO_CLIENTS": str(sets["node-clients"]),
    }
    done = subprocess.run(
        [*_program(client, estate.place, sets), gateway.url("everything"), *client.words],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=DRIVER_S,
    )
    assert done.returncode == 0, f"{client.name}: {done.stderr[-3000:]}\n{gateway.said()}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _program(client: Client, place: Place, sets: dict[str, Path]) -> list[str]:
    if client.driver.endswith(".py"):
        python = sets[client.set_name] / "bin" / "python" if client.set_name else Path(sys.executable)
        return [str(python), str(DRIVERS / client.driver)]
    beside = sets[client.set_name] / "drivers"  # a module finds its packages from where it lies
    shutil.copytree(DRIVERS, beside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return [str(place.node), str(beside / client.driver)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a server or a client is run for each."""
    for name, rows in (("server", SERVERS), ("client", CLIENTS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, rows, ids=[row.name for row in rows])
    if "era" in metafunc.fixturenames:
        metafunc.parametrize("era", ["legacy", "2026-07-28"])
