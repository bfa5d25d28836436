"""The answer to one HTTP request while it grows: events that can be followed, left, and taken up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from .content import Json

RETRY_MS = 100


class Stream:
    """Everything that was sent for one request, in order. Several followers may come and go."""

    def __init__(self, name: str = "") -> None:
        self.name = name  # empty: its events carry no id, nobody can come back
        self.events: list[bytes] = []
        self.is_closed = False
        self._cut = 0  # followers from before this event leave here
        self._changed = asyncio.Event()

    async def send(self, message: Json) -> None:
        """Append one message."""
        self._append(json.dumps(message, separators=(",", ":"), ensure_ascii=False))

    def prime(self) -> None:
        """An event without content, so that a client has an id to come back with (SEP-1699)."""
        if self.name:
            self._append("", f"retry: {RETRY_MS}\n")

    def _append(self, data: str, before: str = "") -> None:
        mark = f"id: {self.name}/{len(self.events)}\n" if self.name else ""
        self.events.append(f"{mark}{before}event: message\ndata: {data}\n\n".encode())
        self._wake()

    def close(self) -> None:
        """Nothing more comes."""
        self.is_closed = True
        self._wake()

    def hang_up(self) -> None:
        """Send the present followers away; the stream itself goes on."""
        self._cut = len(self.events)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def started(self) -> None:
        """Until there is something to follow."""
        while not self.events and not self.is_closed:
            await self._changed.wait()

    async def follow(self, start: int = 0) -> AsyncIterator[bytes]:
        """The events from `start` on, until the stream ends or hangs up."""
        first = start
        while True:
            while start < len(self.events) and not first < self._cut == start:
                yield self.events[start]
                start += 1
            if self.is_closed or first < self._cut == start:
                return
            await self._changed.wait()
