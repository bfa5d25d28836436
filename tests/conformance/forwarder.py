"""A loopback forwarder: adds the bearer the suite cannot send, carries TLS, opens a connection for every request.

A connection per request is what makes a gateway of several processes answer from any of them; several gateways get the
requests in turns. Bodies pass as they
are; of a head only Host, Origin (where they name the forwarder), Connection and Authorization are touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final

__all__ = ["Exchange", "forwarder"]

HEAD_LIMIT: Final = 1 << 20


class Exchange:
    """The bytes of one request and its answer."""

    def __init__(self) -> None:
        self.asked = bytearray()
        self.answered = bytearray()


class _Forwarder:
    def __init__(self, targets: Sequence[str], context: ssl.SSLContext | None, bearer: str) -> None:
        self._targets = itertools.cycle(targets)
        self._context = context
        self._bearer = bearer
        self.port = 0
        self.exchanges: list[Exchange] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        kept = Exchange()
        there: asyncio.StreamWriter | None = None
        try:
            received = await reader.readuntil(b"\r\n\r\n")
            target = next(self._targets)
            head = self._edited(received, target)
            host, _, port = target.partition(":")
            back, there = await asyncio.open_connection(host, int(port), ssl=self._context)
            there.write(head)
            kept.asked += head
            self.exchanges.append(kept)
            await _both(_pump(reader, there, kept.asked), _pump(back, writer, kept.answered))
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side may leave at any time
        finally:
            for one in (there, writer):
                if one is not None:
                    one.close()

    def _edited(self, head: bytes, target: str) -> bytes:
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        own = {f"localhost:{self.port}", f"127.0.0.1:{self.port}"}
        scheme = "http" if self._context is None else "https"
        edited = [first]
        for line in lines:
            name, _, value = line.partition(":")
            match name.lower():
                case "connection" | "authorization":
                    continue
                case "host" if value.strip() in own:
                    edited.append(f"{name}: {target}")
                case "origin" if value.strip().removeprefix("http://") in own:
                    edited.append(f"{name}: {scheme}://{target}")
                case _:
                    edited.append(line)
        edited += [f"Authorization: Bearer {self._bearer}", "Connection: close"]
        return ("\r\n".join(edited) + "\r\n\r\n").encode("latin-1")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            kept += data
            writer.write(data)
            await writer.drain()


async def _both(up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> None:
    """Until either side is done: a client that leaves must be seen by the gateway."""
    async with asyncio.TaskGroup() as pumps:
        tasks = [pumps.create_task(one) for one in (up, down)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@contextlib.contextmanager
def forwarder(
    targets: Sequence[str], *, bearer: str, ca_file: str | None = None
) -> Iterator[tuple[str, list[Exchange]]]:
    """Forward to host:port, to several in turns; over TLS if an authority is given. Yields our address and the record."""
    context = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
    one = _Forwarder(targets, context, bearer)
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(one.carry, "127.0.0.1", 0, limit=HEAD_LIMIT)
        one.port = int(server.sockets[0].getsockname()[1])
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10), "the forwarder did not start"
        yield f"http://localhost:{one.port}", one.exchanges
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.run_until_complete(_drained())
        loop.close()


async def _drained() -> None:
    """End the connections that are still open."""
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
