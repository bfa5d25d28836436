"""The process: hand-offs open gates, a new one replaces the old, a bad one changes nothing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from sekisho.egress import EgressEvent, EgressRefusal, EgressSettings, GateLine, send_gate, serve
from sekisho.egress.share import TURN_BYTES
from sekisho.errors import Misconfigured
from sekisho.policy import NetworkGrant

REQUEST = b"CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n"


HELD: list[GateLine] = []  # the lines of a test, which hold its gates open


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    yield
    while HELD:
        HELD.pop().close()


async def hand_off(path: Path) -> int:
    """Open four sockets, hand them over, close our copies; the port of the proxy. The line is the last of `HELD`."""
    with ExitStack() as stack:
        sockets = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM):
            sock = stack.enter_context(socket.socket(socket.AF_INET, kind))
            sock.bind(("127.0.0.1", 0))
            if kind is socket.SOCK_STREAM:
                sock.listen()
            sockets.append(sock)
        HELD.append(await send_gate(path, [sock.fileno() for sock in sockets]))
        return int(sockets[0].getsockname()[1])


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


class Running:
    """A served process with two plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: asyncio.Queue[EgressEvent] = asyncio.Queue()

    def path(self, plugin: str) -> Path:
        return self.folder / f"egress-{plugin}.sock"


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    process = Running(folder)
    sockets = {plugin: (process.path(plugin), NetworkGrant()) for plugin in ("a", "b")}
    ready = asyncio.Event()
    settings = EgressSettings(sockets=sockets, log_folder=folder / "log", more={"a": (process.path("a.1"),)})
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(
            serve(settings, ready=ready.set, on_event=process.events.put_nowait, clock=lambda: 1.9e9)
        )
        await ready.wait()
        yield process
        task.cancel()


async def test_a_refusal_is_told_and_written_under_the_name_of_its_plugin(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        ports = {plugin: await hand_off(process.path(plugin)) for plugin in ("a", "b")}
        assert b"403" in await ask(ports["b"])
        event = await process.events.get()
    assert (event.plugin, event.host, event.allowed) == ("b", "other.example.com", False)
    line = json.loads((tmp_path / "log" / "b.jsonl").read_text())
    assert (line["plugin"], line["host"], line["reason"]) == ("b", "other.example.com", event.reason)
    assert not (tmp_path / "log" / "a.jsonl").exists()


async def test_a_new_hand_off_replaces_the_gate(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        old = await hand_off(process.path("a"))
        assert b"403" in await ask(old)
        new = await hand_off(process.path("a"))
        assert b"403" in await ask(new)
        with pytest.raises(ConnectionError):
            await ask(old)


async def test_further_sandboxes_of_a_plugin_have_gates_beside_it_and_its_name(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        ports = [await hand_off(process.path(name)) for name in ("a", "a.1", "a.1")]
        assert b"403" in await ask(ports[0])
        assert b"403" in await ask(ports[2])
        with pytest.raises(ConnectionError):
            await ask(ports[1])
        assert {(await process.events.get()).plugin for _ in range(2)} == {"a"}
    assert len((tmp_path / "log" / "a.jsonl").read_text().splitlines()) == 2
    assert not process.path("a.1").exists()


async def test_a_bad_hand_off_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        port = await hand_off(process.path("a"))
        (await send_gate(process.path("a"), [])).close()
        assert b"403" in await ask(port)
        assert b"403" in await ask(await hand_off(process.path("b")))


async def test_the_sockets_are_gone_when_the_process_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        assert process.path("a").is_socket()
    assert not process.path("a").exists()


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    settings = EgressSettings(sockets={"a": (tmp_path / "no" / "s", NetworkGrant())}, log_folder=tmp_path)
    with pytest.raises(Misconfigured):
        await serve(settings)


async def test_a_refusal_is_told_on_the_line_of_its_sandbox_and_on_no_other(tmp_path: Path) -> None:
    heard: asyncio.Queue[EgressRefusal] = asyncio.Queue()
    overheard: list[EgressRefusal] = []
    async with running(tmp_path) as process:
        port = await hand_off(process.path("a"))
        await hand_off(process.path("b"))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(HELD[0].follow(heard.put_nowait)),
                group.create_task(HELD[1].follow(overheard.append)),
            ]
            assert b"403" in await ask(port)
            refusal = await heard.get()
            for task in tasks:
                task.cancel()
    assert (refusal.kind, refusal.host, refusal.port) == ("tunnel", "other.example.com", 443)
    assert refusal.reason == "the host or port is not on the allow-list"
    assert overheard == []


async def test_a_replaced_sandbox_is_told_not_to_come_back_and_an_ended_process_says_nothing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as process:
        await hand_off(process.path("a"))
        await hand_off(process.path("a"))
        assert await HELD[0].follow(lambda _refusal: None) is True
    assert await HELD[1].follow(lambda _refusal: None) is False


async def test_a_gate_closes_when_its_plugin_server_hangs_up(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        port = await hand_off(process.path("a"))
        assert b"403" in await ask(port)
        HELD.pop().close()
        while True:  # until the process has read the end of the line
            try:
                await ask(port)
            except OSError:
                break


@pytest.mark.threat("T-FLOOD")
async def test_whoever_carries_too_much_is_slowed_down_and_told_once_and_loses_nothing(
    tmp_path: Path,
) -> None:
    """A megabyte a minute, a tenth of it at once: 110 kB take a little longer than that allows, and arrive."""
    sent = bytes(110_000)

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.close()

    heard: list[EgressRefusal] = []
    events: list[EgressEvent] = []
    ready = asyncio.Event()
    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network = NetworkGrant(allow_localhost=True, localhost_ports=(port,), max_mb_per_minute=1)
    settings = EgressSettings(sockets={"a": (tmp_path / "a", network)}, log_folder=tmp_path / "log")
    async with asyncio.timeout(20), server, asyncio.TaskGroup() as group:
        task = group.create_task(serve(settings, ready=ready.set, on_event=events.append))
        await ready.wait()
        proxy = await hand_off(tmp_path / "a")
        listening = group.create_task(HELD[0].follow(heard.append))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read(1) + await reader.read() == sent
        writer.close()
        task.cancel()
        assert await listening is False
    slow = [event for event in events if event.kind == "rate"]
    assert [(event.allowed, event.reason) for event in slow] == [
        (True, "slowed down: more than 1 MB in a minute")
    ]
    assert [one.kind for one in heard] == ["rate"]


async def test_all_sandboxes_of_a_plugin_share_its_connections(tmp_path: Path) -> None:
    ready = asyncio.Event()
    events: asyncio.Queue[EgressEvent] = asyncio.Queue()
    network = NetworkGrant(max_connections=2)
    settings = EgressSettings(
        sockets={"a": (tmp_path / "a", network)}, log_folder=tmp_path / "log", more={"a": (tmp_path / "a.1",)}
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(serve(settings, ready=ready.set, on_event=events.put_nowait))
        await ready.wait()
        ports = [await hand_off(tmp_path / name) for name in ("a", "a.1", "a.1")]
        held = [await asyncio.open_connection("127.0.0.1", port) for port in (ports[0], ports[2], ports[2])]
        assert (await events.get()).reason == "too many open connections"
        for _reader, writer in held:
            writer.close()
        task.cancel()


@pytest.mark.threat("T-FLOOD")
async def test_a_plugin_that_floods_has_its_turns_and_another_one_goes_on_between_them(
    tmp_path: Path,
) -> None:
    """Sixteen downloads that never end, of one plugin; another asks and is answered meanwhile, again and again."""
    rounds, turns = 40, 20  # of the loop, in which one question and its answer pass four sockets on each side
    poured = 0

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(bytes(1 << 18))
                await writer.drain()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while word := await reader.read(100):
            writer.write(word)
        writer.close()

    async def tunnel(proxy: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
        writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def swallow(reader: asyncio.StreamReader) -> None:
        nonlocal poured
        while data := await reader.read(1 << 18):
            poured += len(data)

    async with asyncio.timeout(60), AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(await asyncio.start_server(serve_one, "127.0.0.1", 0))
            for serve_one in (pour, echo)
        ]
        source, other = (server.sockets[0].getsockname()[1] for server in servers)
        network = NetworkGrant(allow_localhost=True, localhost_ports=(source, other), max_mb_per_minute=0)
        sockets = {name: (tmp_path / name, network) for name in ("greedy", "modest")}
        ready = asyncio.Event()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        settings = EgressSettings(sockets=sockets, log_folder=tmp_path / "log")
        tasks = [group.create_task(serve(settings, ready=ready.set))]
        await ready.wait()
        greedy, modest = [await hand_off(tmp_path / name) for name in sockets]
        floods = [await tunnel(greedy, source) for _ in range(16)]
        tasks += [group.create_task(swallow(reader)) for reader, _ in floods]
        reader, writer = await tunnel(modest, other)
        before = poured
        for number in range(rounds):
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
        moved = poured - before
        for task in tasks:
            task.cancel()
        for _, one in [*floods, (reader, writer)]:
            one.transport.abort()
    assert 0 < moved <= rounds * turns * TURN_BYTES
