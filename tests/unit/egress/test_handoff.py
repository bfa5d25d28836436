"""Four sockets on the right path, or nothing."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sekisho.egress.handoff import GateSockets, accept, listen, receive_gate, send_gate
from sekisho.errors import RemoteProtocolError, Unavailable


def inet(kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)


@pytest.fixture
def four() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(inet(kind))
            for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
        ]


async def receive_one(listener: socket.socket) -> GateSockets:
    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    with connection:
        connection.setblocking(False)
        return await receive_gate(connection)


async def test_four_sockets_arrive_in_order_and_are_closed_at_the_end(
    tmp_path: Path, four: list[socket.socket]
) -> None:
    path = tmp_path / "egress-a.sock"
    four[0].bind(("127.0.0.1", 0))
    with listen(path) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        with await send_gate(path, [sock.fileno() for sock in four]), await receive_one(listener) as gate:
            assert gate.proxy.getsockname() == four[0].getsockname()
            assert gate.dns.type == socket.SOCK_DGRAM
            assert not gate.tls.getblocking()
    assert gate.proxy.fileno() == -1


@pytest.mark.parametrize("pick", [[0, 1, 2], [0, 1, 3, 2], [0, 1, 2, 3, 3], []])
async def test_anything_but_three_streams_and_one_datagram_is_refused_and_closed(
    tmp_path: Path, four: list[socket.socket], pick: list[int]
) -> None:
    path = tmp_path / "s"
    with listen(path) as listener:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with (
            await send_gate(path, [four[index].fileno() for index in pick]),
            pytest.raises(RemoteProtocolError),
        ):
            await receive_one(listener)
        assert len(os.listdir("/proc/self/fd")) <= before + 3  # noqa: PTH208


async def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path, four: list[socket.socket]) -> None:
    path = tmp_path / "s"
    with listen(path) as listener, open(os.devnull, "rb") as null:  # noqa: PTH123
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with (
            await send_gate(path, [sock.fileno() for sock in four[:3]] + [null.fileno()]),
            pytest.raises(RemoteProtocolError, match="no socket"),
        ):
            await receive_one(listener)
        assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


@pytest.mark.parametrize("message", [b"", b"{}", b'{"v":2}', b"\xff", b"x" * 300])
async def test_another_message_is_refused(tmp_path: Path, four: list[socket.socket], message: bytes) -> None:
    path = tmp_path / "s"
    with listen(path) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
        sender.connect(str(path))
        if message:
            socket.send_fds(sender, [message], [sock.fileno() for sock in four])
        else:
            sender.close()
        with pytest.raises(RemoteProtocolError):
            await receive_one(listener)


async def test_nobody_listening_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await send_gate(tmp_path / "absent", [])


async def test_a_process_that_takes_nothing_holds_up_neither_its_caller_for_long_nor_anybody_else(
    tmp_path: Path, four: list[socket.socket]
) -> None:
    path = tmp_path / "s"
    fds = [sock.fileno() for sock in four]
    with ExitStack() as stack:
        listener = stack.enter_context(listen(path))
        with pytest.raises(Unavailable, match="does not answer"):
            await _fill(stack, path, fds)
        turns: list[int] = []
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(_tick(turns))
            late = group.create_task(send_gate(path, fds))
            for _ in range(20):
                await asyncio.sleep(0)
            assert turns
            assert not late.done()
            with await receive_one(listener):  # now it takes one, so there is room for another
                stack.enter_context(await late)
            ticking.cancel()


async def _fill(stack: ExitStack, path: Path, fds: list[int]) -> None:
    """Hand over until the listener's queue is full."""
    while True:
        stack.enter_context(await send_gate(path, fds, patience_s=0.1))


async def _tick(turns: list[int]) -> None:
    while True:
        turns.append(len(turns))
        await asyncio.sleep(0)


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).close()
    with listen(path):
        assert path.is_socket()


async def test_no_end_of_the_line_reaches_a_program_that_is_started(
    tmp_path: Path, four: list[socket.socket]
) -> None:
    path = tmp_path / "s"
    with listen(path) as listener, await send_gate(path, [sock.fileno() for sock in four]) as line:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        with connection:
            ends = [
                connection.get_inheritable(),
                os.get_inheritable(line.fileno()),
                listener.get_inheritable(),
            ]
    assert ends == [False, False, False]


@pytest.mark.threat("T-FLOOD")
async def test_a_hand_off_waits_while_connections_of_plugins_hold_every_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen(path) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
        sender.connect(str(path))
        free = os.dup(0)
        os.close(free)
        most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                taken = group.create_task(accept(listener))
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not taken.done()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        with taken.result() as connection:
            assert not connection.getblocking()
