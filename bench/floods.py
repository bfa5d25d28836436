"""What others notice of a flood: `python -m bench.floods [--rounds N] [--seconds S] [--only TEXT]`.

An honest client calls at a steady rate, alone and then during each flood; floods come from a process of their own, so
that they cost the honest client nothing but what the gateway makes it pay. Prints p50 and p99 and the ratio to the
idle p99 of the same round; the goal is at most 2. On a machine with few cores the flood's own processor time is part
of what is measured: how much it is says the same flood against a process that accepts connections and never reads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.house import House, house, stdio_plugin, write_config
from bench.processes import first_line, running
from sekisho import testing
from sekisho.keys import KeyFolder, ensure_bearer

__all__ = ["main"]

CALLS_PER_SECOND = 200
CONNECTIONS = 600
HEAD = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
ECHO = Path(testing.__file__).with_name("echo.py")
GOAL = 2.0


def main(arguments: Sequence[str]) -> int:
    """Measure, or (as the flooding process) flood."""
    parser = argparse.ArgumentParser(prog="bench.floods", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--flood", nargs=3, metavar=("NAME", "PORT", "TOKEN"), help=argparse.SUPPRESS)
    parser.add_argument("--deaf", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.deaf:
        _accept_for_ever()
    if options.flood:
        name, port, token = options.flood
        FLOODS[name][0](int(port), token)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options)
    return 0


def _measure(folder: Path, options: argparse.Namespace) -> None:
    plugin = stdio_plugin("e", [sys.executable, ECHO], ECHO, tools=("echo", "slow"))
    config = write_config(folder / "house", [plugin], durability="written")
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(house(config))
        token = _second_client(folder / "house" / "state", gate)
        names = [name for name in FLOODS if options.only in name]
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
        deaf_port = int(stack.enter_context(_process(folder, "--deaf")))
        for _ in range(options.rounds):
            for name in names:
                idle = _at(_latencies(gate, token, options.seconds), 99)
                found[name].append(())
                for port in (gate.port, deaf_port) if FLOODS[name][1] else (gate.port,):
                    with _process(folder, "--flood", name, str(port), gate.token):
                        busy = _latencies(gate, token, options.seconds)
                    found[name][-1] += (_at(busy, 50), _at(busy, 99), _at(busy, 99) / idle)
        for name, rounds in found.items():
            p50, p99, ratio, *elsewhere = (statistics.median(column) for column in zip(*rounds, strict=True))
            verdict = "met" if ratio <= GOAL else "missed"
            beside = f"  ({elsewhere[2]:.2f} when the flood goes elsewhere)" if elsewhere else ""
            print(
                f"{name:24} p50 {p50 * 1e3:7.2f} ms  p99 {p99 * 1e3:7.2f} ms  {ratio:5.2f} x idle  {verdict}{beside}"
            )


def _second_client(home: Path, gate: House) -> str:
    """The honest client is not the one that floods with a token."""
    token = ensure_bearer(KeyFolder(home / "keys"), "honest").read_text().strip()
    core = gate.process
    core.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with _connection(gate.port) as sock:
            sock.sendall(_call(token, "hello"))
            if b" 200 " in sock.recv(1 << 16)[:20]:
                return token
    raise SystemExit("the gateway did not take the second client's token")


def _latencies(gate: House, token: str, seconds: float) -> list[float]:
    """The times of calls at a steady rate on one connection; a late call does not delay the next one's clock."""
    found = []
    call = _call(token, "x" * 100)
    with _connection(gate.port) as sock:
        sock.sendall(call)
        sock.recv(1 << 16)
        start = time.perf_counter()
        for number in range(int(seconds * CALLS_PER_SECOND)):
            due = start + number / CALLS_PER_SECOND
            while (left := due - time.perf_counter()) > 0:
                select.select([], [], [], left)
            sock.sendall(call)
            answer = sock.recv(1 << 16)
            if b" 200 " not in answer[:20]:
                raise SystemExit(f"an honest call was refused during the flood: {answer[-300:]!r}")
            found.append(time.perf_counter() - due)
    return found


@contextlib.contextmanager
def _process(folder: Path, *words: str) -> Iterator[str]:
    """This program in another role, from its first line, which is given, to the end of the block."""
    log = folder / "flood.txt"
    with running([sys.executable, "-m", "bench.floods", *words], log) as process:
        yield first_line(process, log)
        process.kill()


def _at(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@contextlib.contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def _call(token: str, text: str, tool: str = "e__echo", **more: object) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = more or {"text": text}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return (
        f"{HEAD}Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _accept_for_ever() -> None:
    """Where a flood goes that is to cost nobody more than its own processor time."""
    guests: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            guests.append(server.accept()[0])
            del guests[: -2 * CONNECTIONS]


# The floods; each says one line when it has begun, and goes on until it is killed


def _crowd(said: bytes, again: bytes = b"") -> Callable[[int, str], None]:
    """Many connections that say something and then a little more now and then; those cut are opened anew."""

    def flood(port: int, token: str) -> None:
        first, more = (part.replace(b"TOKEN", token.encode()) for part in (said, again))
        crowd: list[socket.socket] = []
        while True:
            while len(crowd) < CONNECTIONS:
                with contextlib.suppress(OSError):
                    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
                    sock.setblocking(False)
                    crowd.append(sock)
                    sock.send(first)
            _begun()
            crowd = [sock for sock in crowd if _pushed(sock, more)]
            select.select([], [], [], 0.1)

    return flood


def _pushed(sock: socket.socket, data: bytes) -> bool:
    try:
        if data:
            sock.send(data)
        elif sock.recv(1, socket.MSG_PEEK) == b"":
            raise ConnectionResetError
    except BlockingIOError:
        return True
    except OSError:
        sock.close()
        return False
    return True


def _hammer(said: Callable[[str], bytes]) -> Callable[[int, str], None]:
    """Eight connections that send the same again and again and throw the answers away."""

    def flood(port: int, token: str) -> None:
        data = said(token)
        crowd: list[socket.socket] = []
        while True:
            while len(crowd) < 8:
                with contextlib.suppress(OSError):
                    crowd.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            _begun()
            readable, writable, _ = select.select(crowd, crowd, [], 1)
            for sock in readable:
                if not _emptied(sock):
                    crowd.remove(sock)
            for sock in writable:
                if sock in crowd and not _pushed(sock, data):
                    crowd.remove(sock)
            select.select([], [], [], 0.005)

    return flood


def _emptied(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1 << 20))
    except OSError:
        return False


_said = False


def _begun() -> None:
    global _said  # noqa: PLW0603 - a process floods once
    if not _said:
        _said = True
        print("flooding", flush=True)


def _hello(token: str) -> bytes:
    body = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
    head = f"{HEAD}Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return f"{head}Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


_WRONG = "sk-" + "A" * 43
_LONG = f"{HEAD}Authorization: Bearer TOKEN\r\nContent-Length: 9000000\r\n"
_BODY = f"{_LONG}Content-Type: application/json\r\n\r\n".encode()
# The second is true of those who send the same to whoever does not answer.
FLOODS: dict[str, tuple[Callable[[int, str], None], bool]] = {
    "silent connections": (_crowd(b""), True),
    "slow heads": (_crowd(HEAD.encode(), b"X: a\r\n"), True),
    "big heads": (_crowd(HEAD.encode() + b"X: " + b"a" * 31_000, b"a"), True),
    "slow bodies": (_crowd(_BODY + b"x" * 1000, b"x" * 10), True),
    "slow pieces": (_crowd(_BODY + b"x" * 1000, b"x" * 1500), True),
    "refused bodies": (_crowd(f"{_LONG}\r\n".encode() + b"x" * 1000, b"x" * 10), False),
    "slow readers": (_crowd(_call("TOKEN", "x" * 300_000)), False),
    "wrong tokens": (_hammer(lambda _token: _hello(_WRONG)), False),
    "strangers": (_crowd(b"", _hello(_WRONG)), True),
    "sessions": (_hammer(_hello), False),
    "pipelined": (_hammer(lambda token: _call(token, "x") * 200), False),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
