from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import Misconfigured
from sekisho.wire import Address, Listener, UnixAddress

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House


def listener(house: House, address: Address) -> Listener:
    public = house.folder.public_identity(house.core.spiffe)
    return Listener(
        address=address,
        identity=house.plugin,
        ca_pem=house.folder.ca_pem(),
        peer=public.rule,
        core_token_public=public.token_public,
        ops=frozenset({"echo"}),
        clock=house.clock,
        on_call=house.on_call,
        on_cancel=house.cancelled.append,
    )


async def test_a_socket_is_private_and_leaves_no_file_behind(house: House, tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # left behind by a run that was killed
    server = listener(house, UnixAddress(path=str(path)))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        assert await server.wait_listening() == UnixAddress(path=str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.channels == 0
        serving.cancel()
    assert not path.exists()


async def test_an_address_that_cannot_be_used_is_reported(house: House, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_bytes(b"not a socket, so it is not ours to remove")
    with pytest.raises(Misconfigured, match="cannot listen"):
        await listener(house, UnixAddress(path=str(taken))).serve()
    assert taken.exists()
