"""The floods of `bench.floods`, and where they are sent to for comparison.

`python -m bench.crowds NAME PORT TOKEN [aside]` floods, `python -m bench.crowds CONTROL` is flooded; each says one line
when it has begun, and goes on until it is killed. Knows nothing of what is measured.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable

__all__ = ["FLOODS", "call"]

CONNECTIONS = 600
LINGER_S = 1.0
HEAD = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
REFUSAL = b"HTTP/1.1 415 Unsupported Media Type\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def call(token: str, text: str, tool: str = "e__echo", **more: object) -> bytes:
    """A whole call of a tool."""
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


# Where a flood goes that is to cost nobody more than its own processor time


def _never_read() -> None:
    guests: list[socket.socket] = []
    with _listening() as server:
        while True:
            guests.append(server.accept()[0])
            del guests[: -2 * CONNECTIONS]


def _refuse() -> None:
    """As the gateway does, and nothing else: an answer at once, the end a second later."""
    guests: collections.deque[tuple[float, socket.socket]] = collections.deque()
    with _listening() as server:
        while True:
            if select.select([server], [], [], 0.02)[0]:
                guest = server.accept()[0]
                guests.append((time.monotonic() + LINGER_S, guest))
                with contextlib.suppress(OSError):
                    guest.settimeout(0.1)
                    guest.recv(1 << 16)
                    guest.sendall(REFUSAL)
                    guest.shutdown(socket.SHUT_WR)
            for _ in range(16):
                if not guests or guests[0][0] > time.monotonic():
                    break
                guests.popleft()[1].close()


def _listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(server.getsockname()[1], flush=True)
    return server


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
CONTROLS = {"nobody reads": _never_read, "who refuses": _refuse}
# Each flood, and the process to which it sends the same and as often as to the gateway; a hammer sends as it is answered.
FLOODS: dict[str, tuple[Callable[[int, str], None], str | None]] = {
    "silent connections": (_crowd(b""), "nobody reads"),
    "slow heads": (_crowd(HEAD.encode(), b"X: a\r\n"), "nobody reads"),
    "big heads": (_crowd(HEAD.encode() + b"X: " + b"a" * 31_000, b"a"), "nobody reads"),
    "slow bodies": (_crowd(_BODY + b"x" * 1000, b"x" * 10), "nobody reads"),
    "slow pieces": (_crowd(_BODY + b"x" * 1000, b"x" * 1500), "nobody reads"),
    "refused bodies": (_crowd(f"{_LONG}\r\n".encode() + b"x" * 1000, b"x" * 10), "who refuses"),
    "slow readers": (_crowd(call("TOKEN", "x" * 300_000)), None),
    "wrong tokens": (_hammer(lambda _token: _hello(_WRONG)), None),
    "strangers": (_crowd(b"", _hello(_WRONG)), "nobody reads"),
    "sessions": (_hammer(_hello), None),
    "pipelined": (_hammer(lambda token: call(token, "x") * 200), None),
}


def main(words: list[str]) -> None:
    """Flood, or be flooded."""
    name, *rest = words
    if name in CONTROLS:
        CONTROLS[name]()
    port, token, *aside = rest
    if aside:  # it runs when nobody else wants the processor: as if it had one of its own, elsewhere
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    FLOODS[name][0](int(port), token)


if __name__ == "__main__":
    main(sys.argv[1:])
