"""Clients of the front in memory: what they send, and what comes back over the wire."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sekisho.gateway import Front, FrontLimits
from sekisho.gateway.front import Connection
from sekisho.protocol import HttpLimits, HttpRequest

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


class Wire(asyncio.Transport):
    """A client's end in memory: collects what is written, and hears of the end."""

    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.sent = b""
        self.ended = asyncio.Event()
        self.was_aborted = False
        self.is_paused = False
        self.has_ended_writing = False
        self.on_write: Callable[[], None] = lambda: None

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.sent += bytes(data)
        self.on_write()

    def is_closing(self) -> bool:
        return self.ended.is_set()

    def close(self) -> None:
        self.ended.set()

    def abort(self) -> None:
        self.was_aborted = True
        self.ended.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended_writing = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.sent)]

    async def wait_ended(self) -> None:
        async with asyncio.timeout(20):
            await self.ended.wait()


def limits(**changes: Any) -> FrontLimits:
    return FrontLimits(**{"http": HttpLimits(max_head_bytes=4096, max_body_bytes=2048), **changes})


def join(front: Front, extra: dict[str, Any] | None = None) -> tuple[Connection, Wire]:
    connection = front.connect()
    assert isinstance(connection, Connection)
    wire = Wire(extra)
    connection.connection_made(wire)
    return connection, wire


def raw(request: HttpRequest) -> bytes:
    headers = {**request.headers, "content-length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


def modern(kit: Kit, method: str, params: dict[str, Any] | None = None) -> bytes:
    return raw(kit.modern_request(method, params))


def a_call(kit: Kit, value: int = 1) -> bytes:
    return modern(kit, "tools/call", {"name": "calc__add", "arguments": {"a": value}})


def large(kit: Kit, size: int = 1000, **fields: Any) -> bytes:
    return raw(kit.modern_request("tools/list", {"x": "x" * size}, **fields))


async def turn(kit: Kit) -> None:
    """Let callbacks of this turn and the log's answers to them happen."""
    for _ in range(8):
        kit.log.settle()
        ran = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(ran.set_result, None)
        await ran


async def answers(kit: Kit, wire: Wire, count: int) -> list[int]:
    """The statuses of so many answers, once they are there: who stands in line may wait a moment for who came alone."""
    async with asyncio.timeout(20):
        while len(wire.statuses) < count:
            await turn(kit)
    return wire.statuses
