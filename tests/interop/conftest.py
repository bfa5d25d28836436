"""What the interop tests share: the peers, installed once; one gateway; one report of each client."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.interop.driving import drive
from tests.interop.estate import Estate, configuration, furnish, hear_all
from tests.interop.gateway import Gateway
from tests.interop.installing import SETS, Unreachable, install_all, node
from tests.interop.subjects import CLIENTS, SERVERS, Client, Place


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
            reports[client.name] = drive(client, estate.gateway, estate.place, sets, home)
        return reports[client.name]

    return of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a server or a client is run for each."""
    for name, rows in (("server", SERVERS), ("client", CLIENTS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, rows, ids=[row.name for row in rows])
    if "era" in metafunc.fixturenames:
        metafunc.parametrize("era", ["legacy", "2026-07-28"])
