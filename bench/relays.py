"""How many bytes a second the gate carries, beside the plainest relay that asyncio can make, in turns.

Source, gate, relay and the reader are processes of their own, on loopback; the gate does everything it does for a
plugin's TLS connection (the greeting is read and judged), the relay does nothing but copy. Processor time is that of
the gate or relay alone.

`python -m bench.relays source|gate|plain [PORT]` is one of those processes: it prints its port and serves until killed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter
from typing import Final

import uvloop

from bench.processes import BenchFailed, tied
from sekisho.egress import EgressGate, GateSockets, Outlet
from sekisho.policy import Address, NetworkGrant, is_public

__all__ = ["measure_relays"]

CARRIED_BYTES: Final = 64 << 20
PIECE: Final = bytes(1 << 18)
HOST: Final = "api.example.com"
ROOT: Final = Path(__file__).resolve().parents[1]
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure_relays(rounds: int) -> dict[str, float]:
    """Medians, and medians of the ratios of each round: MB/s, and processor seconds for each GB."""
    with (
        _serving("source") as (source, _),
        _serving("gate", source) as gate,
        _serving("plain", source) as plain,
    ):
        ways = {"gate": (*gate, _opening()), "plain": (*plain, b"go")}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, (port, pid, opening) in ways.items():
                before = _cpu_s(pid)
                took = _read_all(port, opening)
                if number:  # the first round warms up
                    times[name].append(
                        (CARRIED_BYTES / 1e6 / took, (_cpu_s(pid) - before) / (CARRIED_BYTES / 1e9))
                    )
    pairs = list(zip(times["gate"], times["plain"], strict=True))
    return {
        "relay_gate_mb_s": statistics.median(gate for (gate, _), _ in pairs),
        "relay_plain_mb_s": statistics.median(plain for _, (plain, _) in pairs),
        "relay_of_plain": statistics.median(gate / plain for (gate, _), (plain, _) in pairs),
        "relay_gate_cpu_s_per_gb": statistics.median(cpu for (_, cpu), _ in pairs),
        "relay_plain_cpu_s_per_gb": statistics.median(cpu for _, (_, cpu) in pairs),
    }


@contextmanager
def _serving(role: str, *ports: int) -> Iterator[tuple[int, int]]:
    words = [sys.executable, "-m", "bench.relays", role, *map(str, ports)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT, preexec_fn=tied())  # noqa: PLW1509 - as in `running`
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise BenchFailed(f"the {role} for the relays did not start")
        yield int(said), process.pid
    finally:
        process.kill()
        process.communicate()


def _read_all(port: int, opening: bytes) -> float:
    """How long it takes until everything has come."""
    buffer, left = bytearray(1 << 20), CARRIED_BYTES
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        if opening.startswith(b"CONNECT"):
            head, _, greeting = opening.partition(b"\r\n\r\n")
            sock.sendall(head + b"\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += sock.recv(1)
            opening = greeting
        started = perf_counter()
        sock.sendall(opening)
        while left:
            count = sock.recv_into(buffer)
            if not count:
                raise BenchFailed(f"{left} bytes did not come through")
            left -= count
        return perf_counter() - started


def _opening() -> bytes:
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode() + outgoing.read()
    raise AssertionError("a handshake without a server")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _serve(one: Serve) -> None:
    server = await asyncio.start_server(one, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _source() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        for _ in range(CARRIED_BYTES // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
        writer.close()

    await _serve(pour)


async def _plain(port: int) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        outward = asyncio.ensure_future(copy(reader, far_writer))
        await copy(far_reader, writer)
        outward.cancel()
        far_writer.close()

    await _serve(carry)


async def _gate(port: int) -> None:
    async def resolve(_host: str) -> Sequence[Address]:
        return [ip_address("93.184.216.34")]

    async def dial(_address: Address, _port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return sock

    network = NetworkGrant(allowed_domains=(HOST,))
    outlet = Outlet(network, resolve=resolve, dial=dial, is_allowed_address=is_public)
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    doors = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    for door, kind in zip(doors, kinds, strict=True):
        door.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            door.listen()
        door.setblocking(False)
    print(doors[0].getsockname()[1], flush=True)
    proxy, tls, http, dns = doors
    gate = EgressGate("bench", network, lambda _event: None, outlet=outlet)
    await gate.serve(GateSockets(proxy=proxy, tls=tls, http=http, dns=dns))


def main(words: Sequence[str]) -> None:
    """One of the processes."""
    roles = {"source": _source, "plain": _plain, "gate": _gate}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(roles[words[0]](*map(int, words[1:])))  # type: ignore[operator]  # each takes its own number of ports


if __name__ == "__main__":
    main(sys.argv[1:])
