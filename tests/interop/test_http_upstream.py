"""The same server behind the gateway over Streamable HTTP: started by somebody else, reached by its URL."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.interop.driving import drive
from tests.interop.estate import Estate
from tests.interop.gateway import Gateway
from tests.interop.listening import canonical, connect
from tests.interop.subjects import CLIENTS, SERVERS, Client
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

START_S: Final = 30.0
EVERYTHING: Final = next(one for one in SERVERS if one.name == "everything")
BOTH_ERAS: Final = [one for one in CLIENTS if one.name in ("mcp-modern", "mcp-legacy")]


@pytest.fixture(scope="module")
def remote(estate: Estate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose only plugin lives at a URL."""
    port = free_port()
    server = subprocess.Popen(
        [*EVERYTHING.start(estate.place), "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_listening(server)
        gateway = Gateway(tmp_path_factory.mktemp("remote"), _configuration(estate, port))
        try:
            gateway.approve(["everything"])
            yield gateway
        finally:
            gateway.stop()
    finally:
        server.kill()
        server.wait()
        assert server.stderr is not None
        server.stderr.close()


@pytest.fixture(scope="module", params=BOTH_ERAS, ids=lambda one: one.name)
def found(
    request: pytest.FixtureRequest,
    remote: Gateway,
    estate: Estate,
    sets: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What the official client reports, in each era."""
    chosen: Client = request.param
    return drive(chosen, remote, estate.place, sets, tmp_path_factory.mktemp("client"))


async def test_its_tools_arrive_byte_for_byte(era: str, remote: Gateway, estate: Estate) -> None:
    async with connect(remote.url("everything"), remote.token, remote.ca, era) as (client, ear):
        await client.list_tools()
        listed = {one["name"]: canonical(one) for one in ear.last("tools")["tools"]}
    assert listed == {one["name"]: canonical(one) for one in estate.said["everything"].of("tools")}


def test_it_is_called(found: dict[str, Any]) -> None:
    assert found.get("call") == "Echo: through the gate", found["errors"]


def test_its_progress_arrives_in_order(found: dict[str, Any]) -> None:
    assert found.get("progress") == [1, 2, 3, 4], found["errors"]


def test_it_may_ask_in_the_midst_of_a_call(found: dict[str, Any]) -> None:
    assert "Name: Barrier Keeper" in found.get("elicitation", ""), found["errors"]


def _configuration(estate: Estate, port: int) -> str:
    tools = [tool["name"] for tool in estate.said["everything"].of("tools")]
    return (
        '[[plugins.servers]]\nname = "everything"\nmax_requests_per_minute = 100000\n'
        f'upstream = "http://127.0.0.1:{port}/mcp"\nallowed_operations = {json.dumps(tools)}\n'
    )


def _wait_listening(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr is not None
    said = b""
    while b"listening" not in said:
        readable, _, _ = select.select([server.stderr], [], [], START_S)
        piece = os.read(server.stderr.fileno(), 4096) if readable else b""
        assert piece, f"the server itself does not start: {said.decode()}"
        said += piece
