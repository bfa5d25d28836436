"""Bytes carried both ways between a plugin and a host, unread.

- What is read is sent at once from one buffer that all relays share. When the other side does not take it, what is
  left is kept, at most one read, and nothing more is read until it is gone. A side that never reads therefore costs
  one buffer and no time.
- A read is as large as the plugin's share leaves room for (`share`); without room the kernel keeps the bytes.
- Whoever has to see the beginning of a side (`Watch`) sees it before it is passed on, and may refuse it.
- The plugin's end is passed on to the host, whose answer still arrives; the host's end ends the relay, as does a side
  that breaks, and a silence of both.

Callbacks instead of tasks, because this is where nearly all bytes of all plugins go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from sekisho.egress.share import READ_BYTES
from sekisho.egress.stream import IDLE_TIMEOUT_S, Stream
from sekisho.errors import Refused

__all__ = ["Watch", "relay"]

_BUFFER: Final = memoryview(bytearray(READ_BYTES))  # never holds anything longer than one callback


class Watch(Protocol):
    """Looks at what passes, until it has seen enough of a side (False); raises Refused."""

    def from_plugin(self, data: bytes) -> bool:
        """What the plugin says."""

    def from_host(self, data: bytes) -> bool:
        """What the host says."""


async def relay(
    plugin: Stream, host: Stream, *, idle_s: float = IDLE_TIMEOUT_S, watch: Watch | None = None
) -> None:
    """Carry bytes both ways until the host's side ends, a side breaks, or nothing moves for `idle_s`.

    Args:
        plugin: the side inside the sandbox.
        host: the side outside.
        idle_s: how long both sides may be silent.
        watch: sees the beginning of both sides.

    Raises:
        Refused: by the watch.
    """
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def refuse(refusal: Refused) -> None:
        if not ended.done():
            ended.set_exception(refusal)

    outward = _Direction(plugin, host, on_end=host.end, on_break=end, on_refusal=refuse)
    inward = _Direction(host, plugin, on_end=end, on_break=end, on_refusal=refuse)
    if watch is not None:
        outward.look, inward.look = watch.from_plugin, watch.from_host
    try:
        outward.start()
        inward.start()
        while not ended.done():
            before = outward.moved + inward.moved
            await asyncio.wait([ended], timeout=idle_s)
            if not ended.done() and outward.moved + inward.moved == before and not plugin.share.debt_s():
                return
        ended.result()
    finally:
        outward.stop()
        inward.stop()


class _Direction:
    """One way. `on_end` is called when everything up to the source's end was sent, `on_break` when a side is gone."""

    def __init__(
        self,
        source: Stream,
        sink: Stream,
        *,
        on_end: Callable[[], None],
        on_break: Callable[[], None],
        on_refusal: Callable[[Refused], None],
    ) -> None:
        self.moved = 0
        self.look: Callable[[bytes], bool] | None = None
        self._on_refusal = on_refusal
        self._source = source
        self._sink = sink
        self._share = source.share
        self._on_end = on_end
        self._on_break = on_break
        self._rest = memoryview(source.take(source.ahead_bytes))
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if not self._is_seen(self._rest):
            return
        if self._rest:
            self._loop.add_writer(self._sink.sock, self._flush)
        else:
            self._loop.add_reader(self._source.sock, self._carry)

    def stop(self) -> None:
        self._loop.remove_reader(self._source.sock)
        self._loop.remove_writer(self._sink.sock)
        if self._timer is not None:
            self._timer.cancel()

    def _carry(self) -> None:
        room = self._share.room()
        if not room:
            self._wait_debt()  # or simply for the next turn: the socket is still readable then
            return
        try:
            count = self._source.sock.recv_into(_BUFFER, room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._on_break()
            return
        self._share.charge(count)
        if not count:
            self._loop.remove_reader(self._source.sock)
            self._on_end()
            return
        if self.look is not None and not self._is_seen(_BUFFER[:count]):
            return
        sent = self._send(_BUFFER[:count])
        if 0 <= sent < count:
            self._rest = memoryview(bytes(_BUFFER[sent:count]))
            self._loop.remove_reader(self._source.sock)
            self._loop.add_writer(self._sink.sock, self._flush)

    def _is_seen(self, data: memoryview) -> bool:
        """Whether it may be passed on."""
        try:
            if self.look is not None and not self.look(bytes(data)):
                self.look = None
        except Refused as refusal:
            self.stop()
            self._on_refusal(refusal)
            return False
        return True

    def _flush(self) -> None:
        sent = self._send(self._rest)
        if sent < 0:
            return
        self._rest = self._rest[sent:]
        if not self._rest:
            self._loop.remove_writer(self._sink.sock)
            self._loop.add_reader(self._source.sock, self._carry)

    def _send(self, data: memoryview) -> int:
        """How much was taken; -1 when that side is gone."""
        try:
            sent = self._sink.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.stop()
            self._on_break()
            return -1
        self.moved += sent
        self._sink.sent += sent
        return sent

    def _wait_debt(self) -> None:
        debt_s = self._share.debt_s()
        if debt_s:
            self._loop.remove_reader(self._source.sock)
            self._timer = self._loop.call_later(debt_s, self._again)

    def _again(self) -> None:
        self._timer = None
        self._loop.add_reader(self._source.sock, self._carry)
