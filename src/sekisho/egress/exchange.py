"""One judged request and its answer, carried between a plugin and a host.

- Of the plugin's bytes only the judged head and the body it announced go out; what follows is put back, to be judged as
  a request of its own.
- The answer is passed on as it comes, but for what it must not tell (`masking`). Its end is what allows another request
  on the connection (`response`).
- A plugin that ends its side is passed on as an end to the host, whose answer still arrives.

Decides nothing about hosts; whoever calls it has opened the right one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from sekisho.egress.body import BodyReader
from sekisho.egress.masking import AnswerMask
from sekisho.egress.response import ResponseReader
from sekisho.egress.stream import IDLE_TIMEOUT_S, MAX_AHEAD_BYTES, OPENING_TIMEOUT_S, Stream
from sekisho.egress.tunnel import ProxyRequest
from sekisho.errors import Refused

__all__ = ["After", "exchange"]

After = Literal["kept", "closed", "switched"]
Masks: TypeAlias = Sequence[tuple[bytes, bytes]]


async def exchange(
    plugin: Stream,
    host: Stream,
    request: ProxyRequest,
    *,
    masks: Masks = (),
    watch: Callable[[bytes], object] | None = None,
    idle_s: float = IDLE_TIMEOUT_S,
) -> After:
    """Carry one request and its answer; what the connections are good for afterwards.

    `masks`: what the answer must not tell, each with what stands for it. `watch`: sees the request's body and may refuse.

    Raises:
        Refused: the body or the answer breaks the rules of HTTP in a way that could hide another request.
    """
    async with asyncio.timeout(OPENING_TIMEOUT_S):
        await host.write(request.head)
    carriage = _Carriage(plugin, host, request, masks=masks, watch=watch, idle_s=idle_s)
    return await carriage.run()


class _Carriage:
    """Both directions of one exchange, and the clock that ends it when neither moves."""

    def __init__(
        self,
        plugin: Stream,
        host: Stream,
        request: ProxyRequest,
        *,
        masks: Masks,
        watch: Callable[[bytes], object] | None,
        idle_s: float,
    ) -> None:
        self._plugin = plugin
        self._host = host
        self._body = BodyReader(request.body_length, watch)
        self._answer = ResponseReader(request)
        self._mask = AnswerMask(masks, is_head_only=request.method == b"HEAD") if masks else None
        self._idle_s = idle_s
        self._idle: asyncio.Timeout | None = None

    async def run(self) -> After:
        out: asyncio.Task[Refused | None] | None = None
        problem: Refused | None = None
        is_broken = False
        try:
            async with asyncio.timeout(self._idle_s) as self._idle, asyncio.TaskGroup() as group:
                out = group.create_task(self._outward())
                problem = await self._inward()
                out.cancel()
        except* OSError:
            is_broken = True  # a side that breaks, or falls silent for too long, is an ordinary end
        refusal = _result_of(out) or problem
        if refusal is not None:
            raise refusal
        if is_broken:
            return "closed"
        if self._answer.is_switched:
            return "switched"
        return "kept" if self._answer.is_kept and self._body.is_done else "closed"

    async def _outward(self) -> Refused | None:
        try:
            while not self._body.is_done:
                data = await self._plugin.read()
                if not data:
                    self._host.end()
                    return None
                passed = self._body.feed(data)
                if self._body.surplus:
                    self._plugin.put_back(self._body.surplus)
                if passed:
                    await self._host.write(passed)
                self._moved()
        except Refused as refusal:
            self._host.abort()  # the other direction ends with it
            return refusal
        while self._plugin.ahead_bytes < MAX_AHEAD_BYTES:
            if not await self._plugin.more():
                if not self._plugin.ahead_bytes:  # else another request is waiting for this connection
                    self._host.end()
                return None
        return None

    async def _inward(self) -> Refused | None:
        while not self._answer.is_done:
            data = await self._host.read()
            if not data:
                await self._plugin.write(b"" if self._mask is None else self._mask.finish())
                return None
            try:
                count = self._answer.feed(data)
                shown = data[:count] if self._mask is None else self._mask.feed(data[:count])
            except Refused as refusal:
                return refusal
            await self._plugin.write(shown)
            self._host.put_back(data[count:])
            self._moved()
        return None

    def _moved(self) -> None:
        if self._idle is not None:
            self._idle.reschedule(asyncio.get_running_loop().time() + self._idle_s)


def _result_of(task: asyncio.Task[Refused | None] | None) -> Refused | None:
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()
